"""Talks to a worker process directly, without HTTP."""

from __future__ import annotations

import queue
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from oneclick.engine.child import WorkerProcess

TIMEOUT_S = 120.0


@dataclass
class Generated:
    """What one generation gave."""

    tokens: list[int]
    done: dict[str, Any]
    prompts: list[dict[str, Any]] = field(default_factory=list)
    """Its ``prompt`` events."""

    @property
    def evaluated(self) -> int:
        """Prompt tokens that were not kept."""
        kept: int = self.done["cached_tokens"]
        total: int = self.done["prompt_tokens"]
        return total - kept


class WorkerClient:
    """One worker with one model; ends with the ``with`` block.

    One thread: ggml's threads wait for each other by spinning, which takes seconds on a busy machine.
    """

    def __init__(self, model: Path, engine: Path, threads: int = 1) -> None:
        self.events: queue.Queue[dict[str, Any]] = queue.Queue()
        self.exit_codes: queue.Queue[int] = queue.Queue()
        self.worker = WorkerProcess(lambda _, event: self.events.put(event), lambda _, code: self.exit_codes.put(code))
        self._number = 0
        self.worker.send(
            {
                "op": "load",
                "model": str(model),
                "engine": str(engine),
                "dll_folders": [],
                "threads": threads,
                "preload": False,
            }
        )
        self.ready = self.next_event()

    def __enter__(self) -> WorkerClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.worker.stop()

    def next_event(self) -> dict[str, Any]:
        return self.events.get(timeout=TIMEOUT_S)

    def start(self, ids: Sequence[int], max_new: int = 12, *, keep: bool = True, **sampling: Any) -> int:
        """Begin a greedy generation and return its number."""
        self._number += 1
        self.worker.send(
            {
                "op": "generate",
                "id": self._number,
                "ids": list(ids),
                "max_new": max_new,
                "stop_tokens": [2],
                "sampling": {"greedy": True, **sampling},
                "keep": keep,
            }
        )
        return self._number

    def collect(self, number: int) -> Generated:
        """Wait for the end of generation ``number``."""
        *events, done = self.collect_events(number)
        tokens = [event["token"] for event in events if event["event"] == "token"]
        return Generated(tokens, done, [event for event in events if event["event"] == "prompt"])

    def collect_events(self, number: int) -> list[dict[str, Any]]:
        """Wait for the end of generation ``number``; return everything that was said of it."""
        events: list[dict[str, Any]] = []
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            event = self.next_event()
            if event["id"] != number:
                continue
            events.append(event)
            if event["event"] == "done":
                return events
        raise TimeoutError

    def generate(self, ids: Sequence[int], max_new: int = 12, *, keep: bool = True, **sampling: Any) -> Generated:
        return self.collect(self.start(ids, max_new, keep=keep, **sampling))
