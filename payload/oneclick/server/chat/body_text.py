"""From a body's bytes to its JSON object, as Chinese Windows sends them.

``curl`` in cmd sends the console's code page (GBK), PowerShell 5.1 sends UTF-16 or, where it is not told otherwise,
a question mark for every Chinese character; editors put a byte order mark first; some clients compress.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import re
import zlib
from typing import Any, Iterable, Iterator, Mapping

from oneclick.server.api_errors import ApiError, invalid, too_large

JsonObject = Mapping[str, Any]

MAX_DEPTH = 100
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16's, which begins it
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([A-Za-z0-9._:+-]{1,40})", re.IGNORECASE)
_TRUSTED = ("utf-8", "utf-16", "utf-32", "gb", "big5", "shift_jis", "euc_", "cp9")
"""How the codecs begin whose names prove something. Latin-1 is named out of habit and reads whatever comes; Python also
knows codecs that are slow (punycode) or no text at all (hex)."""
_LOST = re.compile(r"\s*(?:[?]\s*){2,}")


def decode(body: bytes, content_type: str) -> str:
    """Return the text of ``body``; ApiError 400 when it is in no encoding we know.

    In this order: the byte order mark, UTF-16 without one (JSON begins with ASCII, so every other byte is zero), the
    charset of the header, UTF-8, GB18030 (which includes GBK and GB2312).
    """
    for mark, name in _BOMS:
        if body.startswith(mark):
            return _decoded(body[len(mark) :], (name,))
    return _decoded(body, _candidates(body, content_type))


def _decoded(body: bytes, names: Iterable[str]) -> str:
    for name in names:
        try:
            return body.decode(name)
        except UnicodeError:
            continue
    raise invalid("server.encoding", code="invalid_encoding")


def _candidates(body: bytes, content_type: str) -> Iterator[str]:
    if body[1:2] == b"\0":
        yield "utf-16-le"
    elif body[:1] == b"\0":
        yield "utf-16-be"
    found = _CHARSET.search(content_type)
    if found:
        with contextlib.suppress(LookupError):
            name = codecs.lookup(found.group(1)).name
            if name.startswith(_TRUSTED):
                yield name
    yield "utf-8"
    yield "gb18030"


def unpack(body: bytes, content_encoding: str, limit: int) -> bytes:
    """Return ``body`` without its Content-Encoding; ApiError 413 when more than ``limit`` bytes come out."""
    encoding = content_encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ApiError(415, "server.content_encoding", code="unsupported_encoding", encoding=encoding[:40])
    # 32: a gzip or a zlib head, whichever is there.
    reader = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        plain = reader.decompress(body, limit + 1)
    except zlib.error as error:
        raise invalid("server.compressed", code="invalid_encoding", encoding=encoding) from error
    if len(plain) > limit:
        raise too_large(limit)
    if not reader.eof:
        raise invalid("server.compressed", code="invalid_encoding", encoding=encoding)
    return plain


def check_not_lost(body: str, value: JsonObject) -> None:
    """Raise ApiError 400 when all that is asked are question marks: what is left of Chinese in the wrong encoding.

    Only where the whole body is ASCII: a client that can send any other character does not lose them.
    """
    if "?" not in body or not body.isascii() or "\\u" in body:
        return
    messages = value.get("messages", value.get("input"))
    last = messages[-1] if isinstance(messages, list) and messages else messages
    asked = last.get("content") if isinstance(last, dict) else last
    for text in (asked, value.get("prompt")):
        if isinstance(text, str) and _LOST.fullmatch(text):
            raise invalid("server.lost_characters", "messages", code="invalid_encoding")


def clean(text: str) -> str:
    """Return ``text`` with lone surrogates replaced: JavaScript's ``slice`` cuts emoji in half, UTF-8 has no halves."""
    return _LONE_SURROGATE.sub("\ufffd", text)


def parse_json(text: str) -> JsonObject:
    """Return the JSON object in ``text``; ApiError 400 for anything else, however nested or long."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
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
