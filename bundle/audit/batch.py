"""The .bat files: what cmd.exe reads right on every Windows, whatever its language."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bundle.audit.findings import AuditExpectations, Finding, Tree

_DELAYED = re.compile(rb"(?i)enabledelayedexpansion|cmd(\.exe)?[\"']?\s+[^\r\n]*/v(:on)?\b")


def check_batch_files(tree: Tree, _: AuditExpectations) -> Iterator[Finding]:
    """ASCII, CRLF, no byte-order mark, no delayed expansion, a line end at the end."""
    for name in tree.with_suffix(".bat", ".cmd"):
        for what, do in _problems(tree.path(name).read_bytes()):
            yield Finding(path=name, rule="bat", what=what, do=do)


def _problems(text: bytes) -> Iterator[tuple[str, str]]:
    if text.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        yield "it starts with a byte-order mark", "write it without: cmd.exe takes it for part of the first command"
    odd = next((number for number, line in enumerate(text.split(b"\n"), 1) if not line.isascii()), None)
    if odd is not None and not text.startswith(b"\xef\xbb\xbf"):
        yield f"line {odd} is not ASCII", "keep Chinese in the file name only and print it from Python"
    if re.search(rb"(?<!\r)\n|\r(?!\n)", text):
        yield "not every line ends in CRLF", "write it with newline='\\r\\n': goto and call miss labels otherwise"
    if text and not text.endswith(b"\n"):
        yield "its last line has no end", "end it with CRLF"
    if _DELAYED.search(text):
        yield "it switches delayed expansion on", "do without: it eats ! in folder names"
