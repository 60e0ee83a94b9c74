"""Whether this program can use a model file: whole, undamaged, of a version the engine reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Sequence

from oneclick.errors import OneClickError
from oneclick.files import is_being_written, open_to_read, reading
from oneclick.model.header import SPECIAL_TOKENS, ModelHeader, read_header
from oneclick.model.layout import expected_size, pack_tensor_head, tensor_layout
from oneclick.pieces import Pieces


def read_tokenizer(path: Path) -> bytes:
    """Return the serialized sentencepiece ModelProto inside the model file ``path``."""
    header = read_header(path)
    with open_to_read(path) as stream, reading(path):
        stream.seek(header.tokenizer_offset)
        proto = stream.read(header.tokenizer_length)
        have_bytes = os.fstat(stream.fileno()).st_size
    if len(proto) < header.tokenizer_length:
        need_bytes = expected_size(header)
        raise OneClickError("model.truncated", name=path.name, have_bytes=have_bytes, need_bytes=need_bytes)
    return proto


def check_model(path: Path, *, engine: str = "", readable_versions: Sequence[int] = (1, 2)) -> ModelHeader:
    """Return the header of a complete model that an engine reading ``readable_versions`` can load.

    Looks at the header, the size, each tensor's record (a few hundred small reads, no weights) and the tokenizer, so
    that the engine, which trusts the file and dies natively on a bad one, is only given files it can walk through.
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
    with reading(path):
        have, need = path.stat().st_size, expected_size(header)
    if have < need:
        raise OneClickError("model.truncated", name=path.name, have_bytes=have, need_bytes=need)
    if have > need:
        raise OneClickError("model.too_long", name=path.name, extra_bytes=have - need)
    with open_to_read(path) as stream, reading(path):
        for tensor in tensor_layout(header):
            expected = pack_tensor_head(tensor)
            meta_bytes = 4 * (3 + len(tensor.shape)) + len(tensor.name)
            stream.seek(tensor.record_offset)
            if stream.read(meta_bytes) != expected[:meta_bytes]:
                raise OneClickError(
                    "model.damaged_tensor", name=path.name, offset=tensor.record_offset, expected=tensor.name
                )
    count = Pieces(read_tokenizer(path)).count
    if count + len(SPECIAL_TOKENS) > header.vocab_size:
        raise OneClickError("model.damaged_tokenizer", reason=f"{count} + {len(SPECIAL_TOKENS)} > {header.vocab_size}")
    if is_being_written(path):
        raise OneClickError("model.held", name=path.name)
    return header


def readable_versions(engine_version: str) -> tuple[int, ...]:
    """Return the header versions that chatglm_cpp ``engine_version`` (such as ``0.3.0+oneclick.1``) reads.

    Version 2 arrived in 0.3.2: https://github.com/li-plus/chatglm.cpp/releases
    """
    numbers = engine_version.split("+")[0].split(".")
    release = tuple(int(number) for number in numbers[:3] if number.isdigit())
    return (1, 2) if release >= (0, 3, 2) else (1,)
