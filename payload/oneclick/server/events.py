"""What happens to a generation, from the worker to whoever asked for it: one union of plain frozen data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence, Union

from oneclick.server.api_errors import ApiError


@dataclass(frozen=True)
class Queued:
    """The job waits; 1 is next."""

    position: int


@dataclass(frozen=True)
class PromptProgress:
    """The prompt is being evaluated."""

    done: int
    total: int
    cached: int
    """Tokens kept from the conversation before."""
    left_s: float


@dataclass(frozen=True)
class Token:
    """The next token of the answer."""

    token: int
    log_prob: float | None = None
    """Natural logarithm of its probability; None where nobody asked."""
    likeliest: Sequence[tuple[int, float]] = ()
    """What else could have come, with its log probability, best first."""


@dataclass(frozen=True)
class Done:
    """The job ended well: ``reason`` is stop, length or cancelled."""

    reason: str
    stop_token: int | None
    prompt_tokens: int
    cached_tokens: int
    prompt_s: float
    generated_tokens: int
    generation_s: float
    prompt_scores: Sequence[tuple[float, Sequence[tuple[int, float]]]] = ()
    """Log probability, and the likeliest, of each of the prompt's tokens but the first; where asked."""


@dataclass(frozen=True)
class Failed:
    """The job ended badly."""

    error: ApiError


Event = Union[Queued, PromptProgress, Token, Done, Failed]


@dataclass(frozen=True)
class Refused:
    """The engine would not compute this job: ``reason`` in its own words."""

    reason: str


WorkerEvent = Union[PromptProgress, Token, Done, Refused]
"""What the worker says about the job it has."""
