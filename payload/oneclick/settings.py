"""``设置.toml``: what a user may choose; a wrong line costs that line only, never the start."""

from __future__ import annotations

import difflib
import re
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Mapping
from urllib.parse import urlsplit

from oneclick.masking import without_secrets
from oneclick.messages import both, say

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

THREADS_PHYSICAL = "physical"
THREADS_AUTO = "auto"
MAX_CONTEXT = 8192
MIN_CONTEXT = 256
MAX_THREADS = 256
LANGUAGES = ("auto", "zh", "en")


@dataclass(frozen=True)
class Problem:
    """One line of the file that could not be followed."""

    line: int
    """Counted from 1; 0 where the whole file is meant."""
    key: str
    """Into the message table of ``messages/settings.py``."""
    values: Mapping[str, object]

    def __str__(self) -> str:
        return say(self.key, line=self.line, **self.values)

    def both(self) -> tuple[str, str]:
        """Return the Chinese and the English sentence."""
        return both(self.key, line=self.line, **self.values)


@dataclass(frozen=True)
class Settings:
    """The values in force; defaults are those of a missing file."""

    port: int = 8000
    port_is_fixed: bool = False
    """True where a person named the port: then a taken one is an error, not a reason to take another."""
    host: str = "127.0.0.1"
    model: str = ""
    """A catalogue name (``q4_0``), a file name in the folder or a path; empty: whatever lies in the folder."""
    context: int = 0
    """Tokens; 0 lets the program choose."""
    threads: int | str = THREADS_PHYSICAL
    """A number, ``physical`` (one per core) or ``auto`` (measured once)."""
    browser: bool = True
    language: str = "auto"
    mirrors: tuple[str, ...] = ()
    """Further addresses of the model file itself, tried first."""
    allowed_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    """Names that programs may reach this PC by, besides the loopback ones."""
    api_key: str = ""
    stop_repetition: bool = True
    """End an answer that says the same again and again."""
    problems: tuple[Problem, ...] = field(default=(), compare=False)


SECRET = ("api_key", "mirrors")
"""Settings whose values are never shown, neither right nor wrong ones: reports go to strangers. A mirror's address may
hold a password or a token."""
_SECRET_WORDS = re.compile("key|mirror|token|secret|password", re.IGNORECASE)
"""A line that names one of these is not shown: its secret may stand anywhere in it."""
_PLAIN_NAME = re.compile(r"[A-Za-z_-]{1,20}")
"""An unknown name that is not like this may be a secret on the wrong side of its line."""


class BadValue(Exception):
    """What a checker raises: the key of the sentence about the value, more values for it, and what is kept of it."""


def _whole_number(value: Any, low: int, high: int) -> int:
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise BadValue("settings.want_number", {"low": low, "high": high})
    return value


def _context(value: Any) -> int:
    return 0 if value in (0, "auto") else _whole_number(value, MIN_CONTEXT, MAX_CONTEXT)


def _threads(value: Any) -> int | str:
    if value == 0:
        return THREADS_PHYSICAL
    if isinstance(value, str) and value.strip().lower() in (THREADS_PHYSICAL, THREADS_AUTO):
        return value.strip().lower()
    try:
        return _whole_number(value, 1, MAX_THREADS)
    except BadValue:
        raise BadValue("settings.want_threads", {"high": MAX_THREADS}) from None


def _yes_no(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "yes", "on", "是", "开"):
        return True
    if isinstance(value, str) and value.lower() in ("false", "no", "off", "否", "关"):
        return False
    raise BadValue("settings.want_yes_no", {})


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise BadValue("settings.want_text", {})
    return value.strip()


def _language(value: Any) -> str:
    if value not in LANGUAGES:
        raise BadValue("settings.want_one_of", {"choices": ", ".join(LANGUAGES)})
    return str(value)


def _host(value: Any) -> str:
    host = _text(value)
    if re.search(r"[^\w.:%-]", host):
        raise BadValue("settings.want_host", {})
    return "127.0.0.1" if host in ("", "localhost") else host


