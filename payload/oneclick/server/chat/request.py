"""What a request asks for, checked: JSON in, frozen dataclasses out, every number safe for native code.

The other doors (Responses, Ollama) say what they were asked in these fields and are read here too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Sequence

from oneclick.server.api_errors import invalid
from oneclick.server.chat import fields
from oneclick.server.chat.body_text import JsonObject, clean
from oneclick.server.chat.sampling_request import (
    SamplingRequest,
    chat_log_probs,
    completion_log_probs,
    sampling_fields,
)
from oneclick.server.chat.tool_request import offered_tools
from oneclick.server.chat.values import boolean, whole

MAX_MESSAGES = 4096
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
    prompt_ids: tuple[int, ...] | None = None
    """The prompt in tokens, where the client sent those instead of text."""
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
        **sampling_fields(body, chat_log_probs(body)),
        messages=messages,
        tools=tools,
        legacy_functions=legacy,
        continues=continues,
    )


def parse_completion(body: JsonObject) -> CompletionRequest:
    """Return the checked request of /v1/completions."""
    fields.refuse(fields.COMPLETION, body)
    prompt: Any = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], (str, list)):
        prompt = prompt[0]
    ids = tuple(prompt) if _are_ids(prompt) else None
    if ids is None and not isinstance(prompt or "", str):
        raise invalid("server.prompt_type", "prompt")
    log_probs, echo = completion_log_probs(body), boolean(body, "echo")
    if echo and log_probs is not None and boolean(body, "stream"):
        raise invalid("server.echo_stream", "stream", code="unsupported_parameter")
    request = CompletionRequest(
        **sampling_fields(body, log_probs, score_prompt=echo and log_probs is not None),
        prompt=clean(prompt or "") if ids is None else "",
        prompt_ids=ids,
        echo=echo,
    )
    # More than what is returned would mean to choose the best.
    whole(body, "best_of", 1, request.choices)
    return request


def _are_ids(prompt: Any) -> bool:
    return isinstance(prompt, list) and bool(prompt) and all(type(token) is int for token in prompt)


def _continues(body: JsonObject, messages: Sequence[Message]) -> bool:
    """Tell whether the last message is one to go on with: unless told otherwise, as llama.cpp's server does.

    vLLM's words for it: ``continue_final_message``, and ``add_generation_prompt`` for the opposite.
    """
    last = messages[-1]
    can = last.role == "assistant" and not last.tool_calls and not last.metadata
    wanted, opposite = boolean(body, "continue_final_message"), boolean(body, "add_generation_prompt")
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
