"""The parts of one of our wheels, so that two that should be the same can be told where they begin to differ."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pefile  # type: ignore[import-untyped]

_DIGITS = 8
"""Of each part's sha256: enough to see a difference. What is trusted is the digest of the whole wheel."""


def wheel_parts(wheel: Path) -> dict[str, str]:
    """Return part -> short digest, in order: members of the wheel, a Windows binary by its sections and headers."""
    parts: dict[str, str] = {}
    with zipfile.ZipFile(wheel) as opened:
        for name in opened.namelist():
            data = opened.read(name)
            pieces = _sections(data) if name.endswith(".pyd") else iter([("", data)])
            parts |= {f"{name} {piece}".strip(): hashlib.sha256(part).hexdigest()[:_DIGITS] for piece, part in pieces}
    return parts


def _sections(binary: bytes) -> Iterator[tuple[str, bytes]]:
    pe = pefile.PE(data=binary, fast_load=True)
    for section in pe.sections:
        yield section.Name.rstrip(b"\0").decode("ascii", "replace"), section.get_data()
    yield "headers", binary[: pe.OPTIONAL_HEADER.SizeOfHeaders]  # last: every change of a section shows here, too


def first_difference(wheel: Path, expected: str) -> str:
    """Return the first part of ``wheel`` that is not as ``expected`` says: digests of ``wheel_parts`` in one line."""
    wanted = expected.split()
    got = wheel_parts(wheel)
    if len(wanted) != len(got):
        return f"it has {len(got)} parts instead of {len(wanted)}"
    differing = [name for (name, digest), other in zip(got.items(), wanted, strict=True) if digest != other]
    return differing[0] if differing else "the way the wheel is written, with the same parts in it"
