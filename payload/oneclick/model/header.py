"""What a chatglm.cpp model file says about itself, and whether this program can use it.

Layout, little-endian, as chatglm_cpp/convert.py of chatglm.cpp writes it:

    "ggml"  int32 architecture (3 = ChatGLM3)  int32 version
    version 1 (converters up to 0.3.1): 12 int32: dtype vocab hidden heads layers ffn sequence bos eos pad sep kv_heads
    version 2 (converters from 0.3.2):  13 values: dtype vocab hidden heads kv_heads layers ffn norm_eps(float32)
                                        virtual_tokens rope_theta(float32) sequence eos pad
    int32 length, serialized sentencepiece ModelProto
    then each tensor: int32 name length, name, int32 ndim, int32 dims..., int32 dtype, data at the next multiple of 16
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Callable, Iterator, Sequence

from oneclick.errors import OneClickError

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


@dataclass(frozen=True)
class Tensor:
    """One tensor record: where its data lie and how large they are."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    record_offset: int
    offset: int
    size_bytes: int


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
    with _open(path) as stream, _reading(path):
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


def pack_tensor_head(tensor: Tensor) -> bytes:
    """Return what precedes a tensor's data, padding to ALIGNMENT included."""
    name = tensor.name.encode()
    head = struct.pack(f"<i{len(name)}s", len(name), name)
    head += struct.pack(f"<{2 + len(tensor.shape)}i", len(tensor.shape), *tensor.shape, DTYPES[tensor.dtype].code)
    return head.ljust(tensor.offset - tensor.record_offset, b"\0")


