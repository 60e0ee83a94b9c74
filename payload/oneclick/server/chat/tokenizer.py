"""ChatGLM3's tokenizer in the HTTP process: exact counts, prompts and text without asking the worker.

The sentencepiece model is part of the model file. The engine numbers its special tokens after the last piece; ids
beyond them exist in the model's output (its vocabulary is padded to 65024) but mean nothing.
"""

from __future__ import annotations

from typing import Iterable

from oneclick.model.check import load_pieces
from oneclick.model.header import SPECIAL_TOKENS

ROLES = ("system", "user", "assistant", "observation")


class ChatTokenizer:
    """Turns text and messages into ids, and ids into bytes of text."""

    def __init__(self, proto: bytes, eos_token_id: int) -> None:
        """``proto``: the serialized sentencepiece model. Raises OneClickError when it is none."""
        self._pieces = load_pieces(proto)
        self.piece_count: int = self._pieces.GetPieceSize()
        self.special = {name: self.piece_count + index for index, name in enumerate(SPECIAL_TOKENS)}
        self.size = self.piece_count + len(SPECIAL_TOKENS)
        """Ids from here on are in no tokenizer."""
        self.observation = self.special["<|observation|>"]
        self.assistant = self.special["<|assistant|>"]
        self.stop_tokens: frozenset[int] = frozenset(
            (eos_token_id, self.observation, self.special["<|user|>"], self.special["<|system|>"])
        )
        self._newline: list[int] = self.encode("\n")
        self._known_bytes: dict[int, bytes | None] = {}

    def encode(self, text: str) -> list[int]:
        """Return the ids of ``text``; special tokens' names in it are ordinary text."""
        ids: list[int] = self._pieces.EncodeAsIds(text)
        return ids

    def start(self) -> list[int]:
        """Return the ids every prompt begins with."""
        return [self.special["[gMASK]"], self.special["sop"]]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ``ids``; those that are no text (special ones, unknown ones) have none."""
        text = b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")
        return text[1:] if text.startswith(" ") else text  # the tokenizer puts one before every text

    def head(self, role: str, metadata: str = "") -> list[int]:
        """Return the ids before a message's content; ``metadata`` is the tool's name in an assistant's call."""
        line = self.encode(metadata + "\n") if metadata else self._newline
        return [self.special[f"<|{role}|>"], *line]

    def is_text(self, token: int) -> bool:
        """True for ids that can stand for text: not special, not unknown to the tokenizer."""
        return self._bytes_of(token) is not None

    def token_bytes(self, token: int) -> bytes:
        """Return the UTF-8 bytes of one token, b"" for ids that are no text. A character may need several tokens."""
        return self._bytes_of(token) or b""

    def shown(self, token: int) -> str:
        r"""Return one token for people: its text, a special one's name, or for a part of a character ``bytes:\xe5``.

        The last is how OpenAI shows such; no two tokens may look the same, as they are keys.
        """
        data = self._bytes_of(token)
        if data is not None:
            try:
                return data.decode("utf-8")
            except UnicodeDecodeError:
                return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)
        if 0 <= token < self.piece_count:
            piece: str = self._pieces.IdToPiece(token)
            return piece
        return SPECIAL_TOKENS[token - self.piece_count] if token < self.size else f"<{token}>"

    def _bytes_of(self, token: int) -> bytes | None:
        """Return a token's bytes, None for ids that are no text; sentencepiece is asked once a token."""
        try:
            return self._known_bytes[token]
        except KeyError:
            found = self._known_bytes[token] = self._ask_bytes(token)
            return found

    def _ask_bytes(self, token: int) -> bytes | None:
        pieces = self._pieces
        if not 0 <= token < self.piece_count or pieces.IsControl(token):
            return None
        piece: str = pieces.IdToPiece(token)
        if pieces.IsByte(token):
            return bytes([int(piece[3:5], 16)])
        if pieces.IsUnknown(token):
            return " ⁇ ".encode()  # what sentencepiece itself shows
        return piece.replace("▁", " ").encode("utf-8")
