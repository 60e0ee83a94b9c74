"""What the program is doing right now: written by launcher, downloader and worker, read by /health and the page."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import Any, Mapping

PHASES = (
    "starting",  # the window is open, nothing checked yet
    "checking",  # the PC, the folder, the model's header and digest
    "no_model",  # no usable model file: waiting for a download or a dropped file
    "downloading",
    "verifying",  # digest of a downloaded or dropped model
    "loading",  # the worker reads the model
    "ready",
    "restarting",  # the worker died and is coming back
    "failed",  # needs the user; ``message`` says what to do
)


@dataclass(frozen=True)
class Snapshot:
    """One consistent view of the program's state."""

    phase: str = "starting"
    progress: float | None = None
    """0.0 to 1.0 of the current phase, None where it cannot be known."""
    message_key: str = ""
    """Sentence about the phase (an error when ``phase`` is ``failed``); empty: the phase speaks for itself."""
    message_values: Mapping[str, object] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    """Figures of the phase, JSON-able; downloading: done_bytes, total_bytes, rate_bytes_s, left_s, source, paused."""


class Status:
    """The one place where the current snapshot lives; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._snapshot = Snapshot()

    def get(self) -> Snapshot:
        with self._lock:
            return self._snapshot

    def set(self, phase: str, progress: float | None = None, message_key: str = "", **details: Any) -> None:
        """Enter ``phase`` (one of PHASES) or report more progress in it."""
        if phase not in PHASES:
            raise ValueError(phase)
        with self._lock:
            self._snapshot = Snapshot(phase, progress, message_key, {}, details)

    def tell(self, phase: str, message_key: str, **message_values: object) -> None:
        """Enter ``phase`` with a sentence about it."""
        if phase not in PHASES:
            raise ValueError(phase)
        with self._lock:
            self._snapshot = replace(Snapshot(phase), message_key=message_key, message_values=dict(message_values))

    def fail(self, message_key: str, **message_values: object) -> None:
        """Enter ``failed`` with the sentence that tells the user what to do."""
        self.tell("failed", message_key, **message_values)
