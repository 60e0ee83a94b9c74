"""What a request asks for, checked: JSON in, frozen dataclasses out, every number safe for native code.

The other doors (Responses, Ollama) say what they were asked in these fields and are read here too.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any, Sequence

from oneclick.server.api_errors import invalid
from oneclick.server.chat import fields
from oneclick.server.chat.body_text import JsonObject, clean
from oneclick.server.chat.tool_request import offered_tools

LONGEST_MODEL_NAME = 256
"""It stands in every chunk of the answer."""
MAX_MESSAGES = 4096
MAX_CHOICES = 4
"""Answers to one request, computed one after the other."""
LARGEST_INT = 2**31 - 1
ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "observation",
    "function": "observation",
    "observation": "observation",
}
TEXT_PARTS = ("text", "input_text", "output_text", "refusal")


@dataclass(frozen=True)
class ToolCall:
    """A call the assistant made earlier; ``arguments`` is JSON text as the client sent it."""

    name: str
    arguments: str


@dataclass(frozen=True)
class Message:
    """One message; ``role`` is one of ChatGLM3's: system, user, assistant, observation."""

    role: str
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    metadata: str = ""
    """The name in the head of a message that is a call, as ChatGLM3's own demos keep their history."""


@dataclass(frozen=True)
class SamplingRequest:
    """How to choose tokens and when to stop; what chat and plain completions share."""

    model: str
    stream: bool
    include_usage: bool
    max_tokens: int | None
    """Output tokens; None: as many as the server allows."""
    greedy: bool
    temperature: float
    top_p: float
    top_k: int
    repetition_penalty: float
    stop: tuple[str, ...]
    keep: bool
    """False: evaluate the whole prompt, whatever is kept of earlier ones (``cache_prompt``, as in llama.cpp)."""
    choices: int
    """How many answers to give (``n``)."""

    def sampling(self) -> dict[str, Any]:
        """Return the fields of the worker's ``sampling``."""
        return {
            "greedy": self.greedy,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "repetition_penalty": self.repetition_penalty,
        }


@dataclass(frozen=True)
class ChatRequest(SamplingRequest):
    """A chat completion to make."""

    messages: tuple[Message, ...] = ()
    tools: tuple[JsonObject, ...] = ()
    """Function objects: name, description, parameters (or the demos' ``params``)."""
    continues: bool = False
    """Go on with the last message, an unfinished one of the assistant's."""
    legacy_functions: bool = field(default=False, compare=False)
    """The request used ``functions``, the predecessor of ``tools``."""


@dataclass(frozen=True)
class CompletionRequest(SamplingRequest):
    """A plain completion to make: the prompt is text, without roles."""

    prompt: str = ""
    echo: bool = False


def parse_chat(body: JsonObject) -> ChatRequest:
    """Return the checked request of /v1/chat/completions; ApiError 400 names the field."""
    fields.refuse(fields.CHAT, body)
    messages = _messages(body.get("messages"))
    tools, legacy = offered_tools(body)
    _refuse_format(body.get("response_format"))
    continues = _continues(body, messages)
    if not continues and len(messages) > 1 and _is_empty_answer(messages[-1]):
        # Some clients send the bubble that the answer will fill.
        messages = messages[:-1]
    return ChatRequest(
        **_sampling_fields(body), messages=messages, tools=tools, legacy_functions=legacy, continues=continues
    )


def parse_completion(body: JsonObject) -> CompletionRequest:
    """Return the checked request of /v1/completions."""
    fields.refuse(fields.COMPLETION, body)
    prompt = body.get("prompt")
    if prompt is None:
        prompt = ""
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise invalid("server.prompt_type", "prompt")
    echo = _boolean(body, "echo")
    request = CompletionRequest(**_sampling_fields(body), prompt=clean(prompt), echo=echo)
    # More than what is returned would mean to choose the best.
    _whole(body, "best_of", 1, request.choices)
    return request


def model_name(body: JsonObject) -> str:
    """Return the model that ``body`` names, empty where it names none. Raises ApiError 400."""
    model = body.get("model")
    if model is not None and not isinstance(model, str):
        raise invalid("server.type", "model", name="model", wanted="string")
    if model is not None and len(model) > LONGEST_MODEL_NAME:
        raise invalid("server.model_too_long", "model", limit=LONGEST_MODEL_NAME)
    return model or ""


def _sampling_fields(body: JsonObject) -> dict[str, Any]:
    stream_options = body.get("stream_options")
    if stream_options is not None and not isinstance(stream_options, dict):
        raise invalid("server.type", "stream_options", name="stream_options", wanted="object")
    for name in ("presence_penalty", "frequency_penalty"):
        _number(body, name, 0.0, -2.0, 2.0)
    lengths = [_answer_length(body, name) for name in ("max_completion_tokens", "max_tokens")]
    temperature = _number(body, "temperature", 0.95, 0.0, 2.0)
    top_p = _number(body, "top_p", 0.7, 0.0, 1.0)
    top_k = _whole(body, "top_k", 0, LARGEST_INT) or 0
    sampled = body.get("do_sample") is None or _boolean(body, "do_sample")  # Zhipu's word for temperature 0
    return {
        "model": clean(model_name(body)),
        "stream": _boolean(body, "stream"),
        "include_usage": _boolean(stream_options or {}, "include_usage", "stream_options.include_usage"),
        "max_tokens": lengths[0] or lengths[1],
        # The engine takes top_p 0 for "no filter"; a temperature this small only overflows its exponentials.
        "greedy": temperature < 1e-3 or top_p < 1e-6 or top_k == 1 or not sampled,
        "temperature": max(temperature, 1e-3),
        "top_p": max(top_p, 1e-6),
        "top_k": top_k,
        "repetition_penalty": _number(body, "repetition_penalty", 1.0, 0.01, 10.0),
        "stop": _stop(body.get("stop")),
        "keep": body.get("cache_prompt") is None or _boolean(body, "cache_prompt"),
        "choices": _whole(body, "n", 1, MAX_CHOICES) or 1,
    }


