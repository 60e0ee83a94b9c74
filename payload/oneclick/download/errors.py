"""How a download can fail for good, each with what the caller needs to act on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Mapping, Sequence

from oneclick.errors import OneClickError
from oneclick.messages import both, say


@dataclass(frozen=True)
class Attempt:
    """One source's failure: ``key`` names the sentence in ``messages.download``, ``values`` fill it."""

    source: str
    key: str
    values: Mapping[str, object] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """What happened, in words, in the language of this run."""
        return say(f"download.{self.key}", **self.values)

    def both(self) -> tuple[str, str]:
        """Return the reason in Chinese and in English."""
        return both(f"download.{self.key}", **self.values)


class DownloadError(OneClickError):
    """Any of the failures below; ``attempts`` says what each source did."""

    def __init__(self, key: str, *, attempts: Sequence[Attempt] = (), **values: object) -> None:
        if attempts:
            values = {**values, "sources_zh": _told(attempts, 0), "sources_en": _told(attempts, 1)}
        super().__init__(f"download.{key}", **values)
        self.attempts = tuple(attempts)

    def reasons(self) -> list[tuple[str, str]]:
        """Return (source name, last reason in words), in the order the sources were first tried."""
        return [(name, attempt.reason) for name, attempt in _last_of_each(self.attempts).items()]


def _last_of_each(attempts: Sequence[Attempt]) -> dict[str, Attempt]:
    return {attempt.source: attempt for attempt in attempts}


def _told(attempts: Sequence[Attempt], language: int) -> str:
    """Return one indented line per source with its last reason."""
    return "\n".join(f"  {name}: {attempt.both()[language]}" for name, attempt in _last_of_each(attempts).items())


class AllSourcesFailed(DownloadError):
    """No source delivered the file; what arrived is kept for the next try."""

    def __init__(self, name: str, attempts: Sequence[Attempt]) -> None:
        super().__init__("all_failed", attempts=attempts, name=name)


class DigestDiffers(DownloadError):
    """Every source delivered other bytes than the pinned ones; the file is kept as ``kept``."""

    def __init__(self, name: str, expected: str, got: str, kept: Path, attempts: Sequence[Attempt]) -> None:
        super().__init__("digest_differs", attempts=attempts, name=name, expected=expected, got=got, kept=kept.name)
        self.expected = expected
        self.got = got
        self.kept = kept


class DiskFull(DownloadError):
    """Not enough room; what arrived is kept."""

    def __init__(self, folder: Path, missing_bytes: int) -> None:
        missing = f"{missing_bytes / 1e9:.2f} GB" if missing_bytes >= 10_000_000 else f"{missing_bytes / 1e6:.1f} MB"
        super().__init__("disk_full", folder=str(folder), missing=missing)
        self.missing_bytes = missing_bytes


class NotWritable(DownloadError):
    """The target folder does not take files, or this file cannot be opened."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__("not_writable", path=str(path), reason=reason)
        self.path = path


class FileTooBig(DownloadError):
    """The file system (FAT32) cannot hold a file of this size."""

    def __init__(self, name: str, size_bytes: int, file_system: str) -> None:
        super().__init__("too_big", name=name, size=f"{size_bytes / (1 << 30):.2f} GiB", file_system=file_system)


class AnotherInstance(DownloadError):
    """Another process downloads this file right now."""

    def __init__(self, name: str, pid: int | None) -> None:
        super().__init__("another_instance", name=name, pid=pid or "?")
        self.pid = pid


class CannotRename(DownloadError):
    """The file is complete and right but another program holds it; ``kept`` is its path."""

    def __init__(self, kept: Path, target: Path, reason: str) -> None:
        super().__init__("cannot_rename", kept=kept.name, target=target.name, reason=reason)
        self.kept = kept


class Cancelled(DownloadError):
    """The caller asked to stop; what arrived is kept."""

    def __init__(self, name: str) -> None:
        super().__init__("cancelled", name=name)
