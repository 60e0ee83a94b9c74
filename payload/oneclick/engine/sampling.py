"""How the tokens of one answer are chosen, by our build's sampler or by what released engines have."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Callable, Mapping, NamedTuple, Sequence, Tuple

from oneclick.engine.constraint import Constraint

FEATURE = "sampler"
"""Of our build: what ``Sampling.beyond_release`` names, and a seed."""

_NATIVE = (
    *("temperature", "top_p", "top_k", "min_p"),
    *("repetition_penalty", "frequency_penalty", "presence_penalty"),
)
"""Fields that the engine's sampler has under the same names."""
_BEYOND = ("min_p", "frequency_penalty", "presence_penalty", "logit_bias", "grammar")

LogProb = Tuple[int, float]
"""An id and the natural logarithm of its probability, before any of Sampling changed it."""


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. ``greedy`` ignores temperature, top_k, top_p and min_p."""

    greedy: bool = True
    temperature: float = 0.8
    top_p: float = 0.8
    """Both as in the model's own ``chat()`` (modeling_chatglm.py)."""
    top_k: int = 0
    repetition_penalty: float = 1.0
    """Of every token so far."""
    min_p: float = 0.0
    """What is less likely than this share of the likeliest is left out."""
    frequency_penalty: float = 0.0
    """Taken from a token's logit for each time that it stands in the answer (not in the prompt), as OpenAI does."""
    presence_penalty: float = 0.0
    """Taken once."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    seed: int | None = None
    log_probs: int | None = None
    """Tell each token's log probability, and those of so many likeliest; None: tell nothing."""
    grammar: str = ""
    """What the answer must follow, in llguidance's own form."""
    score_prompt: bool = False
    """Tell them of the prompt's tokens, too: it is evaluated token by token for that."""

    @classmethod
    def of_message(cls, values: Mapping[str, Any]) -> Sampling:
        """Return the Sampling of a ``generate`` message's fields."""
        known = {one.name: values[one.name] for one in fields(cls) if one.name in values}
        known["logit_bias"] = tuple((token, bias) for token, bias in known.get("logit_bias", ()))
        return cls(**known)

    def beyond_release(self) -> list[str]:
        """Return what is asked that released engines cannot do; an answer without its seed is an answer, too."""
        asked = {name: getattr(self, name) for name in _BEYOND}
        return [name for name, value in asked.items() if value] + (["logprobs"] if self.log_probs is not None else [])


class Drawn(NamedTuple):
    """One chosen token."""

    token: int
    log_prob: float | None = None
    likeliest: list[LogProb] | None = None
    last: bool = False
    """Its grammar lets nothing follow."""


Draw = Callable[[Sequence[int], int], Drawn]
"""``draw(ids, n_past)`` evaluates ``ids[n_past:]`` after the KV cache's first ``n_past`` positions and chooses."""


def log_probs(model: Any, token: int, most: int) -> tuple[float, list[LogProb]]:
    """Return what the last evaluation of our build's ``model`` makes of ``token``, and of the ``most`` likeliest."""
    ((_, log_prob),), likeliest = model.log_probs([token], most)
    return log_prob, likeliest


class Sampler:
    """Draws the tokens of one answer with our build's sampler."""

    def __init__(
        self,
        native: Any,
        model: Any,
        threads: int,
        sampling: Sampling,
        prompt_tokens: int,
        constraint: Constraint | None = None,
    ) -> None:
        """``native`` is chatglm_cpp._C, ``model`` its loaded model."""
        self._model = model
        self._threads = threads
        self._constraint = constraint
        self._most = sampling.log_probs
        self._counts = bool(sampling.repetition_penalty != 1 or sampling.frequency_penalty or sampling.presence_penalty)
        """Tokens so far matter; without penalties thousands of them need not be handed over."""
        sampler = self._sampler = native.Sampler()
        sampler.do_sample = not sampling.greedy
        for name in _NATIVE:
            setattr(sampler, name, getattr(sampling, name))
        sampler.logit_bias = dict(sampling.logit_bias)
        sampler.prompt_size = prompt_tokens
        if sampling.seed is not None:
            sampler.seed(sampling.seed % 2**64)

    def draw(self, ids: Sequence[int], n_past: int) -> Drawn:
        self._model.evaluate(ids, self._threads, n_past, len(ids))
        constraint = self._constraint
        allowed = constraint.allowed() if constraint is not None else b""
        token: int = self._model.draw(self._sampler, ids if self._counts else (), allowed)
        last = constraint is not None and constraint.take(token)
        if self._most is None:
            return Drawn(token, last=last)
        return Drawn(token, *log_probs(self._model, token, self._most), last)
