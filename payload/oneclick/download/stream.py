"""Downloads of files whose size nobody pinned: one stream per source, from the first byte, no resume."""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from oneclick.download.checks import check_writable, is_full
from oneclick.download.errors import AllSourcesFailed, Attempt, Cancelled, DigestDiffers, DiskFull, NotWritable
from oneclick.download.faults import GONE, HICCUP, PATIENCE, Fault
from oneclick.download.fetch import check_start
from oneclick.download.files import DownloadResult, Event, Progress, RemoteFile, Source, Tuning
from oneclick.download.part import replace_patiently
from oneclick.download.probe import address_of
from oneclick.download.proxy import Lines
from oneclick.download.rate import RateMeter
from oneclick.download.transport import open_range


@dataclass(frozen=True)
class Watch:
    """Who looks on, may end it, and how long it may be silent."""

    progress: Callable[[Progress], None] | None
    cancel: threading.Event | None
    tell: Callable[[Event], None]
    timeouts: tuple[float, float]
    """For connecting and for silence, in seconds."""


def download_of_unknown_size(
    file: RemoteFile, target: Path, lines: Lines, watch: Watch, tuning: Tuning
) -> DownloadResult:
    """Fetch ``file`` from the first source that delivers the pinned digest; see ``engine.download``."""
    check_writable(target.parent)
    part = target.with_name(target.name + ".part")
    attempts: list[Attempt] = []
    wrong = ""
    for number, source in enumerate(file.sources):
        for attempt_number in range(PATIENCE):
            try:
                got = _stream(file, source, part, lines, watch, tuning)
            except Fault as fault:
                attempts.append(fault.attempt(source.name))
                if fault.weight > HICCUP:
                    break
                time.sleep(tuning.retry_wait_s * 2**attempt_number)
                continue
            except OSError as error:
                if is_full(error):
                    raise DiskFull(target.parent, 1) from error
                raise NotWritable(part, error.strerror or str(error)) from error
            if got == file.sha256:
                replace_patiently(part, target, tuning.rename_patience_s)
                return DownloadResult(source.name, tuple(attempts))
            wrong = got
            attempts.append(Attempt(source.name, "wrong_digest", {"got": got, "expected": file.sha256}))
            replace_patiently(part, target.with_name(target.name + ".bad"), 1.0)
            break
        if number + 1 < len(file.sources) and attempts:
            watch.tell(Event("next_source", file.sources[number + 1].name, attempts[-1], value=source.name))
    part.unlink() if part.exists() else None
    if wrong:
        raise DigestDiffers(file.name, file.sha256, wrong, target.with_name(target.name + ".bad"), attempts)
    raise AllSourcesFailed(file.name, attempts)


def _stream(file: RemoteFile, source: Source, part: Path, lines: Lines, watch: Watch, tuning: Tuning) -> str:
    """Write what ``source`` sends to ``part`` and return its digest. Raises Fault, OSError, Cancelled."""
    digest, done, meter, reported = hashlib.sha256(), 0, RateMeter(tuning.slow_window_s), 0.0
    with open_range(
        lines.of(source),
        address_of(source),
        0,
        None,
        size_bytes=None,
        connect_timeout_s=watch.timeouts[0],
        idle_timeout_s=watch.timeouts[1],
        html_is_wrong=not file.name.lower().endswith((".html", ".htm")),
    ) as body, part.open("wb") as out:
        while True:
            if watch.cancel is not None and watch.cancel.is_set():
                raise Cancelled(file.name)
            data = body.read()
            if not data:
                break
            check_start(data, done, file.header, file.name)
            out.write(data)
            digest.update(data)
            done += len(data)
            if watch.progress is not None and time.monotonic() - reported >= tuning.tick_s:
                reported = time.monotonic()
                meter.note(done, reported)
                rate = meter.rate_bytes_s()
                left = (body.length - done) / rate if body.length is not None and rate > 0 else None
                watch.progress(Progress(done, body.length, rate, left, source.name, "downloading"))
    if not done:
        raise Fault("empty", GONE)
    return digest.hexdigest()
