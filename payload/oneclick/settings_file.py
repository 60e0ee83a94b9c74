"""Change one line of ``设置.toml`` and keep every other one as its user wrote it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Sequence

from oneclick.files import write_whole
from oneclick.settings import CHECKS, decode, statements


def set_value(path: Path, key: str, value: str | int | bool | Sequence[str]) -> None:
    """Set ``key`` to ``value`` in the file at ``path``, keeping every comment and every other line.

    The file is the old one or the new one, whatever happens meanwhile.
    Raises KeyError for an unknown key and OSError where the folder cannot be written.
    """
    if key not in CHECKS:
        raise KeyError(key)
    text = decode(path.read_bytes()) if path.exists() else ""
    changed = with_value(text, key, value)
    write_whole(path, changed.encode("utf-8"))


def with_value(text: str, key: str, value: str | int | bool | Sequence[str]) -> str:
    """Return ``text`` with ``key`` set to ``value``: its line changed, else its commented line, else a new line."""
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.replace("\r\n", "\n").split("\n")
    assignment = f"{key} = {_toml(value)}"
    for start, statement in statements("\n".join(lines)):
        if re.match(rf"\s*{re.escape(key)}\s*[=＝]", statement):
            count = statement.count("\n") + 1
            lines[start - 1 : start - 1 + count] = [assignment]
            return newline.join(lines)
    commented = re.compile(rf"\s*#\s*{re.escape(key)}\s*=")
    for number, line in enumerate(lines):
        if commented.match(line):
            lines.insert(number + 1, assignment)
            return newline.join(lines)
    if lines and not lines[-1]:
        lines.pop()
    return newline.join([*lines, assignment, ""])


def _toml(value: str | int | bool | Sequence[str]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return _quoted(value)
    return "[" + ", ".join(_quoted(one) for one in value) + "]"


def _quoted(text: str) -> str:
    """Quote ``text`` for TOML; single quotes keep a Windows path's backslashes readable."""
    if "'" not in text and text.isprintable():
        return f"'{text}'"
    known = {"\\": "\\\\", '"': '\\"'}
    escaped = "".join(known.get(char) or (char if char.isprintable() else f"\\U{ord(char):08X}") for char in text)
    return f'"{escaped}"'