def _answer_length(body: JsonObject, name: str) -> int | None:
    """Return the longest answer in tokens; None for "as many as there are": null, 0, and llama.cpp's -1 and -2."""
    value = body.get(name)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and LARGEST_INT < value < math.inf:
        return LARGEST_INT  # whoever sends this means all of the context
    length = _whole(body, name, -2, LARGEST_INT)
    return length if length is not None and length > 0 else None


def _number(body: JsonObject, name: str, default: float, low: float, high: float) -> float:
    value = body.get(name)
    if value is None:
        return default
    # bool is an int in Python, not in JSON.
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise invalid("server.type", name, name=name, wanted="number")
    if not low <= value <= high or not math.isfinite(value):
        raise invalid("server.range", name, name=name, low=low, high=high)
    return float(value)


def _whole(body: JsonObject, name: str, low: int, high: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid("server.type", name, name=name, wanted="integer")
    if not low <= value <= high:
        raise invalid("server.range", name, name=name, low=low, high=high)
    return value


def _boolean(body: JsonObject, name: str, shown: str = "") -> bool:
    value = body.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise invalid("server.type", shown or name, name=shown or name, wanted="boolean")
    return value


def _stop(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(text is None or isinstance(text, str) for text in texts):
        raise invalid("server.stop", "stop")
    return tuple(dict.fromkeys(clean(text) for text in texts if text))


def _continues(body: JsonObject, messages: Sequence[Message]) -> bool:
    """Tell whether the last message is one to go on with: unless told otherwise, as llama.cpp's server does.

    vLLM's words for it: ``continue_final_message``, and ``add_generation_prompt`` for the opposite.
    """
    last = messages[-1]
    can = last.role == "assistant" and not last.tool_calls and not last.metadata
    wanted, opposite = _boolean(body, "continue_final_message"), _boolean(body, "add_generation_prompt")
    if wanted and not can:
        raise invalid("server.continue", "continue_final_message")
    if body.get("continue_final_message") is not None or opposite:
        return wanted
    return can and not _is_empty_answer(last)


def _is_empty_answer(message: Message) -> bool:
    return message.role == "assistant" and not message.tool_calls and not message.content.strip()


def _refuse_format(value: Any) -> None:
    """Raise ApiError 400 for every ``response_format`` but text: nothing here could enforce it."""
    if value is None:
        return
    if not isinstance(value, dict):
        raise invalid("server.type", "response_format", name="response_format", wanted="object")
    kind = value.get("type")
    if kind in ("json_object", "json_schema"):
        raise invalid("server.answer_format", "response_format", code="unsupported_parameter", asked=kind)
    if kind not in (None, "text"):
        raise invalid("server.type", "response_format", name="response_format.type", wanted="text")


def _messages(value: Any) -> tuple[Message, ...]:
    if not isinstance(value, list):
        raise invalid("server.messages_type", "messages")
    if not value:
        raise invalid("server.messages_empty", "messages")
    if len(value) > MAX_MESSAGES:
        raise invalid("server.messages_many", "messages", limit=MAX_MESSAGES)
    return tuple(_message(item, f"messages[{index}]") for index, item in enumerate(value))


def _message(item: Any, where: str) -> Message:
    if not isinstance(item, dict):
        raise invalid("server.type", where, name=where, wanted="object")
    role = item.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise invalid("server.role", f"{where}.role", where=where)
    content = _content(item.get("content"), f"{where}.content")
    if item.get("images"):
        raise invalid("server.image", where, code="model_not_support_image")
    calls = _tool_calls(item, where)
    if role != "assistant":
        return Message(ROLES[role], content)
    metadata = item.get("metadata")
    name = clean(metadata).strip() if isinstance(metadata, str) else ""
    return Message("assistant", content, calls, "" if "\n" in name else name)


def _content(value: Any, where: str) -> str:
    """Return a message's text: a string, null, or a list of text parts joined by line breaks."""
    if value is None:
        return ""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise invalid("server.content_type", where, where=where)
    return clean("\n".join(_part(part, where) for part in value))


def _part(part: Any, where: str) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        raise invalid("server.content_type", where, where=where)
    kind = part.get("type")
    if kind in ("image_url", "image", "input_image") or "image_url" in part:
        # Chatbox shows a friendly explanation when it finds OpenAI's sentence in the message.
        raise invalid("server.image", where, code="model_not_support_image")
    field = "refusal" if kind == "refusal" else "text"
    text = "" if field in part and part[field] is None else part.get(field)
    if kind not in TEXT_PARTS or not isinstance(text, str):
        raise invalid("server.part", where, code="unsupported_content", where=where)
    return text


def _tool_calls(item: JsonObject, where: str) -> tuple[ToolCall, ...]:
    listed = item.get("tool_calls")
    if listed is not None and not isinstance(listed, list):
        raise invalid("server.type", f"{where}.tool_calls", name=f"{where}.tool_calls", wanted="array")
    functions = [call.get("function", call.get("custom")) if isinstance(call, dict) else None for call in listed or ()]
    if item.get("function_call") is not None:
        functions.append(item["function_call"])
    return tuple(_tool_call(function, where) for function in functions)


def _tool_call(function: Any, where: str) -> ToolCall:
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise invalid("server.tool_call", f"{where}.tool_calls", where=where)
    arguments = function.get("arguments", function.get("input"))
    if arguments is None:
        arguments = ""
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    return ToolCall(clean(function["name"]), clean(arguments))
