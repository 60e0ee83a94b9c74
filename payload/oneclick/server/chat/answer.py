"""From tokens to what a chat answer consists of: text that may be shown at once, tool calls, a reason for the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

from oneclick.server.chat.request import ToolCall
from oneclick.server.chat.text import TextStream
from oneclick.server.chat.tokenizer import ChatTokenizer
from oneclick.server.chat.tools import parse_call
from oneclick.server.events import Done


@dataclass
class AnswerReader:
    """Reads one answer.

    Where tools are offered, text that may still turn out to be a call is held back: the first line of each part
    while it is, or begins like, the name of a tool. Everything else flows.
    """

    tokenizer: ChatTokenizer
    stop: Sequence[str] = ()
    tools: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The functions' names, with the names of their parameters."""
    strip_start: bool = True
    continues: bool = False
    """The tokens go on with an answer begun earlier."""
    tokens: list[int] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._part = self._new_part()
        self._shown: list[str] = []
        self._held = ""
        self._flowing = not self.tools
        self._exact = True

    def _new_part(self) -> TextStream:
        return TextStream(self.tokenizer, self.stop, self.strip_start, self.continues)

    @property
    def text(self) -> str:
        """The answer's text handed out so far."""
        return "".join(self._shown)

    def has_stopped(self) -> bool:
        """A stop string was met."""
        return self._part.stopped

    def feed(self, token: int) -> str:
        """Take the next token; return text that may be shown."""
        self.tokens.append(token)
        if self.tools and token == self.tokenizer.assistant:
            # The model begins another message of its own: after some words, a call.
            shown = self._end_part()
            self._part, self._flowing = self._new_part(), False
            return shown
        return self._show(self._part.feed(token))

    def _show(self, text: str) -> str:
        if not self._flowing:
            self._held += text
            if self._may_be_call(self._held):
                return ""
            text, self._held, self._flowing = self._held, "", True
            text = self._on_new_line(text)
        self._shown.append(text)
        return text

    def _on_new_line(self, text: str) -> str:
        return "\n" + text if text and any(self._shown) else text

    def _may_be_call(self, text: str) -> bool:
        line, line_break, _ = text.partition("\n")
        if line_break:
            return line.strip() in self.tools
        return any(name.startswith(line.strip()) for name in self.tools)

    def _end_part(self) -> str:
        shown = self._show(self._part.finish())
        if self._flowing:
            return shown
        call = parse_call(self._held, self.tools)
        text, self._held = self._held, ""
        if call is not None:
            self.calls.append(call)
            return shown
        text = self._on_new_line(text)
        self._shown.append(text)
        return shown + text

    def finish(self) -> str:
        """Return the text that was held back to the end."""
        self._exact = self._part.is_exact
        return self._end_part()

    @property
    def is_exact(self) -> bool:
        """``tokens`` are ordinary text that reads exactly ``text`` (valid after ``finish``)."""
        return self._exact and not self.calls and not self.tools

    def finish_reason(self, done_reason: str, legacy: bool = False) -> str:
        """Return OpenAI's word for why the answer ended."""
        if self.calls:
            return "function_call" if legacy else "tool_calls"
        return "length" if done_reason == "length" and not self.has_stopped() else "stop"


def usage(prompt_tokens: int, completion_tokens: int, cached_tokens: int) -> dict[str, Any]:
    """Return OpenAI's usage object."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": cached_tokens},
    }


def timings(done: Done, queue_s: float) -> dict[str, Any]:
    """Return the figures of one generation, named as llama.cpp's server names them; times in milliseconds."""
    evaluated = done.prompt_tokens - done.cached_tokens
    # The first token comes with the prompt; the rest is decoding.
    decoded = max(done.generated_tokens - 1, 0)
    return {
        "queue_ms": round(1000 * queue_s, 1),
        "cache_n": done.cached_tokens,
        "prompt_n": evaluated,
        "prompt_ms": round(1000 * done.prompt_s, 1),
        "prompt_per_second": _rate(evaluated, done.prompt_s),
        "predicted_n": done.generated_tokens,
        "predicted_ms": round(1000 * done.generation_s, 1),
        "predicted_per_second": _rate(decoded, done.generation_s),
    }


def _rate(count: int, duration_s: float) -> float | None:
    return round(count / duration_s, 2) if count and duration_s > 0 else None
