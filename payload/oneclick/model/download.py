"""The download that the page's button starts and pauses: the engine in a thread, its course in the status."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

from oneclick.bundle_info import read_bundle_info
from oneclick.errors import OneClickError
from oneclick.folder import BundleFolder
from oneclick.hashing import DigestMemory
from oneclick.model.catalogue import find_model, remote_file
from oneclick.settings import read_settings
from oneclick.status import Snapshot, Status

logger = logging.getLogger(__name__)

PATIENCE_S = 600.0
"""How long a dead network is waited for before the download says so."""
OURS = ("no_model", "downloading")
"""Phases in which the status is free for a download to write into."""


class ModelDownload:
    """Downloads models of one bundle into its folder, one at a time."""

    def __init__(self, bundle_dir: Path, status: Status) -> None:
        self._folder = BundleFolder(bundle_dir)
        self._status = status
        self._lock = threading.Lock()
        self._cancel = threading.Event()
        self._thread: threading.Thread | None = None
        self._written: Snapshot | None = None

    @property
    def running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self, model_id: str = "") -> None:
        """Start or go on downloading ``model_id`` (empty: the default model); returns at once.

        Raises OneClickError for an unknown name. A download under way is left alone.
        """
        info = read_bundle_info(self._folder.bundle_json)
        model = find_model(info, model_id)
        file = remote_file(model, read_settings(self._folder.settings).mirrors)
        with self._lock:
            if self.running and not self._cancel.is_set():
                return
            previous, self._cancel = self._thread, threading.Event()
            self._thread = threading.Thread(
                target=self._run, args=(file, model.id, self._cancel, previous), name="model download", daemon=True
            )
            self._show("downloading", None, total_bytes=model.size_bytes, model=model.id, paused=False)
            self._thread.start()

    def pause(self) -> None:
        """Stop fetching; what has arrived stays. Returns at once."""
        self._cancel.set()

    def close(self, timeout_s: float = 3.0) -> None:
        """Pause and wait until the files are let go."""
        self.pause()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self, file: object, model_id: str, cancel: threading.Event, previous: threading.Thread | None) -> None:
        from oneclick.download import Cancelled, Event, Progress, RemoteFile, Tuning, download

        assert isinstance(file, RemoteFile)
        if previous is not None:
            previous.join()
        target = self._folder.root / file.name
        last: dict[str, Any] = {"total_bytes": file.size_bytes, "model": model_id}

        def show(progress: Progress) -> None:
            if self._superseded():
                cancel.set()
                return
            last.update(
                done_bytes=progress.done_bytes,
                rate_bytes_s=progress.rate_bytes_s,
                left_s=progress.left_s,
                source=progress.source,
            )
            phase = "verifying" if progress.phase == "checking" else "downloading"
            share = progress.done_bytes / progress.total_bytes if progress.total_bytes else None
            self._show(phase, share, paused=False, **last)

        def note(event: Event) -> None:
            logger.info("download: %s", event)

        try:
            result = download(
                file, target, progress=show, cancel=cancel, on_event=note, tuning=Tuning(patience_s=PATIENCE_S)
            )
        except Cancelled:
            if not self._superseded():
                done, total = last.get("done_bytes"), file.size_bytes
                share = done / total if isinstance(done, int) and total else None
                last.update(rate_bytes_s=0.0, left_s=None)
                self._show("downloading", share, paused=True, **last)
        except OneClickError as error:
            logger.error("download failed: %s", error.both()[1])
            self._fail(error)
        except Exception as error:
            logger.exception("download stopped by a bug")
            self._fail(OneClickError("launcher.unexpected", reason=f"{type(error).__name__}: {error}"))
        else:
            logger.info("downloaded %s from %s", file.name, result.source)
            DigestMemory(self._folder.logs / "digests.json").remember(target, file.sha256)
            self._show("verifying", 1.0)

    def _show(self, phase: str, share: float | None, **details: Any) -> None:
        self._status.set(phase, share, **details)
        self._written = self._status.get()

    def _fail(self, error: OneClickError) -> None:
        """Say what went wrong and leave the way open for another try or a dropped file."""
        if not self._superseded():
            self._status.tell("no_model", error.key, **error.values)

    def _superseded(self) -> bool:
        """Tell whether the program has found a model without us and gone on: its status is not ours to write."""
        now = self._status.get()
        return now is not self._written and now.phase not in OURS
