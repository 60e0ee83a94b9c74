"""The worker process through its life: started with a model, listened to, started anew when it dies, given up in words.

What it says is turned into events here; whoever wants them is called in the thread that reads the worker.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Protocol

from oneclick.engine.child import Spawned, WorkerProcess
from oneclick.engine.exit_codes import explain
from oneclick.engine.frames import Message
from oneclick.messages import both
from oneclick.server.api_errors import ApiError, unavailable
from oneclick.server.events import Done, PromptProgress, Refused, Token, WorkerEvent
from oneclick.server.metrics import Metrics
from oneclick.status import Status

log = logging.getLogger("oneclick.server")

CRASH_WINDOW_S = 60.0
CRASH_LIMIT = 3
"""So many crashes within CRASH_WINDOW_S and the worker is not started again."""
FIRST_DELAY_S, DELAY_FACTOR = 0.2, 4.0
"""How long the next start waits after a crash, and how many times longer after each further one."""


@dataclass(frozen=True)
class ModelFiles:
    """What a worker is started with."""

    path: Path
    engine_folder: str = ""
    """Holds the package chatglm_cpp; empty: wherever Python finds it."""
    dll_folders: tuple[str, ...] = ()
    level: str = ""
    """Name of its CPU level, shown in /status."""
    threads: int = 0
    """0: the engine chooses."""
    preload: bool = True


@dataclass(frozen=True)
class EngineFacts:
    """What a ready worker said about its engine."""

    version: str
    features: tuple[str, ...]
    max_length: int
    chunked: bool
    single_call_tokens: int
    load_s: float
    pid: int


class Listener(Protocol):
    """Who wants to know what becomes of the worker."""

    def worker_ready(self) -> None: ...

    def worker_said(self, number: int, event: WorkerEvent) -> None: ...

    def worker_ended(self, error: ApiError) -> None: ...

    def worker_given_up(self, error: ApiError) -> None: ...


class Crashes:
    """When a worker that died is started again, and when that is given up."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def clear(self) -> None:
        """Forget them: what comes next is not their continuation."""
        self._times.clear()

    def next_delay_s(self, now: float) -> float | None:
        """Count a crash at ``now``; return how long to wait before the next start, None for never."""
        self._times.append(now)
        while now - self._times[0] > CRASH_WINDOW_S:
            self._times.popleft()
        if len(self._times) >= CRASH_LIMIT:
            return None
        return FIRST_DELAY_S * DELAY_FACTOR ** (len(self._times) - 1)


