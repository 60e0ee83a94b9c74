"""What is downloaded and what is told while it happens: plain frozen data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Sequence

from oneclick.download.errors import Attempt
from oneclick.messages import say

if TYPE_CHECKING:
    import requests

MIB = 1 << 20
BLOCK_BYTES = 64 * MIB
"""The unit of ``RemoteFile.block_sha256``, and the most that one request asks for."""


@dataclass(frozen=True)
class Announced:
    """What a hub says about a file before it is downloaded; None where it does not say."""

    size_bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Source:
    """One place that a file can come from.

    ``url`` may be a callable for addresses that must be looked up first (package indexes); it is called when this
    source's turn comes, may raise OSError, ValueError or LookupError, and its answer is used until the server
    refuses it.
    """

    name: str
    url: str | Callable[[], str]
    announce: Callable[[requests.Session], Announced] | None = None
    """Asks the hub what it holds; see ``hubs``. A failure to answer is ignored, a different file is not."""
    direct: bool = False
    """Asked past the system's proxy; see ``lines``."""

    def address(self) -> str:
        """Return the address that is asked; never the short-lived one that a hub redirects to."""
        return self.url if isinstance(self.url, str) else self.url()


@dataclass(frozen=True)
class RemoteFile:
    """One file, pinned, with every source of exactly these bytes in order of preference."""

    name: str
    size_bytes: int | None
    """None: not known; then the download is one stream without resume unless a source tells the size."""
    sha256: str
    """Digest of the whole file, lower-case hex."""
    sources: Sequence[Source]
    header: bytes = b""
    """What the file starts with: tells a wrong file before gigabytes of it arrive."""
    block_sha256: tuple[str, ...] = ()
    """Digests of consecutive blocks of BLOCK_BYTES, when known: damage then costs one block."""


@dataclass(frozen=True)
class Progress:
    """How far a download is, counted in bytes that are on the disk."""

    done_bytes: int
    total_bytes: int | None
    rate_bytes_s: float
    left_s: float | None
    """None until a rate is known."""
    source: str
    phase: str
    """``"probing"``, ``"downloading"`` or ``"checking"``."""


@dataclass(frozen=True)
class Event:
    """Something the user may want to read once, such as a change of source."""

    key: str
    source: str = ""
    attempt: Attempt | None = None
    value: str = ""

    def __str__(self) -> str:
        reason = self.attempt.reason if self.attempt else ""
        return say(f"download.{self.key}", source=self.source, reason=reason, value=self.value)


@dataclass(frozen=True)
class DownloadResult:
    """A finished download."""

    source: str
    """Where the bytes came from; several names joined with ", " in order of their share. Empty: nothing was fetched."""
    attempts: tuple[Attempt, ...]
    """What went wrong on the way, oldest first."""


@dataclass(frozen=True)
class Tuning:
    """Sizes and patience; the defaults are for the real model, tests use small ones."""

    block_bytes: int = BLOCK_BYTES
    slice_bytes: int = MIB
    """What is noted in the state file at once: the most that a killed process loses per connection."""
    small_bytes: int = 16 * MIB
    """Files below this come over one connection, from the first source that answers."""
    sample_bytes: int = 2 * MIB
    sample_s: float = 2.0
    """Length of the speed sample of each source; its bytes are kept."""
    slow_bytes_s: float = 32_000
    slow_window_s: float = 60.0
    """A source that stays below this rate for so long is left when another one is there."""
    retry_wait_s: float = 0.5
    """First wait before the same source is asked again; doubles up to 8 s."""
    retry_after_max_s: float = 60.0
    """A longer ``Retry-After`` counts as a failure of the source."""
    patience_s: float = 0.0
    """How long all sources may fail in a row before giving up, for networks that come back."""
    rename_patience_s: float = 15.0
    tick_s: float = 0.25
    """Time between two progress reports."""
    reserve_bytes: int = 512 * MIB
    """Left free on the disk beside a file that is not small."""
