"""The configuration that convert.py asks a checkpoint's own code for; every entry comes from config.json."""

from transformers import PretrainedConfig


class ChatGLMConfig(PretrainedConfig):
    model_type = "chatglm"