def weight_shapes(header: ModelHeader) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Return name and shape (rows, columns) of every tensor, in the order of the file."""
    hidden, kv, ffn = header.hidden_size, header.kv_size, header.intermediate_size
    shapes: list[tuple[str, tuple[int, ...]]] = []
    if header.virtual_tokens:
        prefix = (2 * header.num_layers, header.num_kv_heads, header.virtual_tokens, header.head_size)
        shapes.append(("past_key_values", prefix))
    shapes.append(("transformer.embedding.word_embeddings.weight", (header.vocab_size, hidden)))
    for layer in range(header.num_layers):
        prefix_name = f"transformer.encoder.layers.{layer}."
        shapes += [
            (prefix_name + "input_layernorm.weight", (hidden,)),
            (prefix_name + "self_attention.query_key_value.weight", (hidden + 2 * kv, hidden)),
            (prefix_name + "self_attention.query_key_value.bias", (hidden + 2 * kv,)),
            (prefix_name + "self_attention.dense.weight", (hidden, hidden)),
            (prefix_name + "post_attention_layernorm.weight", (hidden,)),
            (prefix_name + "mlp.dense_h_to_4h.weight", (2 * ffn, hidden)),
            (prefix_name + "mlp.dense_4h_to_h.weight", (hidden, ffn)),
        ]
    shapes.append(("transformer.encoder.final_layernorm.weight", (hidden,)))
    shapes.append(("transformer.output_layer.weight", (header.vocab_size, hidden)))
    return tuple(shapes)


def tensor_layout(header: ModelHeader) -> tuple[Tensor, ...]:
    """Return every tensor with its place in the file: matrices in the header's dtype, vectors in f32."""
    layout = []
    position = header.tokenizer_offset + header.tokenizer_length
    for name, shape in weight_shapes(header):
        dtype = {1: "f32", 2: header.dtype}.get(len(shape), "f16")
        values = 1
        for size in shape:
            values *= size
        meta_end = position + 4 * (3 + len(shape)) + len(name)
        offset = -(-meta_end // ALIGNMENT) * ALIGNMENT
        size_bytes = DTYPES[dtype].size_bytes(values)
        layout.append(Tensor(name, shape, dtype, position, offset, size_bytes))
        position = offset + size_bytes
    return tuple(layout)


def expected_size(header: ModelHeader) -> int:
    """Return the exact size in bytes of a whole file with this header."""
    last = tensor_layout(header)[-1]
    return last.offset + last.size_bytes


def read_tokenizer(path: Path) -> bytes:
    """Return the serialized sentencepiece ModelProto inside the model file ``path``."""
    header = read_header(path)
    with _open(path) as stream, _reading(path):
        stream.seek(header.tokenizer_offset)
        proto = stream.read(header.tokenizer_length)
        have_bytes = os.fstat(stream.fileno()).st_size
    if len(proto) < header.tokenizer_length:
        need_bytes = expected_size(header)
        raise OneClickError("model.truncated", name=path.name, have_bytes=have_bytes, need_bytes=need_bytes)
    return proto


def check_model(path: Path, *, engine: str = "", readable_versions: Sequence[int] = (1, 2)) -> ModelHeader:
    """Return the header of a complete model that an engine reading ``readable_versions`` can load.

    Looks at the header, the size and each tensor's record (a few hundred small reads, no weights), so that
    the engine, which trusts the file and dies natively on a bad one, is only given files it can walk through.
    ``engine`` names it in the message. Damaged weights are found by ``digest_of`` only.
    """
    header = read_header(path)
    if header.version not in readable_versions:
        raise OneClickError(
            "model.version_unreadable",
            name=path.name,
            version=header.version,
            engine=engine,
            readable=", ".join(str(version) for version in readable_versions),
        )
    with _reading(path):
        have, need = path.stat().st_size, expected_size(header)
    if have < need:
        raise OneClickError("model.truncated", name=path.name, have_bytes=have, need_bytes=need)
    if have > need:
        raise OneClickError("model.too_long", name=path.name, extra_bytes=have - need)
    with _open(path) as stream, _reading(path):
        for tensor in tensor_layout(header):
            expected = pack_tensor_head(tensor)
            meta_bytes = 4 * (3 + len(tensor.shape)) + len(tensor.name)
            stream.seek(tensor.record_offset)
            if stream.read(meta_bytes) != expected[:meta_bytes]:
                raise OneClickError(
                    "model.damaged_tensor", name=path.name, offset=tensor.record_offset, expected=tensor.name
                )
    return header


def readable_versions(engine_version: str) -> tuple[int, ...]:
    """Return the header versions that chatglm_cpp ``engine_version`` (such as ``0.3.0+oneclick.1``) reads.

    Version 2 arrived in 0.3.2: https://github.com/li-plus/chatglm.cpp/releases
    """
    numbers = engine_version.split("+")[0].split(".")
    release = tuple(int(number) for number in numbers[:3] if number.isdigit())
    return (1, 2) if release >= (0, 3, 2) else (1,)


@dataclass(frozen=True)
class MemoryNeed:
    """What running a model takes, in bytes."""

    weights_bytes: int
    """Mapped from the file: physical memory that counts for speed, but no commit charge."""
    kv_bytes: int
    """Keys and values of the context, 16 bit each."""
    work_bytes: int
    """Intermediate results that a prompt of the largest chunk touches, and the Python processes."""
    reserved_bytes: int
    """Allocated by the engine at start, touched or not: this is what Windows' commit limit must hold."""

    @property
    def total_bytes(self) -> int:
        """Physical memory for running without swapping."""
        return self.weights_bytes + self.kv_bytes + self.work_bytes


MIB = 1 << 20
ENGINE_FIXED_BYTES = (512 + 1280 + 1) * MIB
"""Compute buffer, scratch buffer and 1 MiB beside the KV cache: ``ChatGLM2ForCausalLM`` in chatglm.h 0.3.0."""
PROCESSES_BYTES = 160 * MIB
"""The worker's and the server's Python, measured with the tokenizer loaded, rounded up."""


def memory_need(header: ModelHeader, n_ctx: int | None = None, *, chunk: int = 512) -> MemoryNeed:
    """Return what this model takes with a context of ``n_ctx`` tokens (None: all of it).

    ``chunk``: most tokens evaluated at once. The engine reserves keys and values for the header's whole
    sequence length, but memory that was never written stays free; only ``n_ctx`` tokens are written.
    """
    context = min(n_ctx or header.sequence_length, header.sequence_length)
    qlen = min(chunk, context)
    kv_per_token = 2 * header.num_layers * header.kv_size * 2
    return MemoryNeed(
        weights_bytes=expected_size(header),
        kv_bytes=context * kv_per_token,
        work_bytes=_work_bytes(header, qlen, context) + PROCESSES_BYTES,
        reserved_bytes=header.sequence_length * kv_per_token + ENGINE_FIXED_BYTES + PROCESSES_BYTES,
    )


def memory_bytes(header: ModelHeader, n_ctx: int | None = None) -> int:
    """Return the physical memory in bytes that running with a context of ``n_ctx`` tokens takes."""
    return memory_need(header, n_ctx).total_bytes


def _work_bytes(header: ModelHeader, qlen: int, context: int) -> int:
    """Return the 32-bit intermediate results of evaluating ``qlen`` tokens that end at ``context``.

    Per layer the engine's scratch buffer holds hidden states, the feed-forward's two halves and the
    attention scores, about one and a half times; with OpenBLAS the largest matrix is also unpacked to 32 bit.
    Measured without OpenBLAS on the full width, chunks of 512: 178 MB at 512 tokens, 326 MB at 2048; this
    gives 202 and 353 MB.
    """
    hidden_states = qlen * (8 * header.hidden_size + 3 * header.intermediate_size) * 4
    scores = header.num_heads * qlen * context * 4 * 3 // 2
    unpacked = header.hidden_size * header.intermediate_size * 4
    return min(hidden_states + scores, ENGINE_FIXED_BYTES) + unpacked


Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in total."""
Cancel = Callable[[], bool]
"""Asked between blocks; True stops the work."""


def sha256_of(path: Path, *, progress: Progress | None = None, cancel: Cancel | None = None) -> str:
    """Return the sha256 of ``path`` in lower-case hex; OneClickError("model.cancelled") when ``cancel`` says so."""
    digest = hashlib.sha256()
    done = 0
    with _open(path) as stream:
        total = os.fstat(stream.fileno()).st_size
        buffer = memoryview(bytearray(4 * MIB))
        while True:
            if cancel is not None and cancel():
                raise OneClickError("model.cancelled")
            with _reading(path):
                size = stream.readinto(buffer)  # type: ignore[attr-defined]
            if not size:
                return digest.hexdigest()
            digest.update(buffer[:size])
            done += size
            if progress is not None:
                progress(done, total)


class DigestMemory:
    """Digests of files already hashed, kept in one small JSON file; a file that changed is hashed again.

    ``path -> {file name: [size, modification time in ns, sha256]}``. Losing or damaging it costs one hashing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def recall(self, file: Path) -> str | None:
        """Return the digest ``file`` had when it was last hashed, None when it is another file by now."""
        entry = self._read().get(file.name)
        state = file.stat()
        if isinstance(entry, list) and entry[:2] == [state.st_size, state.st_mtime_ns] and len(entry) == 3:
            return str(entry[2])
        return None

    def remember(self, file: Path, sha256: str) -> None:
        """Keep ``sha256`` for ``file``; a folder that cannot be written only costs the next start some seconds."""
        state = file.stat()
        entries = {**self._read(), file.name: [state.st_size, state.st_mtime_ns, sha256]}
        temporary = self._path.with_name(self._path.name + ".tmp")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(entries, indent=1), encoding="utf-8")
            temporary.replace(self._path)
        except OSError:
            return

    def _read(self) -> dict[str, Any]:
        try:
            entries = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return entries if isinstance(entries, dict) else {}


def digest_of(
    path: Path,
    memory: DigestMemory | None = None,
    *,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> str:
    """Return the sha256 of ``path``, from ``memory`` when the file has not changed since it was last hashed."""
    with _reading(path):
        known = memory.recall(path) if memory is not None else None
    if known is not None:
        return known
    digest = sha256_of(path, progress=progress, cancel=cancel)
    if memory is not None:
        memory.remember(path, digest)
    return digest


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn the system's refusals (a drive that went away, a bad sector, another program's lock) into sentences."""
    try:
        yield
    except FileNotFoundError as error:
        raise OneClickError("model.missing", name=path.name) from error
    except OSError as error:
        raise OneClickError("model.unreadable", name=path.name, reason=error.strerror or error) from error


def _open(path: Path) -> BinaryIO:
    with _reading(path):
        if path.is_dir():
            raise OneClickError("model.not_a_file", name=path.name)
        return path.open("rb")