def _addresses(value: Any) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        raise BadValue("settings.want_addresses", {})
    if not all(_is_address(one) for one in values):
        raise BadValue("settings.want_addresses", {})
    return tuple(values)


def _is_address(text: str) -> bool:
    try:
        return urlsplit(text).scheme in ("http", "https") and bool(urlsplit(text).netloc)
    except ValueError:  # an open bracket where an IPv6 address would be
        return False


_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(\*|[^\s/*@?#]+)/?")
"""``https://example.com``, ``chrome-extension://abcdef``, or ``moz-extension://*`` for all of a scheme."""
_ANY_OF_SCHEME = re.compile(r"(https?|file)://\*/?", re.IGNORECASE)
"""Schemes of which nobody may allow everything: every web page would be in."""


_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]")
"""``host.docker.internal``, ``my-pc``, ``[fe80::1]``: one name as a Host header has it, without the port."""


def _origins(value: Any) -> tuple[str, ...]:
    return _good_ones(
        value,
        lambda text: bool(_ORIGIN.fullmatch(text)) and not _ANY_OF_SCHEME.fullmatch(text),
        "settings.want_origins",
    )


def _hosts(value: Any) -> tuple[str, ...]:
    return _good_ones(value, lambda text: bool(_HOST_NAME.fullmatch(text)), "settings.want_hosts")


def _good_ones(value: Any, is_good: Callable[[str], bool], sentence: str) -> tuple[str, ...]:
    """Return a list of which each entry counts by itself; BadValue with the good ones where one is wrong."""
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list):
        raise BadValue(sentence, {})
    good = [one for one in values if isinstance(one, str) and is_good(one)]
    kept = tuple(one.rstrip("/") for one in good)
    if len(good) < len(values):
        raise BadValue(sentence, {"value": next(one for one in values if one not in good)}, kept)
    return kept


CHECKS: dict[str, Callable[[Any], Any]] = {
    "port": lambda value: _whole_number(value, 1, 65535),
    "host": _host,
    "model": _text,
    "context": _context,
    "threads": _threads,
    "browser": _yes_no,
    "language": _language,
    "mirrors": _addresses,
    "allowed_origins": _origins,
    "allowed_hosts": _hosts,
    "api_key": _text,
    "stop_repetition": _yes_no,
}
"""Key of the file -> what turns a TOML value into the setting or raises BadValue."""


def read_settings(path: Path) -> Settings:
    """Read the settings at ``path``; a missing file means defaults.

    Whatever cannot be followed is in ``problems`` and its default is used: a typing error must not keep anyone
    from starting.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return Settings()
    except OSError as error:
        return Settings(problems=(Problem(0, "settings.unreadable", {"reason": error.strerror or str(error)}),))
    return parse_settings(decode(raw))


def encoding_of(raw: bytes) -> str:
    """Return the encoding that Windows' editors wrote: UTF-8 with or without BOM, UTF-16, or the Chinese code page."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return "gb18030"
    return "utf-8-sig" if raw.startswith(b"\xef\xbb\xbf") else "utf-8"


def decode(raw: bytes) -> str:
    """Return the text of ``raw``, whatever it holds."""
    return raw.decode(encoding_of(raw), errors="replace")


def parse_settings(text: str) -> Settings:
    """Return the settings that ``text`` asks for."""
    values, problems = _parse_toml(text)
    accepted: dict[str, Any] = {}
    for key, value in values.items():
        line = line_of(text, key)
        if key not in CHECKS:
            problems.append(_unknown_key(line, key))
            continue
        try:
            accepted[key] = CHECKS[key](value)
        except BadValue as bad:
            sentence, more, *kept = bad.args
            shown = "***" if key in SECRET else without_secrets(repr(more.pop("value", value)))
            values_of_sentence = {"name": key, "value": shown, "default": getattr(Settings(), key), **more}
            problems.append(Problem(line, sentence, values_of_sentence))
            if kept:
                accepted[key] = kept[0]
    accepted["port_is_fixed"] = "port" in accepted
    problems.sort(key=lambda problem: problem.line)
    return replace(Settings(), problems=tuple(problems), **accepted)


