"""What a request asks for, checked: JSON in, frozen dataclasses out, every number safe for native code.

Unknown fields are ignored, because clients send many (audio, logit_bias, web_search_options ...).
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

from oneclick.server.api_errors import invalid

MAX_DEPTH = 100
MAX_MESSAGES = 4096
MAX_STOP = 4
MAX_TOOLS = 128
LARGEST_INT = 2**31 - 1
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
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

JsonObject = Mapping[str, Any]


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
    """Function objects: name, description, parameters."""
    continues: bool = False
    """Go on with the last message, an unfinished one of the assistant's (vLLM's ``continue_final_message``)."""
    json_answer: bool = False
    """response_format json_object: the model is asked for JSON, nothing enforces it."""
    legacy_functions: bool = field(default=False, compare=False)
    """The request used ``functions``, the predecessor of ``tools``."""


@dataclass(frozen=True)
class CompletionRequest(SamplingRequest):
    """A plain completion to make: the prompt is text, without roles."""

    prompt: str = ""
    echo: bool = False


def clean(text: str) -> str:
    """Return ``text`` with lone surrogates replaced: JavaScript's ``slice`` cuts emoji in half, UTF-8 has no halves."""
    return _LONE_SURROGATE.sub("\ufffd", text)


def parse_json(body: bytes) -> JsonObject:
    """Return the JSON object in ``body``; ApiError 400 for anything else, however nested or long."""
    try:
        value = json.loads(body.decode("utf-8-sig"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise invalid("server.json", reason=str(error)[:200]) from error
    if not isinstance(value, dict):
        raise invalid("server.json_object")
    if _too_deep(value):
        raise invalid("server.json_depth", limit=MAX_DEPTH)
    return value


def _no_constant(name: str) -> None:
    # NaN and Infinity are Python's extension, not JSON.
    raise ValueError(f"{name} is not JSON")


def _too_deep(value: Any) -> bool:
    """True when objects and arrays nest deeper than MAX_DEPTH; counts without recursion."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return False
    return True


def parse_chat(body: JsonObject) -> ChatRequest:
    """Return the checked request of /v1/chat/completions; ApiError 400 names the field."""
    messages = _messages(body.get("messages"))
    tools, legacy = _tools(body)
    return ChatRequest(
        **_sampling_fields(body),
        messages=messages,
        tools=tools,
        legacy_functions=legacy,
        continues=_continues(body, messages),
        json_answer=_wants_json(body.get("response_format")),
    )


def parse_completion(body: JsonObject) -> CompletionRequest:
    """Return the checked request of /v1/completions."""
    prompt = body.get("prompt", "")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise invalid("server.prompt_type", "prompt")
    echo = _boolean(body, "echo")
    for name in ("suffix", "logprobs"):
        if body.get(name):
            raise invalid("server.unsupported", name, code="unsupported_parameter", name=name)
    _whole(body, "best_of", 1, 1)
    return CompletionRequest(**_sampling_fields(body), prompt=clean(prompt), echo=echo)


def _sampling_fields(body: JsonObject) -> dict[str, Any]:
    stream_options = body.get("stream_options")
    if stream_options is not None and not isinstance(stream_options, dict):
        raise invalid("server.type", "stream_options", name="stream_options", wanted="object")
    model = body.get("model")
    if model is not None and not isinstance(model, str):
        raise invalid("server.type", "model", name="model", wanted="string")
    _whole(body, "n", 1, 1)
    for name in ("presence_penalty", "frequency_penalty"):
        _number(body, name, 0.0, -2.0, 2.0)
    max_tokens = _whole(body, "max_completion_tokens", 0, LARGEST_INT)
    if max_tokens is None:
        max_tokens = _whole(body, "max_tokens", 0, LARGEST_INT)
    else:
        _whole(body, "max_tokens", 0, LARGEST_INT)
    temperature = _number(body, "temperature", 0.95, 0.0, 2.0)
    top_p = _number(body, "top_p", 0.7, 0.0, 1.0)
    top_k = _whole(body, "top_k", 0, LARGEST_INT) or 0
    return {
        "model": clean(model or ""),
        "stream": _boolean(body, "stream"),
        "include_usage": _boolean(stream_options or {}, "include_usage", "stream_options.include_usage"),
        # 0 means "no limit of mine" to some clients, and the engine's own server accepted it.
        "max_tokens": max_tokens or None,
        # The engine takes top_p 0 for "no filter"; a temperature this small only overflows its exponentials.
        "greedy": temperature < 1e-3 or top_p < 1e-6 or top_k == 1,
        "temperature": max(temperature, 1e-3),
        "top_p": max(top_p, 1e-6),
        "top_k": top_k,
        "repetition_penalty": _number(body, "repetition_penalty", 1.0, 0.01, 10.0),
        "stop": _stop(body.get("stop")),
        "keep": body.get("cache_prompt") is None or _boolean(body, "cache_prompt"),
    }


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
    if not isinstance(texts, list) or len(texts) > MAX_STOP or not all(isinstance(text, str) for text in texts):
        raise invalid("server.stop", "stop", limit=MAX_STOP)
    return tuple(clean(text) for text in texts if text)


def _continues(body: JsonObject, messages: Sequence[Message]) -> bool:
    wanted = _boolean(body, "continue_final_message")
    if wanted and (messages[-1].role != "assistant" or messages[-1].tool_calls):
        raise invalid("server.continue", "continue_final_message")
    return wanted


def _wants_json(value: Any) -> bool:
    if value is None:
        return False
    if not isinstance(value, dict):
        raise invalid("server.type", "response_format", name="response_format", wanted="object")
    kind = value.get("type", "text")
    if kind == "json_schema":
        raise invalid("server.json_schema", "response_format", code="unsupported_parameter")
    if kind not in ("text", "json_object"):
        raise invalid("server.type", "response_format", name="response_format.type", wanted="text | json_object")
    return bool(kind == "json_object")


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
    calls = _tool_calls(item, where)
    return Message(ROLES[role], content, calls if role == "assistant" else ())


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
    text = part.get("refusal" if kind == "refusal" else "text")
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
    arguments = function.get("arguments", function.get("input", ""))
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    return ToolCall(clean(function["name"]), clean(arguments))


def _tools(body: JsonObject) -> tuple[tuple[JsonObject, ...], bool]:
    """Return the functions the model may call, and whether they came in the old ``functions`` field."""
    choice = body.get("tool_choice", body.get("function_call"))
    tools, functions = _listed(body, "tools"), _listed(body, "functions")
    legacy = tools is None and functions is not None
    # Both are checked, one is used.
    inside = [tool.get("function", tool.get("custom")) if isinstance(tool, dict) else None for tool in tools or ()]
    offered = [_function(function, "tools") for function in inside]
    older = [_function(function, "functions") for function in functions or ()]
    if choice == "none":
        return (), legacy
    return tuple(_chosen(older if legacy else offered, choice)), legacy


def _listed(body: JsonObject, name: str) -> list[Any] | None:
    listed = body.get(name)
    if listed is not None and (not isinstance(listed, list) or len(listed) > MAX_TOOLS):
        raise invalid("server.tools", name, limit=MAX_TOOLS)
    return listed


def _function(function: Any, name: str) -> JsonObject:
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"].strip():
        raise invalid("server.tool", name)
    kept: dict[str, Any] = {"name": clean(function["name"]).strip()}
    if isinstance(function.get("description"), str):
        kept["description"] = clean(function["description"])
    parameters = function.get("parameters")
    if isinstance(parameters, dict):
        kept["parameters"] = {key: value for key, value in parameters.items() if key != "$schema"}
    return kept


def _chosen(functions: Sequence[JsonObject], choice: Any) -> Sequence[JsonObject]:
    """Return the one function a ``tool_choice`` object names, if it is there, else all."""
    if isinstance(choice, dict):
        inner = choice.get("function")
        wanted = inner.get("name") if isinstance(inner, dict) else choice.get("name")
        return [function for function in functions if function["name"] == wanted] or functions
    return functions
