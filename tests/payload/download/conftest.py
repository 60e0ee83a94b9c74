"""A misbehaving server, random files, and a download with sizes small enough for a test."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oneclick.download import DownloadResult, Event, Progress, RemoteFile, Source, Tuning, download
from tests.support.bad_server import BadServer
from tests.support.language import english  # noqa: F401 - a fixture of all tests here

KIB = 1024
TUNING = Tuning(
    block_bytes=256 * KIB,
    slice_bytes=16 * KIB,
    small_bytes=64 * KIB,
    sample_bytes=32 * KIB,
    sample_s=0.4,
    slow_bytes_s=20_000,
    slow_window_s=8.0,
    retry_wait_s=0.02,
    retry_after_max_s=5.0,
    rename_patience_s=0.3,
    tick_s=0.02,
    reserve_bytes=0,
)


@pytest.fixture
def server() -> Iterator[BadServer]:
    with BadServer() as running:
        yield running


@pytest.fixture
def data() -> bytes:
    """1.5 MiB and a bit: six blocks and a short one, of the small sizes above."""
    return random.Random(20).randbytes(1536 * KIB + 777)


class Fetch:
    """Calls ``download`` with the small sizes and remembers what it told."""

    def __init__(self, folder: Path) -> None:
        self.target = folder / "model.bin"
        self.events: list[Event] = []
        self.progress: list[Progress] = []

    def __call__(self, data: bytes, *sources: Source | str, **options: Any) -> DownloadResult:
        """Download a file that is ``data``; sources are named A, B ... when only addresses are given."""
        named = [
            source if isinstance(source, Source) else Source(chr(65 + number), source)
            for number, source in enumerate(sources)
        ]
        file = RemoteFile(
            "model.bin",
            options.pop("size_bytes", len(data)),
            options.pop("sha256", hashlib.sha256(data).hexdigest()),
            named,
            header=options.pop("header", data[:32]),
            block_sha256=options.pop("block_sha256", ()),
        )
        changes = options.pop("tuning", {})
        return download(
            file,
            self.target,
            progress=self.progress.append,
            on_event=self.events.append,
            tuning=replace(TUNING, **changes),
            connect_timeout_s=options.pop("connect_timeout_s", 3.0),
            idle_timeout_s=options.pop("idle_timeout_s", 1.5),
            **options,
        )

    def told(self) -> list[str]:
        return [event.key for event in self.events]


@pytest.fixture
def fetch(tmp_path: Path) -> Fetch:
    return Fetch(tmp_path)


@pytest.fixture
def leftovers(tmp_path: Path) -> Callable[[], list[str]]:
    """Return the names of all files beside the target."""
    return lambda: sorted(path.name for path in tmp_path.iterdir())


def reasons(result: DownloadResult) -> dict[str, str]:
    """Return source name -> key of its last failure."""
    return {attempt.source: attempt.key for attempt in result.attempts}
