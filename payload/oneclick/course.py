"""What the window shows of the status: one line per step, one progress line, the cause of an end."""

from __future__ import annotations

from oneclick.console import Console
from oneclick.messages import say
from oneclick.sizes import in_words
from oneclick.status import Snapshot, Status

PROGRESS_PHASES = ("verifying", "loading", "downloading")


class Course:
    """Prints what changes in a ``Status``; ``look`` is called a few times a second by the main thread."""

    def __init__(self, console: Console, status: Status) -> None:
        self._console = console
        self._status = status
        self._last = Snapshot()

    def look(self) -> Snapshot:
        """Print what is new since the last look and return the snapshot it was printed from."""
        snapshot = self._status.get()
        if snapshot.phase != self._last.phase:
            self._entered(snapshot)
        if snapshot.phase in PROGRESS_PHASES and snapshot.progress is not None:
            self._console.progress(self._progress_text(snapshot), snapshot.progress)
        self._last = snapshot
        return snapshot

    def _entered(self, snapshot: Snapshot) -> None:
        message = sentence(snapshot)
        if snapshot.phase == "restarting":
            self._console.bad(say("launcher.restarting", reason=message or ""))
        elif snapshot.phase == "failed":
            self._console.bad(say("launcher.failed", reason=message))
        elif snapshot.phase == "no_model" and self._last.phase in ("downloading", "verifying") and message:
            self._console.bad(message)

    def _progress_text(self, snapshot: Snapshot) -> str:
        if snapshot.phase == "downloading":
            return say("launcher.downloading", **_download_figures(snapshot))
        return say(f"launcher.{snapshot.phase}")


def sentence(snapshot: Snapshot) -> str | None:
    """Return the sentence of a snapshot in the language of this run, None where the phase speaks for itself."""
    return say(snapshot.message_key, **snapshot.message_values) if snapshot.message_key else None


def _download_figures(snapshot: Snapshot) -> dict[str, str]:
    details = snapshot.details
    return {
        "done": in_words(int(details.get("done_bytes") or 0)),
        "total": in_words(int(details.get("total_bytes") or 0)),
        "rate": f"{(details.get('rate_bytes_s') or 0) / 1e6:.1f} MB/s",
        "source": str(details.get("source") or ""),
    }
