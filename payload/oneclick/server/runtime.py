"""The model behind the HTTP server: worker process, queue, limits and figures.

For the launcher (any thread):

    runtime = Runtime(ServerConfig(...), status)
    runtime.start_model(path, engine_folder, dll_folders)   # returns at once; phases appear in ``status``
    runtime.downloads = ...                                  # object with start(model_id) and pause(), optional
    run_server(create_app(runtime), sockets, stop, runtime)  # serve.py; blocks until ``stop`` is set
    runtime.close()                                          # run_server does it too

``start_model`` may be called again with another file: the old worker is stopped first. Status phases it sets: loading
(with progress), ready, restarting, failed; everything before a model exists is the launcher's to set.

For request handlers (the event loop's thread):

    async with runtime.submit(ids, max_new, sampling) as job:
        event = await job.next_event(timeout_s)          # up to and including Done or Failed

One job runs at a time, first come first served; leaving the ``with`` cancels what still runs.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import (
    Any,
    Callable,
    Mapping,
    Protocol,
    Sequence,
    Union,
)

from oneclick.engine.child import Spawned, WorkerProcess
from oneclick.engine.exit_codes import explain
from oneclick.engine.frames import Message
from oneclick.messages import both
from oneclick.model.check import read_tokenizer
from oneclick.model.header import ModelHeader, read_header
from oneclick.server.api_errors import ApiError, broken, unavailable
from oneclick.server.chat.prompt import Answers, Limits
from oneclick.server.chat.tokenizer import ChatTokenizer
from oneclick.server.metrics import Metrics
from oneclick.status import Status

log = logging.getLogger("oneclick.server")

PROVEN_CONTEXT = 8192
"""Longest context of a build that evaluates prompts in chunks: a chunk's scratch memory at the end of 8192 tokens is
measured, beyond it is not."""
CRASH_WINDOW_S = 60.0
CRASH_LIMIT = 3
"""So many crashes within CRASH_WINDOW_S and the worker is not started again."""
CANCEL_PATIENCE_S = 3.0
"""How long the next in the queue waits for a cancelled request that sits in one long native call."""


@dataclass(frozen=True)
class ServerConfig:
    """What the user may set about the server."""

    context: int = 0
    """Prompt and answer together, in tokens; 0: what the engine is proven for."""
    threads: int = 0
    """0: the engine chooses."""
    default_answer: int = 2048
    """Answer tokens of a request that does not say how many (upstream's default)."""
    queue_limit: int = 64
    """Requests that may wait besides the running one."""
    api_key: str = ""
    """Empty: none is asked for."""
    allow_origins: tuple[str, ...] = ()
    """Origins of web pages that may use the server, besides local ones."""
    allow_hosts: tuple[str, ...] = ()
    """Names in the Host header besides the loopback ones; needed with an API key beyond loopback."""
    keep_alive_s: float = 15.0
    """Silence after which a sign of life is sent."""
    model_name: str = "chatglm3-6b"
    version: str = ""
    """Of the bundle, shown in /status."""
    preload: bool = True


class Downloads(Protocol):
    """What POST /oneclick/download drives; both return at once, progress appears in the status."""

    def start(self, model_id: str) -> None: ...

    def pause(self) -> None: ...


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


@dataclass(frozen=True)
class Failed:
    """The job ended badly."""

    error: ApiError


Event = Union[Queued, PromptProgress, Token, Done, Failed]


@dataclass(eq=False)
class Job:
    """One generation, from the queue to its last token."""

    runtime: Runtime
    number: int
    message: Message
    request_id: str
    created: float = field(default_factory=time.monotonic)
    started: float = 0.0
    cancelled_at: float = 0.0
    ended: bool = False
    inbox: deque[Event] = field(default_factory=deque)
    waiter: asyncio.Future[None] | None = None
    """Whoever waits for the next event; at most one."""

    async def __aenter__(self) -> Job:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.runtime.cancel(self)

    def put(self, event: Event) -> None:
        self.ended = self.ended or isinstance(event, (Done, Failed))
        self.inbox.append(event)
        self._wake()

    def _wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def next_event(self, timeout_s: float) -> Event | None:
        """Return the next event, None after ``timeout_s`` without one.

        A bare future, as ``asyncio.wait_for`` would make a task for every token.
        """
        if not self.inbox:
            loop = asyncio.get_running_loop()
            waiter = self.waiter = loop.create_future()
            timer = loop.call_later(timeout_s, self._wake)
            try:
                await waiter
            finally:
                timer.cancel()
        return self.inbox.popleft() if self.inbox else None


@dataclass(frozen=True)
class ModelFiles:
    """What a worker is started with."""

    path: Path
    engine_folder: str
    dll_folders: tuple[str, ...]
    level: str


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


class Runtime:
    """See the module's text."""

    def __init__(self, config: ServerConfig, status: Status, spawned: Spawned | None = None) -> None:
        """``spawned``: a worker started ahead of time, for the first model; ours to end from now on."""
        self._spawned = spawned
        self.config = config
        self.status = status
        self.token = secrets.token_urlsafe(24)
        """Per-run secret that the page gets and sends back in X-OneClick-Token."""
        self.metrics = Metrics()
        self.answers = Answers()
        self.downloads: Downloads | None = None
        self.port = 0
        self.header: ModelHeader | None = None
        self.tokenizer: ChatTokenizer | None = None
        self.engine: EngineFacts | None = None
        self.model_created = int(time.time())
        self.model_size = 0
        """Bytes."""
        self.closing = False
        self.helpers = ThreadPoolExecutor(2, "helper")
        """Encodes long texts beside the event loop."""
        self._lock = threading.RLock()
        self._files: ModelFiles | None = None
        self._worker: WorkerProcess | None = None
        self._crashes: deque[float] = deque()
        self._restart: threading.Timer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queue: deque[Job] = deque()
        self._current: Job | None = None
        self._next_number = 1

    # -- the launcher's side: any thread ------------------------------------------------------------------

    def start_model(
        self,
        path: Path,
        engine_folder: str | Path = "",
        dll_folders: Sequence[str | Path] = (),
        level: str = "",
    ) -> None:
        """Load the model file ``path`` in a new worker; OneClickError ``model.…`` when it is no usable model.

        ``engine_folder`` holds the package chatglm_cpp (empty: wherever Python finds it); ``dll_folders`` hold
        libraries it needs; ``level`` is the name of its CPU level, shown in /status.
        """
        path = Path(path).resolve()
        header = read_header(path)
        tokenizer = ChatTokenizer(read_tokenizer(path), header.eos_token_id)
        with self._lock:
            self._stop_worker()
            self._crashes.clear()
            self.header, self.tokenizer = header, tokenizer
            self.answers = Answers()
            folders = tuple(str(Path(folder).resolve()) for folder in dll_folders)
            engine = str(Path(engine_folder).resolve()) if engine_folder else ""
            self._files = ModelFiles(path, engine, folders, level)
            about = path.stat()
            self.model_created, self.model_size = int(about.st_mtime), about.st_size
            self.status.set("loading", 0.0)
            self._spawn()

    def close(self) -> None:
        """Stop the worker for good; safe to call twice."""
        with self._lock:
            self.closing = True
            self._stop_worker()
            spawned, self._spawned = self._spawned, None
            if spawned is not None:
                spawned.discard()
        self.helpers.shutdown(wait=False)

    @property
    def worker_pid(self) -> int | None:
        """Process id of the worker, None when there is none."""
        worker = self._worker
        return worker.pid if worker is not None else None

    @property
    def display_name(self) -> str:
        """The model's name for people."""
        return f"ChatGLM3-6B ({self.header.dtype})" if self.header is not None else "ChatGLM3-6B"

    @property
    def fingerprint(self) -> str:
        """What answers, whatever model a request named (OpenAI's ``system_fingerprint``)."""
        return f"{self.config.model_name}-{self.header.dtype}" if self.header is not None else self.config.model_name

    @property
    def limits(self) -> Limits:
        """Sizes a request must keep to; before the engine is ready what is certain to fit."""
        header, engine = self.header, self.engine
        trained = header.sequence_length if header is not None else 2048
        longest = min(engine.max_length, trained) if engine is not None else trained
        # An engine of 4.x evaluates any prompt in one call; ours in chunks; 0.3.x as released only up to a fixed size.
        free = engine is None or engine.chunked or engine.single_call_tokens >= engine.max_length
        context = min(longest, self.config.context or PROVEN_CONTEXT)
        prompt = context if free or engine is None else min(context, engine.single_call_tokens)
        return Limits(context, prompt, self.config.default_answer)

    # -- requests: the event loop's thread -----------------------------------------------------------------

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Deliver events to jobs through ``loop`` from now on."""
        self._loop = loop

    def ready_tokenizer(self) -> ChatTokenizer:
        """Return the tokenizer; ApiError 503 while there is no model that could answer soon."""
        snapshot = self.status.get()
        if self.closing:
            raise unavailable("server.closing", "shutting_down")
        if snapshot.phase == "failed":
            chinese, english = both(snapshot.message_key, **snapshot.message_values)
            raise ApiError(
                503, "server.failed", code="model_failed", kind="unavailable_error", chinese=chinese, english=english
            )
        if self.tokenizer is None or snapshot.phase not in ("loading", "ready", "restarting"):
            raise unavailable("server.not_ready", "loading_model", phase=snapshot.phase)
        return self.tokenizer

    def submit(
        self, ids: list[int], max_new: int, sampling: Mapping[str, Any], request_id: str, keep: bool = True
    ) -> Job:
        """Put a generation into the queue; ApiError 503 when the queue is full.

        A model that is still loading is no reason to refuse: the job waits, and its client hears so.
        """
        tokenizer = self.ready_tokenizer()
        if len(self._queue) >= self.config.queue_limit:
            self.metrics.refused += 1
            error = unavailable("server.queue_full", "queue_full", limit=self.config.queue_limit)
            error.retry_after(self.metrics.mean_request_s)
            raise error
        message = {
            "op": "generate",
            "id": self._next_number,
            "ids": ids,
            "max_new": max_new,
            "stop_tokens": sorted(tokenizer.stop_tokens),
            "sampling": dict(sampling),
            "keep": keep,
        }
        job = Job(self, self._next_number, message, request_id)
        self._next_number += 1
        self._queue.append(job)
        self._pump()
        return job

    def stop_early(self, job: Job) -> None:
        """The running ``job`` has said enough; its Done comes after the current token."""
        worker = self._worker
        if job is self._current and worker is not None:
            worker.send({"op": "cancel", "id": job.number})

    def cancel(self, job: Job) -> None:
        """Take ``job`` out of the queue, or stop it after the current token; nothing when it has ended."""
        if job in self._queue:
            self._queue.remove(job)
            self.metrics.cancelled += 1
            self._tell_positions()
        elif job is self._current and not job.cancelled_at:
            job.cancelled_at = time.monotonic()
            self.metrics.cancelled += 1
            worker = self._worker
            if worker is not None:
                worker.send({"op": "cancel", "id": job.number})
            if self._queue:
                self._hurry()

    def queue_length(self) -> int:
        """Return how many requests wait, without the running one."""
        return len(self._queue)

    @property
    def busy(self) -> bool:
        return self._current is not None

    def fail_all(self, error: ApiError) -> None:
        """End the running and all waiting jobs with ``error``."""
        jobs = [job for job in (self._current, *self._queue) if job is not None and not job.ended]
        self._current = None
        self._queue.clear()
        for job in jobs:
            job.put(Failed(error))

    def _pump(self) -> None:
        """Start the next job if the worker is free."""
        if self._current is None and self._queue and self.status.get().phase == "ready":
            worker = self._worker
            if worker is not None:
                job = self._current = self._queue.popleft()
                job.started = time.monotonic()
                worker.send(job.message)
        elif self._current is not None and self._current.cancelled_at:
            self._hurry()
        self._tell_positions()

    def _tell_positions(self) -> None:
        for index, job in enumerate(self._queue):
            job.put(Queued(index + 1))

    def _hurry(self) -> None:
        """When others wait for a cancelled job in a native call that may last minutes, start the worker anew.

        Only for engines that evaluate a prompt in one call; in chunks the wait is short and the cache worth keeping.
        """
        job, engine, loop = self._current, self.engine, self._loop
        if job is None or loop is None or engine is None or engine.chunked:
            return
        patience_s = max(CANCEL_PATIENCE_S, 2 * engine.load_s)

        def look() -> None:
            if self._current is job and self._queue and self._worker is not None:
                log.info("request %s: cancelled but still computing, worker restarted", job.request_id)
                self._crashes.clear()
                self._worker.kill()

        loop.call_later(max(0.0, job.cancelled_at + patience_s - time.monotonic()), look)

    # -- the worker's side -----------------------------------------------------------------------------------

    def _spawn(self) -> None:
        files = self._files
        if files is None or self.closing:
            return
        spawned, self._spawned = self._spawned, None
        worker = self._worker = WorkerProcess(self._on_event, self._on_exit, spawned)
        worker.send(
            {
                "op": "load",
                "model": str(files.path),
                "engine": files.engine_folder,
                "dll_folders": list(files.dll_folders),
                "threads": self.config.threads,
                "preload": self.config.preload,
            }
        )

    def _stop_worker(self) -> None:
        if self._restart is not None:
            self._restart.cancel()
            self._restart = None
        worker, self._worker = self._worker, None
        self.engine = None
        if worker is not None:
            worker.stop()
            chinese, english = both("server.closing" if self.closing else "server.model_changed")
            self._post(self._dispatch, {"event": "died", "chinese": chinese, "english": english})

    def _post(self, handle: Callable[[Any], None], what: Any) -> None:
        """Call ``handle(what)`` in the event loop; without a loop nobody waits for anything."""
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        try:
            loop.call_soon_threadsafe(handle, what)
        except RuntimeError:
            log.debug("the event loop is closed")

    def _on_event(self, worker: WorkerProcess, message: Message) -> None:
        """In the worker's reading thread."""
        if worker is not self._worker:
            return
        event = message["event"]
        if event == "loading":
            if self.status.get().phase in ("loading", "restarting"):
                # The last part of "loading" is the engine itself, after the file was read.
                self.status.set(self.status.get().phase, 0.95 * message["progress"])
        elif event == "load_failed":
            self.status.fail(message["key"], **message["values"])
            log.error("model not loaded: %s", both(message["key"], **message["values"])[1])
            self._post(self.fail_all, self._failed_error())
        elif event == "ready":
            self.engine = EngineFacts(
                message["version"],
                tuple(message["features"]),
                message["max_length"],
                message["chunked"],
                message["single_call_tokens"],
                message["load_s"],
                worker.pid,
            )
            log.info("model ready after %.1f s, worker %d, engine %s", message["load_s"], worker.pid, self.engine)
            self.status.set("ready")
            self._post(self._dispatch, {"event": "pump"})
        else:
            self._post(self._dispatch, message)

    def _failed_error(self) -> ApiError:
        snapshot = self.status.get()
        chinese, english = both(snapshot.message_key, **snapshot.message_values)
        return ApiError(
            503, "server.failed", code="model_failed", kind="unavailable_error", chinese=chinese, english=english
        )

    def _on_exit(self, worker: WorkerProcess, code: int) -> None:
        """In the worker's reading thread, after its last event."""
        if worker is not self._worker:
            return  # stopped by us; whoever did so may hold the lock and wait for this thread
        with self._lock:
            if worker is not self._worker or self.closing:
                return
            self._worker = None
            self.engine = None
            if self.status.get().phase == "failed":
                return  # it said why itself
            now = time.monotonic()
            self._crashes.append(now)
            while self._crashes and now - self._crashes[0] > CRASH_WINDOW_S:
                self._crashes.popleft()
            key, shown = explain(code)
            log.error("worker ended: %s (%s)\n%s", shown, both(key, code=shown)[1], "\n".join(worker.last_words))
            self.metrics.worker_exits += 1
            if len(self._crashes) >= CRASH_LIMIT:
                self.status.fail(key, code=shown)
                self._post(self.fail_all, self._failed_error())
                return
            self.status.tell("restarting", key, code=shown)
            delay_s = 0.2 * 4 ** (len(self._crashes) - 1)
            self._restart = threading.Timer(delay_s, self._spawn_again)
            self._restart.daemon = True
            self._restart.start()
        chinese, english = both(key, code=shown)
        self._post(self._dispatch, {"event": "died", "chinese": chinese, "english": english})

    def _spawn_again(self) -> None:
        with self._lock:
            if self._worker is None and not self.closing:
                try:
                    self._spawn()
                except OSError as error:
                    # An antivirus program may refuse what it allowed a minute ago.
                    log.exception("the worker cannot be started")
                    self.status.fail("launcher.engine_blocked", reason=error.strerror or str(error))
                    self._post(self.fail_all, self._failed_error())

    def _dispatch(self, message: Message) -> None:
        """In the event loop: hand the worker's message to the job it belongs to."""
        event = message["event"]
        job = self._current
        if event == "pump":
            self._pump()
            return
        if event == "died":
            self._current = None
            if job is not None and not job.ended:
                values = {"chinese": message["chinese"], "english": message["english"]}
                job.put(Failed(unavailable("server.worker_died", "worker_died", **values)))
            return
        if job is None or message.get("id") != job.number:
            return
        if event == "prompt":
            job.put(PromptProgress(message["done"], message["total"], message["cached"], message["left_s"]))
        elif event == "token":
            job.put(Token(message["token"]))
        elif event == "done":
            self._current = None
            self._finish(job, message)
            self._pump()

    def _finish(self, job: Job, message: Message) -> None:
        if message["reason"] == "error":
            log.error("request %s: the engine refused: %s", job.request_id, message["error"])
            self.metrics.failed += 1
            job.put(Failed(broken("server.engine_error", "engine_error", reason=message["error"])))
            return
        done = Done(**{name: message[name] for name in Done.__dataclass_fields__})
        self.metrics.count(done, queue_s=job.started - job.created)
        log.info(
            "request %s: %s, queue %.2f s, prompt %d (%d kept) in %.2f s, answer %d in %.2f s",
            job.request_id,
            done.reason,
            job.started - job.created,
            done.prompt_tokens,
            done.cached_tokens,
            done.prompt_s,
            done.generated_tokens,
            done.generation_s,
        )
        job.put(done)

    def figures(self) -> dict[str, Any]:
        """Return what /status shows beyond the phase."""
        header, engine, files, limits = self.header, self.engine, self._files, self.limits
        return {
            "model": {
                "id": self.config.model_name,
                "name": self.display_name,
                "file": files.path.name,
                "type": header.dtype,
                "architecture": header.architecture,
            }
            if header is not None and files is not None
            else None,
            "engine": {
                "version": engine.version,
                "features": list(engine.features),
                "level": files.level,
                "chunked": engine.chunked,
                "load_s": round(engine.load_s, 2),
            }
            if engine is not None and files is not None
            else None,
            "context": {"total": limits.context, "prompt": limits.prompt, "default_answer": limits.default_answer},
            "worker": {"pid": self.worker_pid, "exits": self.metrics.worker_exits},
            "queue": {"running": int(self.busy), "waiting": self.queue_length(), "limit": self.config.queue_limit},
        }
