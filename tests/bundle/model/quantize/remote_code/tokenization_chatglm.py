"""The tokenizer that convert.py embeds; "<|system|>" in this file marks ChatGLM3 for newer converters."""

from pathlib import Path

from sentencepiece import SentencePieceProcessor


class ChatGLMTokenizer:
    def __init__(self, folder: str) -> None:
        self.tokenizer = self
        self.special_tokens = {"<|system|>": 0}
        self.sp_model = SentencePieceProcessor(model_file=str(Path(folder) / "tokenizer.model"))

    @classmethod
    def from_pretrained(cls, folder: str, *_: object, **__: object) -> "ChatGLMTokenizer":
        return cls(folder)

    @classmethod
    def register_for_auto_class(cls, *_: object) -> None:
        """Nothing to register."""
