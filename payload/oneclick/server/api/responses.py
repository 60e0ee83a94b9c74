"""POST /v1/responses: OpenAI's newer interface, translated to a chat and back. Nothing is stored.

Source of the shapes: https://platform.openai.com/docs/api-reference/responses and .../responses-streaming
"""

from __future__ import annotations

import secrets
import time
from typing import Any, AsyncIterator, Mapping

from oneclick.server.api.kitchen import Delta, End, News, Order, order_chat
from oneclick.server.api.openai import extras
from oneclick.server.api_errors import ApiError, invalid
from oneclick.server.chat.body_text import JsonObject
from oneclick.server.chat.fields import DONE, IGNORED, REFUSED, Field, Fields, refuse
from oneclick.server.chat.request import ChatRequest, parse_chat
from oneclick.server.chat.tools import new_call_id
from oneclick.server.http.asgi import Request
from oneclick.server.http.streams import SILENCE, EventStream, SlowAnswer, comment, named_event
from oneclick.server.runtime import Runtime

_SAME = ("model", "stream", "temperature", "top_p", "stop", "seed", "frequency_penalty", "presence_penalty")
"""Fields that the chat takes as they are; the last four are none of OpenAI's here, but clients send them."""

FIELDS: Fields = {
    **dict.fromkeys(("input", "instructions", "tools", "tool_choice", "max_output_tokens", "text", *_SAME), DONE),
    **dict.fromkeys(
        (
            *("metadata", "store", "include", "reasoning", "truncation", "parallel_tool_calls", "stream_options"),
            *("user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "service_tier"),
            *("top_logprobs", "max_tool_calls"),
        ),
        IGNORED,
    ),
    **dict.fromkeys(("previous_response_id", "conversation", "background", "prompt"), REFUSED),
    "modalities": Field("refused", (["text"],)),
}


def to_chat(body: JsonObject) -> ChatRequest:
    """Return the chat that ``body`` asks for; ApiError 400 for what is not done."""
    if body.get("previous_response_id") or body.get("conversation"):
        raise invalid("server.stateless", "previous_response_id", code="unsupported_parameter")
    refuse(FIELDS, body)
    chat: dict[str, Any] = {name: body[name] for name in _SAME if name in body}
    chat["max_tokens"] = body.get("max_output_tokens")
    chat["tool_choice"] = body.get("tool_choice")
    chat["tools"] = body.get("tools")
    text = body.get("text")
    if text is not None and not isinstance(text, dict):
        raise invalid("server.type", "text", name="text", wanted="object")
    chat["response_format"] = (text or {}).get("format")
    chat["messages"] = _messages(body)
    return parse_chat(chat)


def _messages(body: JsonObject) -> list[Any]:
    given = body.get("input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if not isinstance(items, list):
        raise invalid("server.type", "input", name="input", wanted="string | array")
    messages = [message for index, item in enumerate(items) for message in _message(item, f"input[{index}]")]
    instructions = body.get("instructions")
    if instructions:
        messages.insert(0, {"role": "system", "content": instructions})
    return messages


def _message(item: Any, where: str) -> list[Any]:
    """Return the chat's message for an item of the input; none for a thought."""
    if not isinstance(item, dict):
        raise invalid("server.type", where, name=where, wanted="object")
    kind = item.get("type", "message")
    if kind == "message":
        return [item]
    if kind == "function_call":
        return [{"role": "assistant", "content": None, "tool_calls": [{"function": item}]}]
    if kind == "function_call_output":
        return [{"role": "tool", "content": item.get("output")}]
    if kind == "reasoning":
        return []
    raise invalid("server.item", where, code="unsupported_content", where=where, asked=str(kind)[:40])


class Responses:
    """One response: its object, and the events that build it up."""

    def __init__(self, body: JsonObject, chat: ChatRequest, order: Order) -> None:
        self._order = order
        self._sequence = 0
        self._message_id = "msg_" + secrets.token_hex(12)
        given = {name: body.get(name) for name in ("instructions", "max_output_tokens", "user", "temperature", "top_p")}
        self._object: dict[str, Any] = {
            "id": "resp_" + secrets.token_hex(12),
            "object": "response",
            "created_at": int(time.time()),
            "status": "in_progress",
            "background": False,
            "error": None,
            "incomplete_details": None,
            "model": chat.model or order.runtime.config.model_name,
            "output": [],
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None},
            "store": False,
            "text": {"format": {"type": "text"}},
            "tool_choice": body.get("tool_choice") or "auto",
            "tools": body.get("tools") or [],
            "truncation": "auto",
            "usage": None,
            "metadata": body.get("metadata") or {},
            **given,
        }

    def whole(self, text: str, end: End) -> dict[str, Any]:
        """Return the finished response."""
        output = [self._message(text, "completed")] if text or not end.calls else []
        output += [_call_item(call.name, call.arguments) for call in end.calls]
        return self._finished(output, end)

    def _message(self, text: str, status: str) -> dict[str, Any]:
        content = [_part(text)] if status == "completed" else []
        return {"id": self._message_id, "type": "message", "status": status, "role": "assistant", "content": content}

    def _finished(self, output: list[dict[str, Any]], end: End) -> dict[str, Any]:
        told = end.usage
        complete = end.reason != "length"
        return {
            **self._object,
            "status": "completed" if complete else "incomplete",
            "incomplete_details": None if complete else {"reason": "max_output_tokens"},
            "output": output,
            "usage": {
                "input_tokens": told["prompt_tokens"],
                "input_tokens_details": told["prompt_tokens_details"],
                "output_tokens": told["completion_tokens"],
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": told["total_tokens"],
            },
            **extras(self._order, end),
        }

    def _event(self, kind: str, **fields: Any) -> bytes:
        number, self._sequence = self._sequence, self._sequence + 1
        return named_event(kind, {"type": kind, "sequence_number": number, **fields})

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the events of the response, each a whole write."""
        texts: list[str] = []
        place = {"item_id": self._message_id, "output_index": 0, "content_index": 0}
        try:
            async with self._order.pieces() as pieces:
                yield self._event("response.created", response=self._object)
                yield self._event("response.in_progress", response=self._object)
                async for piece in pieces:
                    if isinstance(piece, Delta):
                        if not texts:
                            for begin in self._begin(place):
                                yield begin
                        texts.append(piece.text)
                        yield self._event("response.output_text.delta", **place, delta=piece.text, logprobs=[])
                    elif isinstance(piece, News):
                        yield comment(piece.data) if piece.data else SILENCE
                    else:
                        for last in self._last(texts, piece, place):
                            yield last
        except ApiError as error:
            told = error.body()["error"]
            shown = {"code": told["code"] or "server_error", "message": told["message"]}
            yield self._event("error", **shown, param=told["param"])
            yield self._event("response.failed", response={**self._object, "status": "failed", "error": shown})

    def _begin(self, place: Mapping[str, Any]) -> list[bytes]:
        item = self._message("", "in_progress")
        return [
            self._event("response.output_item.added", output_index=0, item=item),
            self._event("response.content_part.added", **place, part=_part("")),
        ]

    def _last(self, texts: list[str], end: End, place: Mapping[str, Any]) -> list[bytes]:
        events: list[bytes] = []
        output: list[dict[str, Any]] = []
        if texts or not end.calls:
            events += [] if texts else self._begin(place)
            text = "".join(texts)
            output.append(self._message(text, "completed"))
            events += [
                self._event("response.output_text.done", **place, text=text, logprobs=[]),
                self._event("response.content_part.done", **place, part=_part(text)),
                self._event("response.output_item.done", output_index=0, item=output[0]),
            ]
        for call in end.calls:
            item, index = _call_item(call.name, call.arguments), len(output)
            output.append(item)
            begun = {**item, "arguments": "", "status": "in_progress"}
            at = {"item_id": item["id"], "output_index": index}
            events += [
                self._event("response.output_item.added", output_index=index, item=begun),
                self._event("response.function_call_arguments.delta", **at, delta=call.arguments),
                self._event("response.function_call_arguments.done", **at, name=call.name, arguments=call.arguments),
                self._event("response.output_item.done", output_index=index, item=item),
            ]
        finished = self._finished(output, end)
        return [*events, self._event(f"response.{finished['status']}", response=finished)]


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _call_item(name: str, arguments: str) -> dict[str, Any]:
    return {
        "id": "fc_" + secrets.token_hex(12),
        "type": "function_call",
        "status": "completed",
        "call_id": new_call_id(),
        "name": name,
        "arguments": arguments,
    }


async def responses(runtime: Runtime, request: Request, body: JsonObject) -> Any:
    """Answer POST /v1/responses."""
    chat = to_chat(body)
    order = await order_chat(runtime, request, chat)
    response = Responses(body, chat, order)
    if chat.stream:
        return EventStream(response.stream(), order.headers())

    async def answer() -> dict[str, Any]:
        ((text, end),) = await order.whole()
        return response.whole(text, end)

    return SlowAnswer(answer(), order.headers(), runtime.config.keep_alive_s)