def _unknown_key(line: int, key: str) -> Problem:
    near = difflib.get_close_matches(key.lower().replace("-", "_"), CHECKS, n=1, cutoff=0.6)
    if near:
        return Problem(line, "settings.unknown_key_near", {"name": _shown(key), "near": near[0]})
    return Problem(line, "settings.unknown_key", {"name": _shown(key), "known": ", ".join(CHECKS)})


def _shown(key: str) -> str:
    return key if key in CHECKS or _PLAIN_NAME.fullmatch(key) else "***"


def _parse_toml(text: str) -> tuple[dict[str, Any], list[Problem]]:
    """Parse the whole text, or assignment by assignment where that fails, so that one bad line costs one line."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        return tomllib.loads(text), []
    except (ValueError, RecursionError):  # ValueError itself: a number with thousands of digits
        pass
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for line, statement in statements(text):
        try:
            found = tomllib.loads(statement)
        except (ValueError, RecursionError) as error:
            problems.append(_syntax_problem(line, statement, error))
            continue
        for key, value in found.items():
            if key in values:
                problems.append(Problem(line, "settings.twice", {"name": _shown(key)}))
            values[key] = value
    return values, problems


def statements(text: str) -> list[tuple[int, str]]:
    """Split ``text`` into (line number, statement); an open ``[`` keeps the following lines together."""
    statements: list[tuple[int, str]] = []
    open_list = ""
    start = 0
    for number, line in enumerate(text.split("\n"), 1):
        code = line.strip()
        if open_list:
            open_list += "\n" + line
            if "]" in code:
                statements.append((start, open_list))
                open_list = ""
        elif code and not code.startswith("#"):
            value = code.partition("=")[2].strip()
            if value.startswith("[") and "]" not in value:
                open_list, start = line, number
            else:
                statements.append((number, line))
    if open_list:
        statements.append((start, open_list))
    return statements


FULL_WIDTH = "＝“”‘’，［］　：＂＇"
"""Characters a Chinese keyboard gives for the ones TOML wants."""


def _syntax_problem(line: int, statement: str, error: Exception) -> Problem:
    """Name the usual mistakes of people who edit this file in Notepad."""
    code = statement.split("#")[0]
    key, equals, value = (part.strip() for part in code.partition("="))
    if any(char in FULL_WIDTH for char in code):
        wrong = "".join(char for char in FULL_WIDTH if char in code)
        return Problem(line, "settings.full_width", {"wrong": wrong})
    if equals and key not in CHECKS:
        return _unknown_key(line, key)
    is_secret = bool(_SECRET_WORDS.search(code)) or without_secrets(code) != code
    if equals and "\\" in value and '"' in value:
        better = "***" if is_secret else value.strip('"')
        return Problem(line, "settings.backslash", {"better": f"{key} = '{better}'"})
    if equals and value and not value.startswith(('"', "'", "[")):
        return Problem(line, "settings.quotes", {"better": f"{key} = '{'***' if is_secret else value}'"})
    # What a parser says may quote what it read.
    return Problem(line, "settings.syntax", {"reason": str(error) if equals and not is_secret else "?"})


def line_of(text: str, key: str) -> int:
    """Return the line (from 1) that assigns ``key``, 0 where none does."""
    pattern = re.compile(rf"""\s*["']?{re.escape(key)}["']?\s*(=|\.)|\s*\[+\s*["']?{re.escape(key)}["']?""")
    for number, line in enumerate(text.splitlines(), 1):
        if pattern.match(line):
            return number
    return 0


def explicit(settings: Settings, **changes: Any | None) -> Settings:
    """Return ``settings`` with the ``changes`` of a command line or environment; None changes nothing."""
    return replace(settings, **{key: value for key, value in changes.items() if value is not None})