class Supervisor:
    """Owns the worker process. ``start``, ``stop`` and ``give_up`` may be called from any thread."""

    def __init__(self, status: Status, listener: Listener, metrics: Metrics, spawned: Spawned | None = None) -> None:
        """``spawned``: a worker started ahead of time, for the first model; ours to end from now on."""
        self.engine: EngineFacts | None = None
        self._status = status
        self._listener = listener
        self._metrics = metrics
        self._spawned = spawned
        self._lock = threading.RLock()
        self._files: ModelFiles | None = None
        self._worker: WorkerProcess | None = None
        self._crashes = Crashes()
        self._restart: threading.Timer | None = None
        self._reason = ""
        """Key of the sentence for an end that we made ourselves."""

    @property
    def pid(self) -> int | None:
        """Process id of the worker, None when there is none."""
        worker = self._worker
        return worker.pid if worker is not None else None

    def start(self, files: ModelFiles) -> None:
        """Load ``files`` in a new worker; one that runs is stopped first. Raises OSError where the system refuses."""
        with self._lock:
            self.stop("server.model_changed")
            self._crashes.clear()
            self._files = files
            self._status.set("loading", 0.0)
            self._spawn(files)

    def stop(self, key: str) -> None:
        """Stop the worker, if there is one, and tell its job why: the sentence ``key``."""
        with self._lock:
            self._files = None
            if self._restart is not None:
                self._restart.cancel()
                self._restart = None
            worker, self._worker = self._worker, None
            self.engine = None
        if worker is not None:
            worker.stop()
            self._listener.worker_ended(_died(*both(key)))

    def close(self) -> None:
        """Stop for good; safe to call twice."""
        self.stop("server.closing")
        with self._lock:
            spawned, self._spawned = self._spawned, None
        if spawned is not None:
            spawned.discard()

    def send(self, message: Mapping[str, Any]) -> bool:
        """Send a frame to a ready worker; False where there is none."""
        worker = self._worker
        if worker is None or self._status.get().phase != "ready":
            return False
        worker.send(dict(message))
        return True

    def give_up(self, key: str) -> None:
        """End a worker that does not come back from a native call and start it anew; empty ``key``: as was planned."""
        worker = self._worker
        if worker is not None:
            self._reason = key
            if not key:
                self._crashes.clear()
            worker.kill()

    def _spawn(self, files: ModelFiles) -> None:
        spawned, self._spawned = self._spawned, None
        worker = self._worker = WorkerProcess(self._on_frame, self._on_exit, spawned)
        worker.send(
            {
                "op": "load",
                "model": str(files.path),
                "engine": files.engine_folder,
                "dll_folders": list(files.dll_folders),
                "threads": files.threads,
                "preload": files.preload,
            }
        )

    # -- in the thread that reads the worker ----------------------------------------------------------------

    def _on_frame(self, worker: WorkerProcess, frame: Message) -> None:
        if worker is not self._worker:
            return
        kind = frame["event"]
        if kind == "token":
            self._listener.worker_said(
                frame["id"], Token(frame["token"], frame.get("log_prob"), frame.get("likeliest", ()))
            )
        elif kind == "prompt":
            progress = PromptProgress(frame["done"], frame["total"], frame["cached"], frame["left_s"])
            self._listener.worker_said(frame["id"], progress)
        elif kind == "done":
            self._listener.worker_said(frame["id"], _end(frame))
        elif kind == "loading":
            if self._status.get().phase in ("loading", "restarting"):
                # The last part of "loading" is the engine itself, after the file was read.
                self._status.set(self._status.get().phase, 0.95 * frame["progress"])
        elif kind == "load_failed":
            self._status.fail(frame["key"], **frame["values"])
            log.error("model not loaded: %s", both(frame["key"], **frame["values"])[1])
            self._listener.worker_given_up(failed(self._status))
        elif kind == "ready":
            self.engine = EngineFacts(
                frame["version"],
                tuple(frame["features"]),
                frame["max_length"],
                frame["chunked"],
                frame["single_call_tokens"],
                frame["load_s"],
                worker.pid,
            )
            log.info("model ready after %.1f s, worker %d, engine %s", frame["load_s"], worker.pid, self.engine)
            self._status.set("ready")
            self._listener.worker_ready()

    def _on_exit(self, worker: WorkerProcess, code: int) -> None:
        """After the last frame."""
        if worker is not self._worker:
            return  # stopped by us; whoever did so may hold the lock and wait for this thread
        with self._lock:
            if worker is not self._worker:
                return
            self._worker = None
            self.engine = None
            if self._status.get().phase == "failed":
                return  # it said why itself
            key, shown = explain(code)
            key, self._reason = self._reason or key, ""
            log.error("worker ended: %s (%s)\n%s", shown, both(key, code=shown)[1], "\n".join(worker.last_words))
            self._metrics.worker_exits += 1
            delay_s = self._crashes.next_delay_s(time.monotonic())
            if delay_s is None:
                self._status.fail(key, code=shown)
                self._listener.worker_given_up(failed(self._status))
                return
            self._status.tell("restarting", key, code=shown)
            self._restart = threading.Timer(delay_s, self._spawn_again)
            self._restart.daemon = True
            self._restart.start()
        self._listener.worker_ended(_died(*both(key, code=shown)))

    def _spawn_again(self) -> None:
        with self._lock:
            files = self._files
            if self._worker is None and files is not None:
                try:
                    self._spawn(files)
                except OSError as error:
                    # An antivirus program may refuse what it allowed a minute ago.
                    log.exception("the worker cannot be started")
                    self._status.fail("launcher.engine_blocked", reason=error.strerror or str(error))
                    self._listener.worker_given_up(failed(self._status))


def _end(frame: Message) -> Done | Refused:
    if frame["reason"] == "error":
        return Refused(frame["error"])
    return Done(**{name: frame[name] for name in Done.__dataclass_fields__})


def _died(chinese: str, english: str) -> ApiError:
    return unavailable("server.worker_died", "worker_died", chinese=chinese, english=english)


def failed(status: Status) -> ApiError:
    """Return what clients are told once the model cannot be had: the sentence of ``status``."""
    snapshot = status.get()
    chinese, english = both(snapshot.message_key, **snapshot.message_values)
    return ApiError(
        503, "server.failed", code="model_failed", kind="unavailable_error", chinese=chinese, english=english
    )
