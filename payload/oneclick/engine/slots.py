"""What the KV cache holds, position by position, so that no token is evaluated twice without need.

Position i of the cache holds keys and values of token i, which depend on tokens 0..i only. So each position is
labelled with a digest of the tokens up to it (a *link*), and a new prompt needs exactly those positions evaluated whose
label differs. After a short foreign request (Chatbox asks for a title) only the positions it overwrote
differ: the rest of a long conversation is still there.
"""

from __future__ import annotations

import hashlib
from typing import Sequence, Tuple

SCRATCH_SCORES = 512 * 8192
"""Chunk x context that fits the engine's scratch memory in the real model's shape (32 heads, 1280 MB)."""

Span = Tuple[int, int]
"""Positions start..end-1."""


def extend_links(links: list[bytes], ids: Sequence[int]) -> None:
    """Append to ``links`` the links of the tokens of ``ids`` that have none yet."""
    for token in ids[len(links) :]:
        before = links[-1] if links else b""
        links.append(hashlib.blake2b(before + token.to_bytes(4, "big"), digest_size=16).digest())


class Slots:
    """The labels of the positions of one KV cache."""

    def __init__(self) -> None:
        self._labels: list[bytes] = []

    def missing(self, links: Sequence[bytes]) -> list[Span]:
        """Return the spans a prompt with these links still needs, in order.

        The last position is always among them: evaluating it is what gives the next token.
        """
        spans: list[Span] = []
        last = len(links) - 1
        for position, link in enumerate(links):
            known = position < len(self._labels) and self._labels[position] == link and position != last
            if known:
                continue
            if spans and spans[-1][1] == position:
                spans[-1] = (spans[-1][0], position + 1)
            else:
                spans.append((position, position + 1))
        return spans

    def fill(self, links: Sequence[bytes], span: Span) -> None:
        """Record that the positions of ``span`` now hold the tokens of ``links``."""
        start, end = span
        if start > len(self._labels):
            raise ValueError("a gap in the KV cache")
        self._labels[start:end] = links[start:end]

    def forget(self, span: Span) -> None:
        """Positions of ``span`` may hold anything from now on."""
        start, end = span
        for position in range(start, min(end, len(self._labels))):
            self._labels[position] = b""

    def clear(self) -> None:
        """The whole cache is in doubt."""
        self._labels.clear()


def plan_chunks(missing: Sequence[Span], chunk: int) -> list[Span]:
    """Return the calls for an engine that may evaluate several tokens anywhere: each at most ``chunk`` long.

    Towards the end of a very long context chunks get shorter: the engine's scratch memory holds a fixed number of
    attention scores, which are chunk x context.
    """
    calls: list[Span] = []
    for start, end in missing:
        at = start
        while at < end:
            reach = min(end, at + max(1, min(chunk, SCRATCH_SCORES // (at + chunk))))
            calls.append((at, reach))
            at = reach
    return calls


def plan_single(
    missing: Sequence[Span], single_call_tokens: int, prompt_s_per_token: float, token_s: float
) -> list[Span]:
    """Return the cheapest calls for an engine that takes several tokens only at position 0.

    Choice: one call from position 0 up to the end of one of the spans (or none), then one token at a time.
    ``prompt_s_per_token`` and ``token_s`` are measured seconds per token of the two ways.
    """
    counts = [end - start for start, end in missing]
    best_end, best_s = 0, token_s * sum(counts)
    for index, (start, end) in enumerate(missing):
        # A span that crosses the limit may still be evaluated up to it.
        reach = min(end, single_call_tokens)
        if reach <= start:
            break
        left = sum(counts[index + 1 :]) + (end - reach)
        cost_s = prompt_s_per_token * reach + token_s * left
        if cost_s < best_s:
            best_end, best_s = reach, cost_s
    calls: list[Span] = [(0, best_end)] if best_end else []
    for start, end in missing:
        calls += [(at, at + 1) for at in range(max(start, best_end), end)]
    return calls
