"""Tokens to text while they come: whole characters only, nothing of a stop string, no special token."""

from __future__ import annotations

import codecs
from typing import Sequence

from oneclick.server.chat.tokenizer import ChatTokenizer


class TextStream:
    """Collects tokens and hands out text that later tokens cannot change any more."""

    def __init__(
        self, tokenizer: ChatTokenizer, stop: Sequence[str] = (), strip_start: bool = True, continues: bool = False
    ) -> None:
        """``strip_start``: drop white space before the first character, as ChatGLM3 begins its answers with one.

        ``continues``: the tokens go on with a text, so nothing is taken off their start.
        """
        self._tokenizer = tokenizer
        self._stop = [text for text in stop if text]
        self._at_start = strip_start and not continues
        # Incomplete characters wait inside; invalid bytes become U+FFFD.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._first = not continues
        self._held = ""
        self.ids: list[int] = []
        """Every token so far."""
        self.foreign = 0
        """How many of them no tokenizer knows or are special."""
        self.stopped = False
        """A stop string was met; no more text will come."""

    @property
    def is_exact(self) -> bool:
        """Every token is ordinary text, and all of their text is out or about to be."""
        return not self.foreign and not self.stopped and not self._decoder.getstate()[0]

    def feed(self, token: int) -> str:
        """Take the next token and return the text that is certain now."""
        self.ids.append(token)
        if not self._tokenizer.is_text(token):
            self.foreign += 1
        if self.stopped:
            return ""
        data = self._tokenizer.token_bytes(token)
        if self._first and data:
            # The tokenizer puts a space before every text; its own decoder takes it off again.
            data = data[1:] if data.startswith(b" ") else data
            self._first = False
        fresh = self._decoder.decode(data)
        if self._at_start:
            fresh = fresh.lstrip()
            self._at_start = not fresh
        return self._release(self._held + fresh)

    def finish(self) -> str:
        """Return what was held back; the bytes of a character that never became whole are dropped."""
        held, self._held = self._held, ""
        return "" if self.stopped else held

    def _release(self, text: str) -> str:
        cut = min((at for at in map(text.find, self._stop) if at >= 0), default=-1)
        if cut >= 0:
            self.stopped = True
            self._held = ""
            return text[:cut]
        keep = max((_overlap(text, stop) for stop in self._stop), default=0)
        ready = text[: len(text) - keep]
        self._held = text[len(text) - keep :]
        return ready


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of ``text`` that begins ``stop``."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0
