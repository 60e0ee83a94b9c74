"""The parameters of ChatGLM3 under their names and in their types, without the mathematics: convert.py only copies."""

import torch
from torch import nn
from transformers import PreTrainedModel

from .configuration_chatglm import ChatGLMConfig


def _matrix(config: ChatGLMConfig, rows: int, columns: int, *, bias: bool = False, plain: bool = False) -> nn.Module:
    """Return a Linear, or for the -int8 and -int4 checkpoints what replaces it: int8 weights and a scale per row."""
    layer = nn.Module()
    bits = 0 if plain else config.quantization_bit
    if bits:
        stored = torch.zeros(rows, columns * bits // 8, dtype=torch.int8)
        layer.weight_scale = nn.Parameter(torch.zeros(rows, dtype=config.torch_dtype), requires_grad=False)
    else:
        stored = torch.zeros(rows, columns, dtype=config.torch_dtype)
    layer.weight = nn.Parameter(stored, requires_grad=False)
    if bias:
        layer.bias = nn.Parameter(torch.zeros(rows, dtype=config.torch_dtype), requires_grad=False)
    return layer


def _norm(config: ChatGLMConfig) -> nn.Module:
    norm = nn.Module()
    norm.weight = nn.Parameter(torch.zeros(config.hidden_size, dtype=config.torch_dtype), requires_grad=False)
    return norm


def _layer(config: ChatGLMConfig) -> nn.Module:
    hidden, ffn = config.hidden_size, config.ffn_hidden_size
    layer, attention, mlp = nn.Module(), nn.Module(), nn.Module()
    qkv = hidden + 2 * config.multi_query_group_num * config.kv_channels
    attention.query_key_value = _matrix(config, qkv, hidden, bias=True)
    attention.dense = _matrix(config, hidden, hidden)
    mlp.dense_h_to_4h = _matrix(config, 2 * ffn, hidden)
    mlp.dense_4h_to_h = _matrix(config, hidden, ffn)
    layer.input_layernorm, layer.post_attention_layernorm = _norm(config), _norm(config)
    layer.self_attention, layer.mlp = attention, mlp
    return layer


class ChatGLMForConditionalGeneration(PreTrainedModel):
    config_class = ChatGLMConfig

    def __init__(self, config: ChatGLMConfig, **_: object) -> None:
        super().__init__(config)
        self.transformer = nn.Module()
        self.transformer.embedding = nn.Module()
        self.transformer.encoder = nn.Module()
        vocab, hidden = config.padded_vocab_size, config.hidden_size
        self.transformer.embedding.word_embeddings = _matrix(config, vocab, hidden, plain=True)
        self.transformer.encoder.layers = nn.ModuleList(_layer(config) for _ in range(config.num_layers))
        self.transformer.encoder.final_layernorm = _norm(config)
        self.transformer.output_layer = _matrix(config, vocab, hidden, plain=True)

    def _init_weights(self, module: nn.Module) -> None:
        """Every weight comes from the checkpoint."""
