"""What a chatglm.cpp model file says of itself in its first bytes.

Layout, little-endian, as chatglm_cpp/convert.py of chatglm.cpp writes it:

    "ggml"  int32 architecture (3 = ChatGLM3)  int32 version
    version 1 (converters up to 0.3.1): 12 int32: dtype vocab hidden heads layers ffn sequence bos eos pad sep kv_heads
    version 2 (converters from 0.3.2):  13 values: dtype vocab hidden heads kv_heads layers ffn norm_eps(float32)
                                        virtual_tokens rope_theta(float32) sequence eos pad
    int32 length, serialized sentencepiece ModelProto
    then each tensor: int32 name length, name, int32 ndim, int32 dims..., int32 dtype, data at the next multiple of 16
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oneclick.errors import OneClickError
from oneclick.files import open_to_read, reading

MAGIC = b"ggml"
CHATGLM3 = 3
ARCHITECTURES = {
    1: "ChatGLM",
    2: "ChatGLM2",
    CHATGLM3: "ChatGLM3",
    4: "GLM-4",
    1004: "GLM-4V",
    1024: "Baichuan-7B",
    1025: "Baichuan-13B",
    1280: "InternLM",
}
"""Every architecture number any chatglm.cpp release has written (0.1.0 to 0.4.2)."""

ALIGNMENT = 16
"""Tensor data starts at a multiple of this many bytes."""

SPECIAL_TOKENS = (
    "[MASK]",
    "[gMASK]",
    "[sMASK]",
    "sop",
    "eop",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|observation|>",
)
"""Tokens that the engine numbers after the last sentencepiece piece, in this order."""


@dataclass(frozen=True)
class Dtype:
    """A ggml number type: ``block`` values of one row are stored in ``block_bytes`` bytes."""

    name: str
    code: int
    block: int
    block_bytes: int

    def size_bytes(self, values: int) -> int:
        """Return the bytes that ``values`` numbers take; ``values`` is a multiple of ``block``."""
        return values // self.block * self.block_bytes


DTYPES: dict[str, Dtype] = {
    dtype.name: dtype
    for dtype in (
        Dtype("f32", 0, 1, 4),
        Dtype("f16", 1, 1, 2),
        Dtype("q4_0", 2, 32, 18),
        Dtype("q4_1", 3, 32, 20),
        Dtype("q5_0", 6, 32, 22),
        Dtype("q5_1", 7, 32, 24),
        Dtype("q8_0", 8, 32, 34),
    )
}
DTYPE_BY_CODE = {dtype.code: dtype for dtype in DTYPES.values()}

_PREFIX = struct.Struct("<4sii")
_LENGTH = struct.Struct("<i")
_SIZES_1 = ("num_layers", "intermediate_size", "sequence_length")
_SIZES_2 = ("num_kv_heads", "num_layers", "intermediate_size")
_IDS_1 = ("bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id")
_IDS_2 = ("eos_token_id", "pad_token_id")
_START = ("dtype", "vocab_size", "hidden_size", "num_heads")
_LAYOUTS = {
    1: (struct.Struct("<12i"), (*_START, *_SIZES_1, *_IDS_1, "num_kv_heads")),
    2: (
        struct.Struct("<7ififiii"),
        (*_START, *_SIZES_2, "norm_eps", "virtual_tokens", "rope_theta", "sequence_length", *_IDS_2),
    ),
}
"""Version -> the configuration's form and the names of its figures in ModelHeader."""
HEADER_BYTES = _PREFIX.size + max(form.size for form, _ in _LAYOUTS.values()) + _LENGTH.size
"""Enough of a file's beginning for ``parse_header``, whatever its version."""

NORM_EPS = 9.999999747378752e-06
"""1e-5 as a float32 holds it: what engines assume for version 1 files."""

MAX_TOKENIZER_BYTES = 64 << 20
"""Larger than any real tokenizer.model (1 018 370 B for ChatGLM3): a bound for damaged headers."""


