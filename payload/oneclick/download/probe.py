"""Look at sources before the download: who answers, with the right file, how fast."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Sequence

from oneclick.download.errors import Attempt
from oneclick.download.faults import GONE, STALL, Fault
from oneclick.download.fetch import check_start
from oneclick.download.files import Source
from oneclick.download.proxy import Lines
from oneclick.download.transport import make_session, open_range

if TYPE_CHECKING:
    import requests

PROBE_BYTES = 64


@dataclass(frozen=True)
class ProbeResult:
    """What one source answered to a request for its first 64 bytes."""

    source: Source
    seconds: float
    """From the question to the first bytes."""
    fault: Fault | None = None
    """None: the source has the file, as far as 64 bytes can tell."""
    size_bytes: int | None = None
    ranges: bool = False

    @property
    def ok(self) -> bool:
        return self.fault is None

    @property
    def attempt(self) -> Attempt | None:
        return self.fault.attempt(self.source.name) if self.fault else None


def address_of(source: Source) -> str:
    """Look up the address of ``source``. Raises Fault."""
    try:
        return source.address()
    except Fault:
        raise
    except (OSError, ValueError, LookupError) as error:
        raise Fault("no_address", STALL, detail=str(error)) from error


def probe(
    source: Source,
    *,
    session: requests.Session | None = None,
    size_bytes: int | None = None,
    sha256: str = "",
    header: bytes = b"",
    name: str = "",
    connect_timeout_s: float = 10.0,
    idle_timeout_s: float = 30.0,
) -> ProbeResult:
    """Ask ``source`` for its first 64 bytes; never raises for what a server does.

    ``size_bytes``, ``sha256`` and ``header`` are compared with what the source announces and sends, where given.
    """
    began = time.monotonic()
    try:
        asked = session or make_session(direct=source.direct)
        _check_announced(source, asked, size_bytes, sha256)
        stop = PROBE_BYTES if size_bytes is None else min(PROBE_BYTES, size_bytes)
        with open_range(
            asked,
            address_of(source),
            0,
            stop,
            size_bytes=size_bytes,
            connect_timeout_s=connect_timeout_s,
            idle_timeout_s=idle_timeout_s,
        ) as body:
            start = b""
            while len(start) < stop:
                data = body.read()
                if not data:
                    break
                start += data
            if not start and size_bytes != 0:
                raise Fault("empty", STALL)
            check_start(start[:stop], 0, header[:stop], name)
            return ProbeResult(source, time.monotonic() - began, None, body.total, body.partial)
    except Fault as fault:
        return ProbeResult(source, time.monotonic() - began, fault)
    finally:
        if session is None:
            asked.close()


def _check_announced(source: Source, session: requests.Session, size_bytes: int | None, sha256: str) -> None:
    """Raise Fault when the hub says that it holds another file than the pinned one."""
    if source.announce is None:
        return
    try:
        announced = source.announce(session)
    except Fault as fault:
        if fault.weight >= GONE:
            raise
        return  # The hub's list is down; the file itself may still come.
    if size_bytes is not None and announced.size_bytes not in (None, size_bytes):
        raise Fault("wrong_size", GONE, got=announced.size_bytes, expected=size_bytes)
    if sha256 and announced.sha256 is not None and announced.sha256.lower() != sha256:
        raise Fault("other_digest_announced", GONE, got=announced.sha256, expected=sha256)


def probe_all(
    sources: Sequence[Source],
    *,
    grace_s: float = 2.0,
    cancel: threading.Event | None = None,
    tick_s: float = 0.1,
    lines: Lines | None = None,
    size_bytes: int | None = None,
    sha256: str = "",
    header: bytes = b"",
    name: str = "",
    connect_timeout_s: float = 10.0,
    idle_timeout_s: float = 30.0,
) -> list[ProbeResult]:
    """Probe all ``sources`` at once; return the answers in the order they came.

    Once a good answer is there the others get ``grace_s`` more; who has not answered by then is not in the list.
    """
    answers: queue.Queue[ProbeResult] = queue.Queue()

    def ask(source: Source) -> None:
        answers.put(
            probe(
                source,
                session=lines.of(source) if lines else None,
                size_bytes=size_bytes,
                sha256=sha256,
                header=header,
                name=name,
                connect_timeout_s=connect_timeout_s,
                idle_timeout_s=idle_timeout_s,
            )
        )

    for source in sources:
        threading.Thread(target=ask, args=(source,), name=f"probe {source.name}", daemon=True).start()
    results: list[ProbeResult] = []
    deadline: float | None = None
    while len(results) < len(sources) and not (cancel is not None and cancel.is_set()):
        if deadline is not None and time.monotonic() >= deadline:
            break
        try:
            results.append(answers.get(timeout=tick_s))
        except queue.Empty:
            continue
        if results[-1].ok and deadline is None:
            deadline = time.monotonic() + grace_s
    return results


def order_by_answer(
    sources: Sequence[Source],
    *,
    connect_timeout_s: float = 10.0,
    grace_s: float = 2.0,
) -> list[Source]:
    """Return all ``sources``, those that answered first (fastest first), then the silent, then the failed ones."""
    results = probe_all(
        sources,
        grace_s=grace_s,
        connect_timeout_s=connect_timeout_s,
        idle_timeout_s=connect_timeout_s,
    )
    good = [result.source for result in results if result.ok]
    failed = [result.source for result in results if not result.ok]
    return good + [source for source in sources if source not in good and source not in failed] + failed
