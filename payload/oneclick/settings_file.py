"""Change one line of ``设置.toml`` and keep every other one as its user wrote it."""

from __future__ import annotations

import re
import stat
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Sequence

from oneclick.errors import OneClickError
from oneclick.files import write_whole
from oneclick.settings import CHECKS, decode, encoding_of, parse_settings, statements

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


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


def add_to_list(path: Path, key: str, value: str) -> None:
    """Put ``value`` first in the list ``key`` of the file at ``path``; every other character and byte stays.

    Raises OneClickError ``settings.read_only`` or ``settings.unknown_shape`` where that cannot be done for certain, and
    OSError where the system refuses.
    """
    raw = path.read_bytes() if path.exists() else b""
    if raw and not path.stat().st_mode & stat.S_IWUSR:  # Windows would let us wait for it to change
        raise OneClickError("settings.read_only")
    encoding = encoding_of(raw)
    try:
        text = raw.decode(encoding)
        changed = with_added(text, key, value)
        before, after = parse_settings(text), parse_settings(changed)
        if value in getattr(before, key):
            return
        wanted: dict[str, Any] = {key: (value, *getattr(before, key))}
        if text.encode(encoding) != raw or after != replace(before, **wanted):
            raise ValueError(key)
        data = changed.encode(encoding)
    except ValueError as error:  # also bytes of no encoding
        raise OneClickError("settings.unknown_shape") from error
    write_whole(path, data)


def with_added(text: str, key: str, value: str) -> str:
    """Return ``text`` with ``value`` put in front of the list ``key``, which may be one string, or missing."""
    plain = text.replace("\r\n", " \n").replace("\r", "\n")  # the same places, and one kind of line end
    begins = re.compile(rf"""^[ \t]*["']?{re.escape(key)}["']?[ \t]*=[ \t]*""", re.MULTILINE)
    for assigned in reversed(list(begins.finditer(plain))):  # of several the last one counts
        now, at = _value_at(plain[assigned.start() :]), assigned.end()
        if isinstance(now, list):
            return f"{text[: at + 1]}{_quoted(value)}{', ' if now else ''}{text[at + 1 :]}"
        one = re.compile(r"""'[^'\n]*'|"(?:[^"\\\n]|\\.)*\"""").match(plain, at)
        if isinstance(now, str) and one is not None:
            return f"{text[:at]}[{_quoted(value)}, {one.group()}]{text[one.end() :]}"
    return _with_line(text, key, f"{key} = [{_quoted(value)}]")


def _value_at(text: str) -> object:
    """Return what the assignment at the beginning of ``text`` assigns, None where it is no valid one."""
    lines = text.split("\n")
    for count in range(1, len(lines) + 1):
        try:
            return next(iter(tomllib.loads("\n".join(lines[:count])).values()))
        except (ValueError, RecursionError):
            continue  # its list goes on in the next line
    return None


def _with_line(text: str, key: str, assignment: str) -> str:
    """Return ``text`` with the line ``assignment``: below the one that explains ``key``, else before tables or last."""
    newline = "\r\n" if "\r\n" in text else "\n"
    table = re.search(r"^[ \t]*\[", text, re.MULTILINE)
    end = table.start() if table else len(text)
    explained = re.compile(rf"^[ \t]*#[ \t]*{re.escape(key)}[ \t]*=[^\r\n]*(?:\r\n|\n|\r|$)", re.MULTILINE)
    found = explained.search(text, 0, end)
    at = found.end() if found else end
    before = newline if at and text[at - 1] not in "\r\n" else ""
    return f"{text[:at]}{before}{assignment}{newline}{text[at:]}"


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