@dataclass(frozen=True)
class ModelHeader:
    """The figures at the start of a model file."""

    architecture: str
    version: int
    dtype: str
    vocab_size: int
    hidden_size: int
    num_heads: int
    num_kv_heads: int
    num_layers: int
    intermediate_size: int
    sequence_length: int
    """Longest context in tokens the weights were trained for: 8192, or 32768 for the 32k model."""
    tokenizer_offset: int
    tokenizer_length: int
    eos_token_id: int
    pad_token_id: int
    bos_token_id: int = -1
    sep_token_id: int = -1
    norm_eps: float = NORM_EPS
    rope_theta: float = 10000.0
    virtual_tokens: int = 0
    """Length of a P-Tuning prefix carried by a version 2 file."""

    @property
    def head_size(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def kv_size(self) -> int:
        """Width of the keys (or the values) of one token in one layer."""
        return self.num_kv_heads * self.head_size


def kind_of(head: bytes) -> str:
    """Return what a file beginning with ``head`` is, as far as 64 bytes tell.

    One of ``ggml``, ``empty``, ``html``, ``lfs_pointer``, ``gguf``, ``zip``, ``7z``, ``rar``, ``gzip``,
    ``safetensors``, ``pickle``, ``zeros``, ``text``, ``unknown``.
    """
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "empty"
    for magic, kind in _MAGICS:
        if head.startswith(magic):
            return kind
    if head[8:10] == b'{"' and struct.unpack("<Q", head[:8])[0] < 1 << 30:
        return "safetensors"
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<body", b"<script", b"<!--")):
        return "html"
    if not any(head[:64]):
        return "zeros"
    if all(byte >= 32 or byte in b"\t\r\n" for byte in head[:64]) and _is_utf8(head[:64]):
        return "text"
    return "unknown"


_MAGICS = (
    (MAGIC, "ggml"),
    (b"GGUF", "gguf"),
    (b"version https://git-lfs", "lfs_pointer"),
    (b"PK\x03\x04", "zip"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!", "rar"),
    (b"\x1f\x8b", "gzip"),
    (b"\x80\x02", "pickle"),
)
_ERROR_OF_KIND = {
    "empty": "model.empty",
    "html": "model.html",
    "text": "model.text",
    "lfs_pointer": "model.lfs_pointer",
    "gguf": "model.gguf",
    "zeros": "model.zeros",
    "unknown": "model.not_a_model",
}


def _is_utf8(data: bytes) -> bool:
    """True when ``data`` is UTF-8, perhaps cut in the middle of its last character."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(data) - 3 and error.reason == "unexpected end of data"
    return True


def read_header(path: Path) -> ModelHeader:
    """Read the header of the model file ``path``; OneClickError("model.…") when it is not a ChatGLM3 model."""
    with open_to_read(path) as stream, reading(path):
        return parse_header(stream.read(HEADER_BYTES), path.name)


def parse_header(head: bytes, name: str = "model") -> ModelHeader:
    """Return the header in ``head``, the first HEADER_BYTES bytes of a file called ``name`` in messages.

    Every figure is checked for being possible, so that sizes computed from it cannot run away.
    """
    kind = kind_of(head)
    if kind != "ggml":
        raise OneClickError(_ERROR_OF_KIND.get(kind, "model.archive"), name=name, kind=kind)
    if len(head) < HEADER_BYTES:
        raise OneClickError("model.truncated", name=name, have_bytes=len(head), need_bytes=HEADER_BYTES)
    _, architecture, version = _PREFIX.unpack_from(head)
    if architecture != CHATGLM3:
        what = ARCHITECTURES.get(architecture, str(architecture))
        raise OneClickError("model.wrong_architecture", name=name, architecture=what)
    if version not in _LAYOUTS:
        raise OneClickError("model.unknown_version", name=name, version=version)
    header = _unpack(head, version, name)
    _check_figures(header, name)
    return header


def _unpack(head: bytes, version: int, name: str) -> ModelHeader:
    form, names = _LAYOUTS[version]
    figures: dict[str, Any] = dict(zip(names, form.unpack_from(head, _PREFIX.size)))
    length_at = _PREFIX.size + form.size
    return ModelHeader(
        architecture=ARCHITECTURES[CHATGLM3],
        version=version,
        dtype=_dtype_name(figures.pop("dtype"), name),
        tokenizer_offset=length_at + _LENGTH.size,
        tokenizer_length=_LENGTH.unpack_from(head, length_at)[0],
        **figures,
    )


def _dtype_name(code: int, name: str) -> str:
    if code not in DTYPE_BY_CODE:
        raise OneClickError("model.unknown_dtype", name=name, code=code, known=", ".join(DTYPES))
    return DTYPE_BY_CODE[code].name


def _check_figures(header: ModelHeader, name: str) -> None:
    """Raise OneClickError("model.bad_header") for the first figure that no real model can have."""
    block = DTYPES[header.dtype].block
    heads_fit = 0 < header.num_heads <= 1024 and header.hidden_size % header.num_heads == 0
    kv_fits = heads_fit and 0 < header.num_kv_heads <= header.num_heads and header.num_heads % header.num_kv_heads == 0
    possible = {
        "hidden_size": 0 < header.hidden_size <= 1 << 16 and header.hidden_size % block == 0,
        "num_heads": heads_fit,
        "num_kv_heads": kv_fits,
        "vocab_size": len(SPECIAL_TOKENS) < header.vocab_size <= 1 << 22,
        "num_layers": 0 < header.num_layers <= 1024,
        "intermediate_size": 0 < header.intermediate_size <= 1 << 20 and header.intermediate_size % block == 0,
        "sequence_length": 0 < header.sequence_length <= 1 << 22,
        "tokenizer_length": 0 < header.tokenizer_length <= MAX_TOKENIZER_BYTES,
        "norm_eps": 0 < header.norm_eps < 1,
        "rope_theta": 0 < header.rope_theta < 1e12,
        "virtual_tokens": 0 <= header.virtual_tokens <= 1 << 16,
    }
    for field, fits in possible.items():
        if not fits:
            raise OneClickError("model.bad_header", name=name, field=field, value=getattr(header, field))


def pack_header(header: ModelHeader) -> bytes:
    """Return the bytes before the tokenizer's proto: the inverse of ``parse_header``."""
    form, names = _LAYOUTS[header.version]
    figures = [DTYPES[header.dtype].code, *(getattr(header, name) for name in names[1:])]
    start = _PREFIX.pack(MAGIC, CHATGLM3, header.version)
    return start + form.pack(*figures) + _LENGTH.pack(header.tokenizer_length)
