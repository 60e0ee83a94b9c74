"""The sentencepiece model inside a model file: its pieces, and the bytes of text that each stands for."""

from __future__ import annotations

from typing import Any

from oneclick.errors import OneClickError


class Pieces:
    """A tokenizer's vocabulary; ids from ``count`` on are none of its."""

    def __init__(self, proto: bytes) -> None:
        """``proto``: the serialized ModelProto; reading it takes milliseconds.

        Raises OneClickError("model.damaged_tokenizer") where it is none.
        """
        # Imported here: only a process that has a model needs it. It ships no types.
        import sentencepiece  # type: ignore[import-untyped, unused-ignore]

        pieces: Any = sentencepiece.SentencePieceProcessor()
        try:
            pieces.LoadFromSerializedProto(proto)
        except (RuntimeError, ValueError) as error:
            raise OneClickError("model.damaged_tokenizer", reason=str(error)) from error
        self.processor = pieces
        """sentencepiece's own."""
        self.count: int = pieces.GetPieceSize()
        self._newline: list[int] = self.encode("\n")

    def encode(self, text: str) -> list[int]:
        """Return the ids of ``text``, which begins like every text with a space of the tokenizer's own."""
        ids: list[int] = self.processor.EncodeAsIds(text)
        return ids

    def encode_inside(self, text: str) -> list[int]:
        """Return the ids of ``text`` where it stands inside another text."""
        # A line break is a byte of its own and joins no piece.
        return self.encode("\n" + text)[len(self._newline) :]

    def name(self, token: int) -> str:
        """Return the piece as the tokenizer writes it."""
        name: str = self.processor.IdToPiece(token)
        return name

    def bytes_of(self, token: int) -> bytes | None:
        """Return the UTF-8 bytes of one token, None for ids that are no text. A character may need several tokens."""
        pieces = self.processor
        if not 0 <= token < self.count or pieces.IsControl(token) or pieces.IsUnknown(token):
            return None
        if pieces.IsByte(token):
            return bytes([int(self.name(token)[3:5], 16)])
        return self.name(token).replace("▁", " ").encode("utf-8")
