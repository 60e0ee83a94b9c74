"""The crash policy and the watch over a silent worker, with clocks and workers of the tests' own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from oneclick.server import queue, supervisor
from oneclick.server.events import Done, Failed, PromptProgress, Queued, Refused, Token
from oneclick.server.metrics import Metrics
from oneclick.server.queue import JobQueue
from oneclick.server.supervisor import CRASH_LIMIT, CRASH_WINDOW_S, Crashes
from tests.payload.conftest import LiveServer, StartServer, wait_for

FRAME: dict[str, Any] = {"ids": [1], "max_new": 1}
DONE = Done("stop", 2, 1, 0, 0.1, 1, 0.1)


def test_each_further_crash_waits_longer_and_the_third_in_a_minute_is_the_last() -> None:
    crashes = Crashes()
    delays = [crashes.next_delay_s(now) for now in (0.0, 1.0, 2.0)]
    assert delays == [supervisor.FIRST_DELAY_S, supervisor.FIRST_DELAY_S * supervisor.DELAY_FACTOR, None]


def test_crashes_that_lie_far_apart_are_no_pattern() -> None:
    crashes = Crashes()
    for number in range(10):
        assert crashes.next_delay_s(number * CRASH_WINDOW_S) is not None


def test_a_start_that_was_asked_for_begins_to_count_anew() -> None:
    crashes = Crashes()
    for now in range(CRASH_LIMIT - 1):
        crashes.next_delay_s(float(now))
    crashes.clear()
    assert crashes.next_delay_s(2.0) == supervisor.FIRST_DELAY_S


class Bench:
    """A queue with a worker that only remembers what it was sent."""

    def __init__(self, limit: int = 2, *, ready: bool = True) -> None:
        self.sent: list[dict[str, Any]] = []
        self.given_up: list[str] = []
        self.ready = ready
        self.metrics = Metrics()
        self.queue = JobQueue(limit, self.metrics, self._send, self.given_up.append)

    def _send(self, frame: Any) -> bool:
        if self.ready:
            self.sent.append(dict(frame))
        return self.ready

    def events(self, job: queue.Job) -> list[Any]:
        found = list(job.inbox)
        job.inbox.clear()
        return found


def test_jobs_run_one_by_one_and_those_that_wait_hear_their_place() -> None:
    bench = Bench()
    first, second, third = (bench.queue.submit(FRAME, str(number)) for number in range(3))
    assert [frame["id"] for frame in bench.sent] == [first.number]
    assert bench.events(second)[-1] == Queued(1) and bench.events(third)[-1] == Queued(2)
    bench.queue.take(first.number, PromptProgress(1, 1, 0, 0.0))
    bench.queue.take(first.number, Token(7))
    bench.queue.take(first.number, DONE)
    assert bench.events(first) == [PromptProgress(1, 1, 0, 0.0), Token(7), DONE]
    assert bench.sent[-1]["id"] == second.number and bench.events(third)[-1] == Queued(1)


def test_nothing_starts_before_there_is_a_worker_and_then_the_first_does() -> None:
    bench = Bench(ready=False)
    job = bench.queue.submit(FRAME, "a")
    assert bench.sent == [] and not bench.queue.busy and len(bench.queue) == 1
    bench.ready = True
    bench.queue.pump()
    assert bench.sent[0]["id"] == job.number and bench.queue.busy and len(bench.queue) == 0


def test_what_a_worker_says_of_another_job_is_not_this_ones() -> None:
    bench = Bench()
    job = bench.queue.submit(FRAME, "a")
    bench.queue.take(job.number + 1, Token(1))
    bench.queue.take(job.number - 1, DONE)
    assert bench.events(job) == [] and bench.queue.busy


def test_a_refusal_of_the_engine_fails_its_job_alone() -> None:
    bench = Bench()
    job, following = bench.queue.submit(FRAME, "a"), bench.queue.submit(FRAME, "b")
    bench.queue.take(job.number, Refused("too long"))
    (event,) = bench.events(job)
    assert isinstance(event, Failed) and "too long" in str(event.error)
    assert bench.metrics.failed == 1 and bench.sent[-1]["id"] == following.number


class Clock:
    """Time and the loop's timers, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay_s: float, act: Callable[[], None]) -> None:
        self.timers.append((self.now + delay_s, act))

    def is_closed(self) -> bool:
        return False

    def advance(self, seconds: float) -> None:
        """Let the time pass with everything on time."""
        end = self.now + seconds
        while due := [timer for timer in self.timers if timer[0] <= end]:
            timer = min(due, key=lambda one: one[0])
            self.timers.remove(timer)
            self.now = max(self.now, timer[0])
            timer[1]()
        self.now = end

    def sleep(self, seconds: float) -> None:
        """Let the PC sleep: time passes and nothing happens."""
        self.now += seconds
        self.timers = [(max(due, self.now), act) for due, act in self.timers]
        self.advance(0.0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(queue.time, "monotonic", made.time)
    return made


def watched(clock: Clock) -> tuple[Bench, queue.Job]:
    bench = Bench()
    loop: Any = clock
    bench.queue.attach(loop)
    return bench, bench.queue.submit(FRAME, "a")


def test_a_worker_that_says_nothing_is_ended_once(clock: Clock) -> None:
    bench, _ = watched(clock)
    clock.advance(queue.SILENCE_S - queue.LOOK_S)
    assert bench.given_up == []
    clock.advance(3 * queue.LOOK_S)
    assert bench.given_up == ["server.worker_hung"]
    clock.advance(1000)
    assert bench.given_up == ["server.worker_hung"]


def test_a_worker_that_goes_on_talking_may_take_hours(clock: Clock) -> None:
    bench, job = watched(clock)
    for _ in range(200):
        clock.advance(queue.SILENCE_S - queue.LOOK_S)
        bench.queue.take(job.number, Token(1))
    assert bench.given_up == []


def test_a_slow_pc_gets_ten_times_what_it_expects_to_need(clock: Clock) -> None:
    bench, job = watched(clock)
    bench.queue.take(job.number, PromptProgress(0, 4000, 0, 600.0))
    clock.advance(5900)
    assert bench.given_up == []
    clock.advance(200)
    assert bench.given_up == ["server.worker_hung"]


def test_a_pc_that_slept_for_hours_in_the_middle_goes_on(clock: Clock) -> None:
    bench, job = watched(clock)
    clock.advance(60)
    clock.sleep(8 * 3600)
    clock.advance(50)
    bench.queue.take(job.number, Token(1))
    assert bench.given_up == []


def test_without_a_job_nobody_is_ended(clock: Clock) -> None:
    bench = Bench()
    loop: Any = clock
    bench.queue.attach(loop)
    clock.advance(10_000)
    assert bench.given_up == []


def test_a_hung_worker_is_replaced_and_its_request_told_why(
    start_server: StartServer, our_engine: Path, models: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "SILENCE_S", 1.0)
    monkeypatch.setattr(queue, "LOOK_S", 0.1)
    server: LiveServer = start_server(models("tiny"), our_engine)
    pid = server.runtime.worker_pid
    assert pid is not None
    psutil.Process(pid).suspend()
    answer = server.chat(max_tokens=5)
    assert answer.status_code == 503 and answer.json()["error"]["code"] == "worker_died"
    assert "did not answer for a long time" in answer.json()["error"]["message"]
    wait_for(lambda: server.runtime.worker_pid not in (None, pid))
    server.wait_ready()
    assert server.chat(max_tokens=5).status_code == 200


def test_a_waiting_client_is_woken_by_its_event_and_by_its_patience() -> None:
    async def wait() -> list[Any]:
        bench = Bench()
        job = bench.queue.submit(FRAME, "a")
        found = [await job.next_event(0.01)]
        asyncio.get_running_loop().call_soon(bench.queue.take, job.number, Token(3))
        return [*found, await job.next_event(10)]

    assert asyncio.run(wait()) == [None, Token(3)]
