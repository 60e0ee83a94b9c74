"""Generations waiting for the one engine: first come, first served, each told its place, none left behind.

Everything here happens in the event loop's thread. Leaving the ``with`` of a job cancels what still runs of it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Callable, Mapping

from oneclick.server.api_errors import ApiError, broken, unavailable
from oneclick.server.events import Done, Event, Failed, PromptProgress, Queued, Refused, WorkerEvent
from oneclick.server.metrics import Metrics

log = logging.getLogger("oneclick.server")

CANCEL_PATIENCE_S = 3.0
"""How long the next in the queue waits for a cancelled request that sits in one long native call."""
LOOK_S = 5.0
"""How often the running job is looked at."""
SILENCE_S = 120.0
"""How long a worker may say nothing in any case: its slowest PC needs seconds for a token."""
SILENCE_FACTOR = 10.0
"""And so many times as long as it expected its next words to take."""


@dataclass(eq=False)
class Job:
    """One generation, from the queue to its last token."""

    queue: JobQueue
    number: int
    message: Mapping[str, Any]
    """The frame that starts it."""
    request_id: str
    created: float = field(default_factory=time.monotonic)
    started: float = 0.0
    cancelled_at: float = 0.0
    deadline: float = 0.0
    """When the worker must have said something of it."""
    ended: bool = False
    inbox: deque[Event] = field(default_factory=deque)
    waiter: asyncio.Future[None] | None = None
    """Whoever waits for the next event; at most one."""

    async def __aenter__(self) -> Job:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.queue.cancel(self)

    def put(self, event: Event) -> None:
        """Give ``event`` to whoever waits for it."""
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


class JobQueue:
    """The running job and those that wait."""

    def __init__(
        self, limit: int, metrics: Metrics, send: Callable[[Mapping[str, Any]], bool], give_up: Callable[[str], None]
    ) -> None:
        """``send`` gives a frame to a ready worker, False where there is none; ``give_up`` ends it, with the reason."""
        self._limit = limit
        self._metrics = metrics
        self._send = send
        self._give_up = give_up
        self._waiting: deque[Job] = deque()
        self._current: Job | None = None
        self._next_number = 1
        self._looked = 0.0
        self.loop: asyncio.AbstractEventLoop | None = None
        """Set once, by ``attach``."""
        self.restart_s: float | None = None
        """How long a new worker takes, where a cancelled job may have to be ended with it; None: it never has to."""

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Live in ``loop`` from now on."""
        self.loop = loop
        self._looked = loop.time()
        loop.call_later(LOOK_S, self._look)

    def __len__(self) -> int:
        """Return how many requests wait, without the running one."""
        return len(self._waiting)

    @property
    def busy(self) -> bool:
        return self._current is not None

    def submit(self, frame: Mapping[str, Any], request_id: str) -> Job:
        """Put a generation into the queue; ApiError 503 when it is full. ``frame`` lacks only op and id."""
        if len(self._waiting) >= self._limit:
            self._metrics.refused += 1
            error = unavailable("server.queue_full", "queue_full", limit=self._limit)
            error.retry_after(self._metrics.mean_request_s)
            raise error
        job = Job(self, self._next_number, {"op": "generate", "id": self._next_number, **frame}, request_id)
        self._next_number += 1
        self._waiting.append(job)
        self.pump()
        return job

    def stop_early(self, job: Job) -> None:
        """The running ``job`` has said enough; its Done comes after the current token."""
        if job is self._current:
            self._send({"op": "cancel", "id": job.number})

    def cancel(self, job: Job) -> None:
        """Take ``job`` out of the queue, or stop it after the current token; nothing when it has ended."""
        if job in self._waiting:
            self._waiting.remove(job)
            self._metrics.cancelled += 1
            self._tell_positions()
        elif job is self._current and not job.cancelled_at:
            job.cancelled_at = time.monotonic()
            self._metrics.cancelled += 1
            self._send({"op": "cancel", "id": job.number})
            if self._waiting:
                self._hurry()

    def fail_all(self, error: ApiError) -> None:
        """End the running and all waiting jobs with ``error``."""
        jobs = [job for job in (self._current, *self._waiting) if job is not None and not job.ended]
        self._current = None
        self._waiting.clear()
        for job in jobs:
            job.put(Failed(error))

    def pump(self) -> None:
        """Start the next job if the worker is free."""
        if self._current is None and self._waiting:
            job = self._waiting[0]
            if self._send(job.message):
                self._current = self._waiting.popleft()
                job.started = time.monotonic()
                self._expect(job, 0.0)
        elif self._current is not None and self._current.cancelled_at:
            self._hurry()
        self._tell_positions()

    def worker_ended(self, error: ApiError) -> None:
        """The worker that had the running job is gone."""
        job, self._current = self._current, None
        if job is not None and not job.ended:
            job.put(Failed(error))

    def take(self, number: int, event: WorkerEvent) -> None:
        """Hand the worker's ``event`` to the job ``number``, if that is still the running one."""
        job = self._current
        if job is None or number != job.number:
            return
        self._expect(job, event.left_s if isinstance(event, PromptProgress) else 0.0)
        if isinstance(event, (Done, Refused)):
            self._current = None
            self._finish(job, event)
            self.pump()
        else:
            job.put(event)

    def _tell_positions(self) -> None:
        for index, job in enumerate(self._waiting):
            job.put(Queued(index + 1))

    def _expect(self, job: Job, within_s: float) -> None:
        job.deadline = time.monotonic() + max(SILENCE_S, SILENCE_FACTOR * within_s)

    def _look(self) -> None:
        """End a worker that says nothing any more. A PC that slept, or a busy one, gets the time back that it lost."""
        loop = self.loop
        if loop is None or loop.is_closed():
            return
        late_s = loop.time() - self._looked - LOOK_S
        self._looked = loop.time()
        job = self._current
        if job is not None:
            if late_s > LOOK_S:
                job.deadline += late_s
            if time.monotonic() > job.deadline:
                log.error("request %s: the worker has said nothing for too long", job.request_id)
                job.deadline = float("inf")
                self._give_up("server.worker_hung")
        loop.call_later(LOOK_S, self._look)

    def _hurry(self) -> None:
        """When others wait for a cancelled job in a native call that may last minutes, start the worker anew.

        Only for engines that evaluate a prompt in one call; in chunks the wait is short and the cache worth keeping.
        """
        job, loop, restart_s = self._current, self.loop, self.restart_s
        if job is None or loop is None or restart_s is None:
            return
        patience_s = max(CANCEL_PATIENCE_S, 2 * restart_s)

        def look() -> None:
            if self._current is job and self._waiting:
                log.info("request %s: cancelled but still computing, worker restarted", job.request_id)
                self._give_up("")

        loop.call_later(max(0.0, job.cancelled_at + patience_s - time.monotonic()), look)

    def _finish(self, job: Job, event: Done | Refused) -> None:
        if isinstance(event, Refused):
            log.error("request %s: the engine refused: %s", job.request_id, event.reason)
            self._metrics.failed += 1
            job.put(Failed(broken("server.engine_error", "engine_error", reason=event.reason)))
            return
        waited_s = job.started - job.created
        self._metrics.count(event, queue_s=waited_s)
        log.info(
            "request %s: %s, queue %.2f s, prompt %d (%d kept) in %.2f s, answer %d in %.2f s",
            job.request_id,
            event.reason,
            waited_s,
            event.prompt_tokens,
            event.cached_tokens,
            event.prompt_s,
            event.generated_tokens,
            event.generation_s,
        )
        job.put(event)
