"""Model files with random weights in the shape of ChatGLM3: what tests, smoke test and benchmarks run on.

They load and chat in the real engine at the real model's speed and memory, but say nonsense. The same arguments
give the same bytes on every machine.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bundle.disk import disk_named
from bundle.errors import StorageError, UsageError
from bundle.model import random_tokenizer
from bundle.model.quantize.blocks import quantize_rows
from oneclick.files import move
from oneclick.model.header import DTYPES, SPECIAL_TOKENS, ModelHeader, pack_header
from oneclick.model.layout import Tensor, expected_size, pack_tensor_head, tensor_layout

Speech = Literal["words", "bytes", "any"]

EOS_TOKEN_ID = 2
"""``</s>``, as in ChatGLM3."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a model; ``pieces`` and ``tokenizer_bytes`` 0: as the test tokenizer comes."""

    hidden_size: int
    num_heads: int
    num_kv_heads: int
    num_layers: int
    intermediate_size: int
    vocab_size: int = 0
    """0: pieces and special tokens, no row more."""
    pieces: int = 0
    tokenizer_bytes: int = 0


SHAPES = {
    "tiny": Shape(64, 4, 2, 2, 128),
    "small": Shape(512, 8, 2, 8, 1376),
    "full": Shape(4096, 32, 2, 28, 13696, vocab_size=65024, pieces=64789, tokenizer_bytes=1_018_370),
}
"""``tiny``: about 0.3 MB, a token in less than a millisecond. ``small``: about 15 MB, some milliseconds.
``full``: ChatGLM3-6B to the byte, 3.5 GB in q4_0."""

POOL_VALUES = 1 << 22
"""Random numbers made once and used again at other places for the next tensors, so that 6 billion weights are not
6 billion draws: the file is written at the disk's speed."""


