"""Folders of original weights with random numbers, in the layout of ChatGLM3's page: what quantising is tested on."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.model.quantize.floats import STORED_BYTES
from bundle.model.random_model import model_plan, uniform_numbers
from oneclick.model.header import ModelHeader
from oneclick.model.layout import weight_shapes

TORCH_DTYPES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32"}


def write_random_checkpoint(
    folder: Path,
    shape: str = "tiny",
    stored: str = "F16",
    *,
    seed: int = 0,
    shards: int = 2,
    bits: int = 0,
    torch_dtype: str = "",
    padded_vocab: int = 0,
    **config: Any,
) -> None:
    """Write config.json, tokenizer.model and safetensors shards of ``shape`` (a key of SHAPES) to ``folder``.

    stored: F16, BF16 or F32. bits: 8 or 4 stores the layers' matrices as integers with one scale per row, as the
    published -int8 and -int4 checkpoints do. torch_dtype: config.json's, when it differs from ``stored``.
    padded_vocab: rows beyond the tokenizer's last id. ``config`` adds to config.json or replaces its entries.
    The same arguments give the same bytes.

    Among the numbers are what real weights have too and roundings stumble over: whole blocks of zeros (of both
    signs), equal largest magnitudes of both signs, and values below the smallest normal half.
    """
    folder.mkdir(parents=True, exist_ok=True)
    header, _kinds, tokenizer = model_plan(shape, "f32", padded_vocab, 8192, 1)
    (folder / "tokenizer.model").write_bytes(tokenizer)
    entries = _config(header, torch_dtype or TORCH_DTYPES[stored], bits) | config
    (folder / "config.json").write_text(json.dumps(entries, indent=2), encoding="utf-8")
    tensors = _tensors(header, stored, bits)
    pool = _pool(stored, seed)
    names = [f"model-{number + 1:05}-of-{shards:05}.safetensors" for number in range(shards)]
    weight_map = {}
    for number, file_name in enumerate(names):
        part = tensors[number * len(tensors) // shards : (number + 1) * len(tensors) // shards]
        _write_shard(folder / file_name, part, pool, seed + number)
        weight_map.update({name: file_name for name, _, _ in part})
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")


def _config(header: ModelHeader, torch_dtype: str, bits: int) -> dict[str, Any]:
    """Return config.json as the page of ChatGLM3-6B has it, with this shape's sizes."""
    return {
        "model_type": "chatglm",
        "architectures": ["ChatGLMModel"],
        "auto_map": {
            "AutoConfig": "configuration_chatglm.ChatGLMConfig",
            "AutoModel": "modeling_chatglm.ChatGLMForConditionalGeneration",
        },
        "add_bias_linear": False,
        "add_qkv_bias": True,
        "apply_residual_connection_post_layernorm": False,
        "ffn_hidden_size": header.intermediate_size,
        "hidden_size": header.hidden_size,
        "kv_channels": header.head_size,
        "layernorm_epsilon": 1e-05,
        "multi_query_attention": True,
        "multi_query_group_num": header.num_kv_heads,
        "num_attention_heads": header.num_heads,
        "num_layers": header.num_layers,
        "original_rope": True,
        "padded_vocab_size": header.vocab_size,
        "post_layer_norm": True,
        "pre_seq_len": None,
        "quantization_bit": bits,
        "rmsnorm": True,
        "seq_length": header.sequence_length,
        "tie_word_embeddings": False,
        "torch_dtype": torch_dtype,
        "transformers_version": "4.30.2",
        "vocab_size": header.vocab_size,
        "eos_token_id": header.eos_token_id,
        "pad_token_id": header.pad_token_id,
    }


_Entry = tuple[str, tuple[int, ...], str]
"""name, shape, stored type"""


def _tensors(header: ModelHeader, stored: str, bits: int) -> list[_Entry]:
    tensors: list[_Entry] = []
    for name, shape in weight_shapes(header):
        if bits and len(shape) == 2 and ".layers." in name:
            columns = shape[1] * bits // 8
            tensors += [(name, (shape[0], columns), "I8"), (f"{name}_scale", (shape[0],), stored)]
        else:
            tensors.append((name, shape, stored))
    return tensors


def _pool(stored: str, seed: int) -> dict[str, NDArray[np.uint8]]:
    """Return random bytes of each type that occurs: type -> bytes."""
    numbers = uniform_numbers(seed, 0.02)
    numbers[3::4096] *= np.float32(1e-6)
    for block in (5, 70, 1031):
        numbers[block * 32 - 64 : block * 32 + 32] = 0
        numbers[block * 32 - 64 : block * 32 : 3] *= -1
        numbers[block * 32 + 40 : block * 32 + 42] = (0.0625, -0.0625)
        numbers[block * 32 + 72 : block * 32 + 74] = (-0.0625, 0.0625)
    if stored == "F16":
        packed = numbers.astype("<f2").view(np.uint8)
    elif stored == "BF16":
        packed = (numbers.view(np.uint32) >> np.uint32(16)).astype("<u2").view(np.uint8)
    else:
        packed = numbers.astype("<f4").view(np.uint8)
    integers = np.random.PCG64(seed).random_raw(len(numbers) // 8).view(np.uint8)
    return {stored: packed, "I8": integers}


def _write_shard(path: Path, tensors: list[_Entry], pool: dict[str, NDArray[np.uint8]], seed: int) -> None:
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name, shape, stored in tensors:
        size_bytes = math.prod(shape) * STORED_BYTES[stored]
        entries[name] = {"dtype": stored, "shape": shape, "data_offsets": [position, position + size_bytes]}
        position += size_bytes
    header = json.dumps(entries, separators=(",", ":")).encode()
    header = header.ljust(-(-len(header) // 8) * 8)
    with path.open("wb") as out:
        out.write(len(header).to_bytes(8, "little") + header)
        for number, (_, shape, stored) in enumerate(tensors):
            for chunk in _from_pool(pool[stored], math.prod(shape) * STORED_BYTES[stored], seed * 1009 + number):
                out.write(chunk)


def _from_pool(pool: NDArray[np.uint8], size_bytes: int, number: int) -> Iterator[memoryview]:
    """Yield ``size_bytes`` out of ``pool``, from a place that differs for each ``number``."""
    start = number * 104_729 * 4096 % len(pool)
    left = size_bytes
    while left:
        part = pool[start : start + left]
        yield part.data
        left -= len(part)
        start = 0
