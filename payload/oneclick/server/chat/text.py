"""Tokens to text while they come: whole characters only, nothing of a stop string, no special token."""

from __future__ import annotations

import codecs
from typing import Sequence

from oneclick.server.chat.tokenizer import ChatTokenizer

_DATE, DATE = "[[训练时间]]", "2023年"
"""ChatGLM3 was taught to write the first where its training data ended; its own code shows the second
(modeling_chatglm.py: process_response)."""


class TextStream:
    """Collects tokens and hands out text that later tokens cannot change any more."""

    def __init__(
        self, tokenizer: ChatTokenizer, stop: Sequence[str] = (), strip_start: bool = True, continues: bool = False
    ) -> None:
        """``strip_start``: drop white space before the first character, as ChatGLM3 begins its answers with one.

        ``continues``: the tokens go on with a text, so nothing is taken off their start.
        """
        self._tokenizer = tokenizer
        self._marks: dict[str, list[str]] = {_DATE[0]: [_DATE]}
        """What must not be shown, by its first character: stop strings and the template's date."""
        for text in stop:
            if text:
                self._marks.setdefault(text[0], []).append(text)
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
        """Return what of ``text`` is certain; an end that may begin a mark is held back."""
        marks = self._marks
        held = len(text)
        for at, letter in enumerate(text):
            for mark in marks.get(letter, ()):
                if text.startswith(mark, at):
                    return self._meet(text, at, mark)
                if at < held and len(mark) > len(text) - at and mark.startswith(text[at:]):
                    held = at
        self._held = text[held:]
        return text[:held]

    def _meet(self, text: str, at: int, mark: str) -> str:
        """``mark`` was met in ``text``: a stop string ends it all, the date's place is filled."""
        if mark != _DATE:
            self.stopped = True
            self._held = ""
            return text[:at]
        return text[:at] + DATE + self._release(text[at + len(mark) :])