def write_random_model(
    path: Path,
    shape: str = "tiny",
    dtype: str = "q4_0",
    *,
    seed: int = 0,
    weight_scale: float = 1.0,
    padded_vocab: int = 0,
    sequence_length: int = 8192,
    header_version: int = 1,
    speech: Speech = "words",
) -> ModelHeader:
    """Write a model file of ``shape`` (a key of SHAPES) to ``path`` and return its header.

    ``weight_scale``: standard deviation of a layer's outputs for inputs of standard deviation 1. At 1 the answer
    depends on every token of the prompt; near 0 nearly on the last one only.
    ``speech``: the tokens a greedy answer is made of: ``words`` readable pieces, never a stop token; ``bytes`` byte
    pieces only, so characters that are not UTF-8; ``any`` everything, stop tokens too.
    ``padded_vocab``: rows beyond the tokenizer's last id, given the loudest voice, so that the model soon says an id
    that no tokenizer knows (which the engine's own decoder does not survive). The real model has 226 silent ones.
    """
    header, kinds, proto = model_plan(shape, dtype, padded_vocab, sequence_length, header_version)
    voices = _voices(header, kinds, speech, padded_vocab)
    temporary = path.with_name(path.name + ".tmp")
    with disk_named(path, "choose another folder, or make room"):
        try:
            _check_space(path, expected_size(header))
            with temporary.open("wb") as out:
                out.write(pack_header(header) + proto)
                for chunk in _tensors(header, voices, seed, weight_scale):
                    out.write(chunk)
            move(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    return header


def model_plan(
    shape: str, dtype: str, padded_vocab: int, sequence_length: int, header_version: int
) -> tuple[ModelHeader, list[int], bytes]:
    """Return the header, the type of each sentencepiece piece, and the tokenizer's bytes."""
    if shape not in SHAPES or dtype not in DTYPES:
        raise UsageError(
            f"no test model of shape {shape!r} and type {dtype!r}",
            why="the shape or the type is not known",
            do=f"shapes: {', '.join(SHAPES)}; types: {', '.join(DTYPES)}",
        )
    sizes = SHAPES[shape]
    kinds = [kind for _, _, kind in random_tokenizer.pieces(sizes.pieces)]
    proto = random_tokenizer.make_proto(sizes.pieces, sizes.tokenizer_bytes)
    header = ModelHeader(
        architecture="ChatGLM3",
        version=header_version,
        dtype=dtype,
        vocab_size=(sizes.vocab_size or len(kinds) + len(SPECIAL_TOKENS)) + padded_vocab,
        hidden_size=sizes.hidden_size,
        num_heads=sizes.num_heads,
        num_kv_heads=sizes.num_kv_heads,
        num_layers=sizes.num_layers,
        intermediate_size=sizes.intermediate_size,
        sequence_length=sequence_length,
        bos_token_id=-1,
        eos_token_id=EOS_TOKEN_ID,
        pad_token_id=0,
        sep_token_id=-1,
        tokenizer_offset=64 if header_version == 1 else 68,
        tokenizer_length=len(proto),
    )
    return header, kinds, proto


def _check_space(path: Path, size_bytes: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    free_bytes = shutil.disk_usage(path.parent).free
    if free_bytes < size_bytes:
        raise StorageError(
            f"no room for {path.name}",
            why=f"it takes {size_bytes} bytes, {free_bytes} are free in {path.parent}",
            do="free some space, or choose another folder",
        )


def _voices(header: ModelHeader, kinds: list[int], speech: Speech, padded_vocab: int) -> NDArray[np.float32]:
    """Return how loud each token speaks: the factor of its row in the output layer.

    A factor of 0 keeps a token at logit 0, far below the largest of some hundred random logits.
    """
    voices = np.zeros(header.vocab_size, dtype=np.float32)
    piece_kinds = np.array(kinds)
    if speech == "any":
        voices[: len(kinds) + len(SPECIAL_TOKENS)] = 1
    else:
        wanted = random_tokenizer.NORMAL if speech == "words" else random_tokenizer.BYTE
        voices[: len(kinds)] = piece_kinds == wanted
    if padded_vocab:
        voices[-padded_vocab:] = 4
    return voices


def _tensors(
    header: ModelHeader, voices: NDArray[np.float32], seed: int, weight_scale: float
) -> Iterator[bytes | memoryview]:
    """Yield the file's bytes from the first tensor record on."""
    layout = tensor_layout(header)
    uniform = uniform_numbers(seed, weight_scale / header.hidden_size**0.5)
    pool = quantize_rows(uniform, header.dtype).data
    for number, tensor in enumerate(layout):
        yield pack_tensor_head(tensor)
        if len(tensor.shape) == 1:
            yield _vector(tensor, uniform)
        elif tensor.name == "transformer.output_layer.weight":
            # Numbers of its own: with the embedding's, each token would only ever repeat itself.
            own = uniform_numbers(seed + 1, header.hidden_size**-0.5)
            yield from _output_layer(tensor, own, voices)
        else:
            yield from _from_pool(pool, tensor, number, DTYPES[tensor.dtype].block_bytes)


def uniform_numbers(seed: int, deviation: float) -> NDArray[np.float32]:
    """Return POOL_VALUES random numbers of standard deviation ``deviation``, the same on every machine.

    Raw bits of PCG64 are promised not to change between numpy's releases, its distributions are not.
    """
    random = np.random.PCG64(seed).random_raw(POOL_VALUES // 2).view("<u4")
    uniform: NDArray[np.float32] = (random >> np.uint32(15)).astype(np.float32)
    uniform *= np.float32(2**-16)
    uniform -= np.float32(1)
    uniform *= np.float32(3**0.5 * deviation)
    return uniform


def _vector(tensor: Tensor, uniform: NDArray[np.float32]) -> bytes:
    """Return a norm's weights, all 1, or a bias, small random numbers."""
    size = tensor.shape[0]
    vector: NDArray[Any] = uniform[:size] if tensor.name.endswith(".bias") else np.ones(size, dtype=np.float32)
    return vector.astype("<f4").tobytes()


def _from_pool(pool: memoryview, tensor: Tensor, number: int, step: int) -> Iterator[memoryview]:
    """Yield a matrix's bytes out of ``pool``, from a place that differs for each tensor ``number``."""
    blocks = len(pool) // step
    start = number * 104_729 % blocks * step
    left = tensor.size_bytes
    while left:
        part = pool[start : start + left]
        yield part
        left -= len(part)
        start = 0


def _output_layer(tensor: Tensor, uniform: NDArray[np.float32], voices: NDArray[np.float32]) -> Iterator[bytes]:
    """Yield the output layer, each token's row made as loud as ``voices`` says."""
    rows, columns = tensor.shape
    step = min(rows, POOL_VALUES // columns)
    for first in range(0, rows, step):
        last = min(first + step, rows)
        part = np.resize(uniform, (last - first, columns))
        yield quantize_rows(part * voices[first:last, None], tensor.dtype).tobytes()
