"""How long a conversation this PC's memory can hold, decided before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass

from oneclick.errors import OneClickError
from oneclick.model.header import ModelHeader, memory_need
from oneclick.pc.findings import OK, WARNING, Finding
from oneclick.pc.machine import Memory
from oneclick.sizes import in_words

CONTEXTS = (8192, 4096, 2048, 1024)
"""Offered when nothing is asked for, largest first; 8192 is what the engine is proven for."""
SYSTEM_BYTES = 1 << 30
"""Left to Windows and the browser: less, and everything is swapped."""


@dataclass(frozen=True)
class MemoryPlan:
    """The context to run with, and what the user should know about it."""

    context: int
    finding: Finding


def plan_memory(header: ModelHeader, memory: Memory, wanted_context: int = 0) -> MemoryPlan:
    """Return the longest context, up to the wanted one, that fits into this PC's memory.

    Three limits: weights, keys and values and working memory must fit into physical memory beside Windows, or every
    token is read from the disk; they should fit into what is available now, or other programs are swapped out; and
    what the engine reserves must fit under the commit limit, or it cannot start. The page file usually grows by
    itself, so the last is a warning. Raises OneClickError when even the shortest context is too much.
    """
    most = min(wanted_context or CONTEXTS[0], header.sequence_length)
    shorter = [context for context in CONTEXTS if context < most]
    for context in (most, *shorter):
        need = memory_need(header, context)
        if need.total_bytes + SYSTEM_BYTES <= memory.total_bytes:
            return MemoryPlan(context, _finding(header, memory, context, wanted=most))
    least = (most, *shorter)[-1]
    need_bytes = memory_need(header, least).total_bytes
    if need_bytes > memory.total_bytes:
        raise OneClickError("machine.memory_too_small", need=in_words(need_bytes), total=in_words(memory.total_bytes))
    values = {"need": in_words(need_bytes), "total": in_words(memory.total_bytes), "context": least}
    return MemoryPlan(least, Finding(WARNING, "machine.memory_tight", values))


def _finding(header: ModelHeader, memory: Memory, context: int, *, wanted: int) -> Finding:
    need = memory_need(header, context)
    values = {
        "need": in_words(need.total_bytes),
        "available": in_words(memory.available_bytes),
        "context": context,
        "wanted": wanted,
        "reserved": in_words(need.reserved_bytes),
        "commit": in_words(memory.commit_available_bytes),
    }
    if need.reserved_bytes > memory.commit_available_bytes:
        return Finding(WARNING, "machine.commit_low", values)
    if context < wanted:
        return Finding(WARNING, "machine.context_reduced", values)
    if need.total_bytes > memory.available_bytes:
        return Finding(WARNING, "machine.memory_low", values)
    return Finding(OK, "machine.memory_ok", values)
