"""The model behind the HTTP server: what may be asked of it, who asks, and how it is.

For the launcher (any thread):

    runtime = Runtime(ServerConfig(...), status, ...)
    runtime.start_model(path, engine_folder, dll_folders)   # returns at once; phases appear in ``status``
    run_server(create_app(runtime), sockets, stop, runtime)  # http.serve; blocks until ``stop`` is set
    runtime.close()                                          # run_server does it too

``start_model`` may be called again with another file: the old worker is stopped first. Status phases it sets: loading
(with progress), ready, restarting, failed; everything before a model exists is the launcher's to set.

For request handlers (the event loop's thread):

    async with runtime.submit(ids, max_new, sampling, request_id) as job:
        event = await job.next_event(timeout_s)          # up to and including Done or Failed
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Protocol, Sequence

from oneclick.engine.child import Spawned
from oneclick.engine.sampling import Sampling
from oneclick.model.check import read_tokenizer
from oneclick.model.header import ModelHeader, read_header
from oneclick.server.api_errors import ApiError, unavailable
from oneclick.server.chat.prompt import Answers, Limits
from oneclick.server.chat.tokenizer import ChatTokenizer
from oneclick.server.events import WorkerEvent
from oneclick.server.metrics import Metrics
from oneclick.server.queue import Job, JobQueue
from oneclick.server.supervisor import EngineFacts, ModelFiles, Supervisor, failed
from oneclick.status import Status

log = logging.getLogger("oneclick.server")

PROVEN_CONTEXT = 8192
"""Longest context of a build that evaluates prompts in chunks: a chunk's scratch memory at the end of 8192 tokens is
measured, beyond it is not."""

MOST_REFUSALS = 20
"""Of different origins in one run: a page that tries many must not fill the window."""


@dataclass(frozen=True)
class ServerConfig:
    """What the user may set about the server."""

    context: int = 0
    """Prompt and answer together, in tokens, unless a start says otherwise; 0: what the engine is proven for."""
    threads: int = 0
    """Likewise; 0: the engine chooses."""
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


class Runtime:
    """See the module's text."""

    def __init__(
        self,
        config: ServerConfig,
        status: Status,
        spawned: Spawned | None = None,
        *,
        token: str = "",
        downloads: Downloads | None = None,
    ) -> None:
        """``spawned``: a worker started ahead of time, for the first model; ours to end from now on.

        ``token``: the per-run secret that the page gets and sends back in X-OneClick-Token; made here when it is empty.
        """
        self.config = config
        self.status = status
        self.token = token or secrets.token_urlsafe(24)
        self.downloads = downloads
        self.metrics = Metrics()
        self.answers = Answers()
        self.port = 0
        """Where it is served; the server knows."""
        self.header: ModelHeader | None = None
        self.tokenizer: ChatTokenizer | None = None
        self.model_created = int(time.time())
        self.model_size = 0
        """Bytes."""
        self.refusals: deque[str] = deque(maxlen=MOST_REFUSALS)
        """Sentences about programs and pages that were turned away, for the window; taken from the left."""
        self._refused: set[str] = set()
        self.closing = False
        self.helpers = ThreadPoolExecutor(2, "helper")
        """Encodes long texts beside the event loop."""
        self._context = config.context
        self._files: ModelFiles | None = None
        self._supervisor = Supervisor(status, self, self.metrics, spawned)
        self.queue = JobQueue(config.queue_limit, self.metrics, self._supervisor.send, self._supervisor.give_up)

    # -- the launcher's side: any thread ------------------------------------------------------------------

    def start_model(
        self,
        path: Path,
        engine_folder: str | Path = "",
        dll_folders: Sequence[str | Path] = (),
        level: str = "",
        *,
        threads: int | None = None,
        context: int | None = None,
    ) -> None:
        """Load the model file ``path`` in a new worker; OneClickError ``model.…`` when it is no usable model.

        ``level`` is the name of the engine's CPU level; ``threads`` and ``context`` replace those of the config.
        Raises OSError where the system refuses to start the worker.
        """
        path = Path(path).resolve()
        header = read_header(path)
        tokenizer = ChatTokenizer(read_tokenizer(path), header.eos_token_id)
        about = path.stat()
        files = ModelFiles(
            path,
            str(Path(engine_folder).resolve()) if engine_folder else "",
            tuple(str(Path(folder).resolve()) for folder in dll_folders),
            level,
            self.config.threads if threads is None else threads,
            self.config.preload,
        )
        self._context = self.config.context if context is None else context
        self.header, self.tokenizer, self.answers, self._files = header, tokenizer, Answers(), files
        self.model_created, self.model_size = int(about.st_mtime), about.st_size
        self._supervisor.start(files)

    def close(self) -> None:
        """Stop the worker for good; safe to call twice."""
        self.closing = True
        self._supervisor.close()
        self.helpers.shutdown(wait=False)

    @property
    def engine(self) -> EngineFacts | None:
        """What the worker said of its engine; None while none is ready."""
        return self._supervisor.engine

    @property
    def worker_pid(self) -> int | None:
        """Process id of the worker, None when there is none."""
        return self._supervisor.pid

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
        context = min(longest, self._context or PROVEN_CONTEXT)
        prompt = context if free or engine is None else min(context, engine.single_call_tokens)
        return Limits(context, prompt, self.config.default_answer)

    # -- requests: the event loop's thread -----------------------------------------------------------------

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Deliver events to jobs through ``loop`` from now on."""
        self.queue.attach(loop)

    def ready_tokenizer(self) -> ChatTokenizer:
        """Return the tokenizer; ApiError 503 while there is no model that could answer soon."""
        snapshot = self.status.get()
        if self.closing:
            raise unavailable("server.closing", "shutting_down")
        if snapshot.phase == "failed":
            raise failed(self.status)
        if self.tokenizer is None or snapshot.phase not in ("loading", "ready", "restarting"):
            raise unavailable("server.not_ready", "loading_model", phase=snapshot.phase)
        return self.tokenizer

    def note_refusal(self, who: str, sentence: str) -> None:
        """Have the window say once that ``who`` was turned away: a browser hides our answer from its page."""
        if who not in self._refused and len(self._refused) < MOST_REFUSALS:
            self._refused.add(who)
            self.refusals.append(sentence)

    def submit(self, ids: list[int], max_new: int, sampling: Sampling, request_id: str, keep: bool = True) -> Job:
        """Put a generation into the queue; ApiError 503 when the queue is full.

        A model that is still loading is no reason to refuse: the job waits, and its client hears so.
        """
        stop_tokens = sorted(self.ready_tokenizer().stop_tokens)
        frame = {"ids": ids, "max_new": max_new, "stop_tokens": stop_tokens, "sampling": asdict(sampling), "keep": keep}
        return self.queue.submit(frame, request_id)

    # -- the worker's side: the thread that reads it ---------------------------------------------------------

    def worker_ready(self) -> None:
        engine = self._supervisor.engine
        self.queue.restart_s = engine.load_s if engine is not None and not engine.chunked else None
        self._post(self.queue.pump)

    def worker_said(self, number: int, event: WorkerEvent) -> None:
        self._post(self.queue.take, number, event)

    def worker_ended(self, error: ApiError) -> None:
        self._post(self.queue.worker_ended, error)

    def worker_given_up(self, error: ApiError) -> None:
        self._post(self.queue.fail_all, error)

    def _post(self, handle: Callable[..., None], *arguments: Any) -> None:
        """Call ``handle`` in the event loop; without a loop nobody waits for anything."""
        loop = self.queue.loop
        if loop is None or loop.is_closed():
            return
        try:
            loop.call_soon_threadsafe(handle, *arguments)
        except RuntimeError:
            log.debug("the event loop is closed")

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
            "queue": {"running": int(self.queue.busy), "waiting": len(self.queue), "limit": self.config.queue_limit},
        }
