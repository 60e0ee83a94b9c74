"""Answers that cannot break their form: which tokens may come next, by a grammar (llguidance).

The grammars are llguidance's own: https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Collection

from oneclick.pieces import Pieces


class Vocabulary:
    """A model's tokens as llguidance wants them: made when the first grammar comes, in 0.3 s."""

    def __init__(self, model: Path, tokenizer: tuple[int, int], size: int) -> None:
        """``tokenizer``: where in the file ``model`` it lies, first byte and number of bytes; ``size``: all ids."""
        self._model = model
        self._tokenizer = tokenizer
        self._size = size
        self._made: dict[frozenset[int], Any] = {}

    def constrain(self, grammar: str, stop_tokens: Collection[int]) -> Constraint:
        """Return a fresh constraint; RuntimeError where there is no llguidance, or it refuses ``grammar``."""
        try:
            import llguidance  # type: ignore[import-not-found, unused-ignore]
        except ImportError as error:
            raise RuntimeError(f"llguidance: {error}") from error
        stops = frozenset(stop_tokens)
        if stops not in self._made:
            self._made[stops] = self._make(llguidance, stops)
        return Constraint(llguidance.LLMatcher(self._made[stops], grammar, log_level=0))

    def _make(self, llguidance: Any, stop_tokens: Collection[int]) -> Any:
        with self._model.open("rb") as file:
            file.seek(self._tokenizer[0])
            pieces = Pieces(file.read(self._tokenizer[1]))
        wrapper = llguidance.TokenizerWrapper(_Tokens(pieces, self._size, min(stop_tokens)))
        return llguidance.LLTokenizer(wrapper, n_vocab=self._size, eos_token=sorted(stop_tokens))


class _Tokens:
    """What llguidance.TokenizerWrapper reads."""

    bos_token_id = None

    def __init__(self, pieces: Pieces, size: int, eos_token_id: int) -> None:
        self.eos_token_id = eos_token_id
        self.tokens = [self._bytes(pieces, token) for token in range(size)]
        self._pieces = pieces

    def _bytes(self, pieces: Pieces, token: int) -> bytes:
        text = pieces.bytes_of(token)
        if text is None or text.startswith(b"\xff"):
            # 0xFF begins the name of a special token: no text holds that byte.
            return b"\xff<%d>" % token
        return text

    def __call__(self, text: str | bytes) -> list[int]:
        return self._pieces.encode_inside(text if isinstance(text, str) else text.decode("utf-8"))


class Constraint:
    """Follows one answer."""

    def __init__(self, matcher: Any) -> None:
        self._matcher = matcher

    def allowed(self) -> bytes:
        """Return a bit for each token, from the lowest of the first byte on: whether it may come next.

        Raises RuntimeError where the grammar is refused or grew beyond llguidance's bounds.
        """
        mask: bytes = self._matcher.compute_bitmask()
        if self._matcher.is_error():
            raise RuntimeError(self._matcher.get_error())
        return mask

    def take(self, token: int) -> bool:
        """Go on with ``token``; return whether the answer is complete and nothing may follow."""
        self._matcher.consume_token(token)
        complete: bool = self._matcher.is_stopped()
        return complete
