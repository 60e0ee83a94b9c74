"""The smallest 64-bit Windows DLL that tools read: chosen imports, chosen machine, chosen code."""

from __future__ import annotations

import struct
from collections.abc import Sequence

AMD64, ARM64, I386 = 0x8664, 0xAA64, 0x014C
_ALIGN = 0x200
_TEXT_AT, _IDATA_AT = 0x1000, 0x2000

AVX2_CODE = bytes.fromhex("c5fdfec1") * 8 + b"\xc3"
"""vpaddd ymm0, ymm0, ymm1, eight times, and a return."""
AVX512_CODE = bytes.fromhex("62f17d48fec1") * 8 + b"\xc3"
"""vpaddd zmm0, zmm0, zmm1, eight times, and a return."""


def tiny_dll(imports: Sequence[str] = (), *, machine: int = AMD64, code: bytes = b"\xc3", tail: bytes = b"") -> bytes:
    """Bytes of a DLL that imports the function ``f`` from each of ``imports``; ``tail`` is appended to its code."""
    text = _padded(code + tail)
    idata = _padded(_import_table(imports))
    sections = [(b".text", _TEXT_AT, text, 0x60000020), (b".idata", _IDATA_AT, idata, 0xC0000040)]
    headers = bytearray(b"MZ" + bytes(58) + struct.pack("<I", 64))
    headers += b"PE\0\0" + struct.pack("<HHIIIHH", machine, len(sections), 0, 0, 0, 240, 0x2022)
    optional = struct.pack("<HBBIIIII", 0x20B, 14, 0, len(text), len(idata), 0, 0, _TEXT_AT)
    optional += struct.pack("<QII", 0x180000000, 0x1000, _ALIGN)
    optional += struct.pack("<HHHHHHI", 6, 0, 0, 0, 6, 0, 0)
    optional += struct.pack("<IIIHH", 0x3000, _ALIGN * 2, 0, 2, 0)
    optional += struct.pack("<QQQQII", 0x100000, 0x1000, 0x100000, 0x1000, 0, 16)
    directories = [(0, 0)] * 16
    directories[1] = (_IDATA_AT, 20 * (len(imports) + 1))
    optional += b"".join(struct.pack("<II", *directory) for directory in directories)
    headers += optional
    at = _ALIGN * 2
    for name, address, data, flags in sections:
        headers += struct.pack("<8sIIIIIIHHI", name, len(data), address, len(data), at, 0, 0, 0, 0, flags)
        at += len(data)
    return bytes(headers.ljust(_ALIGN * 2, b"\0")) + text + idata


def _import_table(imports: Sequence[str]) -> bytes:
    descriptors, rest = b"", b""
    base = _IDATA_AT + 20 * (len(imports) + 1)
    for dll in imports:
        lookup = base + len(rest)
        hint = lookup + 32
        name = hint + 4
        rest += struct.pack("<QQQQ", hint, 0, hint, 0) + b"\0\0f\0" + dll.encode() + b"\0"
        rest += bytes(-len(rest) % 8)
        descriptors += struct.pack("<IIIII", lookup, 0, 0, name, lookup + 16)
    return descriptors + bytes(20) + rest


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGN)
