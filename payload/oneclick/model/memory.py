"""How long a conversation this PC's memory can hold, decided before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass

from oneclick.errors import OneClickError
from oneclick.model.header import ModelHeader
from oneclick.model.layout import expected_size
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
    itself, so what other programs took of that limit is a warning. Raises OneClickError when even the shortest context
    is too much, or when the engine reserves more than the whole limit: it depends on the model, not on the context.
    """
    reserved = memory_need(header).reserved_bytes
    if reserved > memory.commit_limit_bytes:
        limit = in_words(memory.commit_limit_bytes)
        raise OneClickError(
            "machine.commit_too_small", length=header.sequence_length, reserved=in_words(reserved), limit=limit
        )
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


@dataclass(frozen=True)
class MemoryNeed:
    """What running a model takes, in bytes."""

    weights_bytes: int
    """Mapped from the file: physical memory that counts for speed, but no commit charge."""
    kv_bytes: int
    """Keys and values of the context, 16 bit each."""
    work_bytes: int
    """Intermediate results that a prompt of the largest chunk touches, and the Python processes."""
    reserved_bytes: int
    """Allocated by the engine at start, touched or not: this is what Windows' commit limit must hold."""

    @property
    def total_bytes(self) -> int:
        """Physical memory for running without swapping."""
        return self.weights_bytes + self.kv_bytes + self.work_bytes


MIB = 1 << 20
ENGINE_FIXED_BYTES = (512 + 1280 + 1) * MIB
"""Compute buffer, scratch buffer and 1 MiB beside the KV cache: ``ChatGLM2ForCausalLM`` in chatglm.h 0.3.0."""
PROCESSES_BYTES = 160 * MIB
"""The worker's and the server's Python, measured with the tokenizer loaded, rounded up."""


def memory_need(header: ModelHeader, n_ctx: int | None = None, *, chunk: int = 256) -> MemoryNeed:
    """Return what this model takes with a context of ``n_ctx`` tokens (None: all of it).

    ``chunk``: most tokens evaluated at once. The engine reserves keys and values for the header's whole
    sequence length, but memory that was never written stays free; only ``n_ctx`` tokens are written.
    """
    context = min(n_ctx or header.sequence_length, header.sequence_length)
    qlen = min(chunk, context)
    kv_per_token = 2 * header.num_layers * header.kv_size * 2
    return MemoryNeed(
        weights_bytes=expected_size(header),
        kv_bytes=context * kv_per_token,
        work_bytes=_work_bytes(header, qlen, context) + PROCESSES_BYTES,
        reserved_bytes=header.sequence_length * kv_per_token + ENGINE_FIXED_BYTES + PROCESSES_BYTES,
    )


def _work_bytes(header: ModelHeader, qlen: int, context: int) -> int:
    """Return the 32-bit intermediate results of evaluating ``qlen`` tokens that end at ``context``.

    Per layer the engine's scratch buffer holds hidden states, the feed-forward's two halves and the
    attention scores, about one and a half times; with OpenBLAS the largest matrix is also unpacked to 32 bit.
    Measured without OpenBLAS on the full width, chunks of 512: 178 MB at 512 tokens, 326 MB at 2048; this
    gives 202 and 353 MB.
    """
    hidden_states = qlen * (8 * header.hidden_size + 3 * header.intermediate_size) * 4
    scores = header.num_heads * qlen * context * 4 * 3 // 2
    unpacked = header.hidden_size * header.intermediate_size * 4
    return min(hidden_states + scores, ENGINE_FIXED_BYTES) + unpacked
