"""Reads the arguments of a tool call as ChatGLM3 really writes them, without evaluating anything.

The model was taught Python, ``tool_call(city='北京', days=3)``, and knows JSON: it writes ``true`` and ``null``,
full-width quotes and commas, raw line breaks in strings, words without quotes, an object where arguments belong. All
that has one meaning is read; what has none (a name that is called, a sum, a cut string) is a ``NotACall``.
"""

from __future__ import annotations

import json
import re
from typing import Any, Sequence

MAX_LENGTH = 20_000
"""Characters of a call that are read; no real one comes near."""
_MAX_DEPTH = 20

_SPACE = re.compile(r"(?:\s|#[^\n]*(?:\n|$))*")
_NUMBER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)")
NAME = re.compile(r"[^\W\d]\w*")
_WORDS = re.compile(r"[^\s'\"“”‘’()\[\]{},，=:：`]+(?:[ \t]+[^\s'\"“”‘’()\[\]{},，=:：`]+)*")
_OPERATOR = re.compile(r"[-+*/%&|^~<>@!;\\]")
_CONSTANTS = {"true": True, "false": False, "null": None, "none": None}
_CLOSING = {"'": "'", '"': '"', "“": "”", "”": "”", "‘": "’", "’": "’", "＂": "＂", "＇": "＇"}
_ESCAPE = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{1,3}|\r?\n|.)", re.DOTALL)
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "a": "\a", "v": "\v", "0": "\0", "/": "/"}


class NotACall(Exception):
    """The text means nothing that could be called."""


def read_arguments(code: str, parameters: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of the one call that ``code`` is; ``parameters`` are the names for those without one.

    ``code`` is ``tool_call(...)``, or the JSON object of the arguments. Raises NotACall.
    """
    if len(code) > MAX_LENGTH:
        raise NotACall
    reader = _Reader(code)
    if reader.peek() == "{":
        arguments = _named(reader.value(0))
    else:
        reader.take(NAME)
        reader.expect("(（")
        arguments = _arguments(reader, parameters)
    if reader.peek() in (";", "；"):
        reader.at += 1
    if reader.peek():
        raise NotACall
    return arguments


def _arguments(reader: _Reader, parameters: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    positional = 0
    while reader.peek() not in (")", "）"):
        if reader.text.startswith("**", reader.at):
            reader.at += 2
            found.update(_named(reader.value(0)))
        else:
            name = reader.keyword()
            value = reader.value(0, words=True)
            if name is None and isinstance(value, dict) and not found and reader.peek() in (")", "）"):
                found.update(_named(value))  # tool_call({...})
            elif name is None and positional == len(found) < len(parameters):
                found[parameters[positional]] = value
                positional += 1
            elif name is None:
                raise NotACall
            else:
                found[name] = value
        if reader.peek() not in (")", "）"):
            reader.expect(",，")
    reader.at += 1
    return found


def _named(value: Any) -> dict[str, Any]:
    """Return ``value`` when it can be arguments: an object whose keys are text."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise NotACall
    return value


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def peek(self) -> str:
        """Return the next character that is no space or comment, ``""`` at the end."""
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.text[self.at : self.at + 1]

    def expect(self, any_of: str) -> None:
        if (self.peek() or "\0") not in any_of:
            raise NotACall
        self.at += 1

    def take(self, pattern: re.Pattern[str]) -> str:
        self.peek()
        match = pattern.match(self.text, self.at)
        if match is None:
            raise NotACall
        self.at = match.end()
        return match.group()

    def keyword(self) -> str | None:
        """Return the name before ``=`` (or, in quotes, before a colon), None where a value follows at once."""
        before = self.at
        try:
            name = str(self.string() if self.peek() in _CLOSING else self.take(NAME))
            self.expect("=＝:：")
        except NotACall:
            self.at = before
            return None
        return name

    def value(self, depth: int, words: bool = False) -> Any:
        """Return the value that follows; ``words``: it may be several without quotes."""
        if depth > _MAX_DEPTH:
            raise NotACall
        first = self.peek()
        if first in _CLOSING:
            value = self.string()
            while self.peek() in _CLOSING:
                value += self.string()  # Python joins neighbours
            return value
        if first in ("[", "【"):
            self.at += 1
            return self.items("]】", depth)
        if first == "(":
            self.at += 1
            return self.items(")", depth)
        if first == "{":
            self.at += 1
            return self.members(depth)
        return self.bare(words)

    def items(self, closing: str, depth: int) -> list[Any]:
        found: list[Any] = []
        while (self.peek() or "\0") not in closing:
            found.append(self.value(depth + 1))
            if (self.peek() or "\0") not in closing:
                self.expect(",，")
        self.at += 1
        return found

    def members(self, depth: int) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        while self.peek() != "}":
            key = self.value(depth + 1)
            if isinstance(key, (dict, list)):
                raise NotACall
            self.expect(":：")
            found[key] = self.value(depth + 1)
            if self.peek() != "}":
                self.expect(",，")
        self.at += 1
        return found

    def bare(self, words: bool) -> Any:
        """Return a number, a constant, or a word without quotes."""
        before = self.at
        number = _NUMBER.match(self.text, self.at)
        if number:
            self.at = number.end()
            if self.peek() in ("", ",", "，", ")", "）", "]", "】", "}", ":", "："):
                return _number(number.group())
            self.at = before
        text = self.take(_WORDS)
        if text.lower() in _CONSTANTS:
            return _CONSTANTS[text.lower()]
        # A date or a path is a word; a sum, a comparison or a second word in a list is code.
        spaced = len(text.split()) > 1
        if (spaced and not words) or _is_code(text) or self.peek() in ("(", "'", '"', "[", "{", "=", "`"):
            raise NotACall
        return text

    def string(self) -> str:
        quote = self.text[self.at]
        if quote in "'\"" and self.text.startswith(quote * 3, self.at):
            end, start = quote * 3, self.at + 3
        else:
            end, start = _CLOSING[quote], self.at + 1
        parts: list[str] = []
        at = start
        while True:
            close, escape = self.text.find(end, at), self.text.find("\\", at)
            if close < 0:
                raise NotACall
            if escape < 0 or close < escape:
                parts.append(self.text[at:close])
                self.at = close + len(end)
                return "".join(parts)
            match = _ESCAPE.match(self.text, escape)
            if match is None:
                raise NotACall
            parts += (self.text[at:escape], _unescape(match.group()[1:]))
            at = match.end()


def _is_code(text: str) -> bool:
    operators = _OPERATOR.search(text)
    return operators is not None and (" " in text or text[0].isdigit()) and not re.fullmatch(r"[\w./\\@%-]+", text)


def _number(text: str) -> Any:
    try:
        if text.lstrip("+-")[:2] in ("0x", "0X"):
            return int(text, 16)
        # json refuses what is no number of its own; 007 and 1_000 stay text.
        return json.loads(text.lstrip("+"))
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text


def _unescape(text: str) -> str:
    if text[0] in "xuU" and len(text) > 1:
        code = int(text[1:], 16)
        if code > 0x10FFFF:
            raise NotACall
        return chr(code)
    if text[0] in "01234567":
        return chr(int(text, 8))
    if text[-1] == "\n":
        return ""  # a line goes on
    # Python keeps the backslash of an escape it does not know; JSON's \/ is one it does not.
    return _SIMPLE.get(text, text if text in "\\'\"" else "\\" + text)
