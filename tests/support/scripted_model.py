"""A model that says one fixed sentence: for what no random model ever says, such as a tool call.

All layers add nothing, so the hidden state is the last token's embedding; the output layer names the token that follows
it. Each token of the sentence may occur once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bundle.model import random_tokenizer
from oneclick.model.header import SPECIAL_TOKENS, ModelHeader, pack_header
from oneclick.model.layout import pack_tensor_head, tensor_layout

HIDDEN = 64


def write_scripted_model(path: Path, tokens: Sequence[int], first: int, *, again: bool = False) -> None:
    """Write a model that says ``tokens`` (at most 63, all different) after the token ``first``.

    ``again``: and then again, without an end.
    """
    proto = random_tokenizer.make_proto()
    chain = [first, *tokens]
    assert len(set(chain)) == len(chain) <= HIDDEN
    after = [*tokens, *(tokens[:1] if again else ())]
    header = ModelHeader(
        architecture="ChatGLM3",
        version=1,
        dtype="f32",
        vocab_size=len(random_tokenizer.pieces()) + len(SPECIAL_TOKENS),
        hidden_size=HIDDEN,
        num_heads=4,
        num_kv_heads=2,
        num_layers=1,
        intermediate_size=64,
        sequence_length=2048,
        bos_token_id=-1,
        eos_token_id=2,
        pad_token_id=0,
        sep_token_id=-1,
        tokenizer_offset=64,
        tokenizer_length=len(proto),
    )
    with path.open("wb") as out:
        out.write(pack_header(header) + proto)
        for tensor in tensor_layout(header):
            values = np.zeros(tensor.shape, dtype="<f4")
            if len(tensor.shape) == 1 and not tensor.name.endswith(".bias"):
                values[:] = 1  # norms
            for index, token in enumerate(chain):
                if tensor.name == "transformer.embedding.word_embeddings.weight":
                    values[token, index] = 1
                elif tensor.name == "transformer.output_layer.weight" and index < len(after):
                    values[after[index], index] = 1
            out.write(pack_tensor_head(tensor))
            out.write(values.tobytes())
