"""Which tensors a model file holds, where each one lies, and how long the file has to be."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from oneclick.model.header import ALIGNMENT, DTYPES, ModelHeader


@dataclass(frozen=True)
class Tensor:
    """One tensor record: where its data lie and how large they are."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    record_offset: int
    offset: int
    size_bytes: int


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
