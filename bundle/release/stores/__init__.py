"""Places that keep a release for others to download: one module each, all with the same five verbs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bundle.errors import BundleError, StorageError, UploadError, UsageError
from bundle.release.files import ReleaseFile

CHUNK_BYTES = 1 << 20
FULL = (413, 507)
"""HTTP statuses that say there is no room: too large for this place, insufficient storage."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A file as its store lists it."""

    size_bytes: int
    sha256: str = ""
    """Computed by the store from the bytes it holds; empty where it tells none."""


class Store(Protocol):
    """One place to publish to. Every method raises BundleError and nothing of the client's own."""

    address: str
    """What people call it, such as ``github:me/chat@v1.0.0``; never with a secret in it."""
    folder_url: str
    """Address a file's name is appended to for a download, as ``[release.mirrors]`` of a recipe wants it."""
    largest_bytes: int | None
    """Largest file it takes; None: not limited."""

    def files(self) -> Mapping[str, Stored]:
        """Complete files under their names."""

    def put(self, file: ReleaseFile, path: Path) -> None:
        """Upload; until ``accept``, a store that can do so keeps the bytes under another name."""

    def read(self, file: ReleaseFile, *, accepted: bool) -> Iterator[bytes]:
        """Download what ``put`` sent (before ``accept``), or what people get under the name (after it)."""

    def accept(self, file: ReleaseFile) -> None:
        """Give what ``put`` sent its name, in place of an older file."""

    def remove(self, file: ReleaseFile) -> None:
        """Delete what ``put`` sent: it is not what it should be."""

    def close(self) -> None:
        """Let go of connections."""


def from_environment(*names: str, address: str, how: str) -> str:
    """Return the first of the variables ``names`` that is set.

    how: where a maintainer makes such a token. Raises UsageError when none is set.
    """
    found = next((value for name in names if (value := os.environ.get(name, "").strip())), "")
    if not found:
        raise UsageError(
            f"nothing may be uploaded to {address} yet",
            why=f"the environment holds no {' or '.join(names)}; tokens are read from nowhere else",
            do=f"set {names[0]} ({how}) and run the same command again",
        )
    return found


def refused(address: str, status: int | None, said: object, *, token: str, secrets: tuple[str, ...]) -> BundleError:
    """Return the error for an answer that is none of success.

    status: the HTTP status, None when there was no answer. said: the client's own words. token: name of the variable.
    secrets: values that must not be shown, whatever the client says.
    """
    told = [said] if not isinstance(said, BaseException) else [said, said.__cause__ or said.__context__ or ""]
    words = ": ".join(words for item in told if (words := " ".join(str(item).split())))[:400] or type(said).__name__
    for secret in secrets:
        words = words.replace(secret, "***")
    if status in (401, 403):
        return UploadError(
            f"{address} does not let us in",
            why=f"it answered {status}: {words}",
            do=f"check {token}: it is wrong or expired, or may not write there",
        )
    if status == 404:
        return UsageError(
            f"{address} does not exist",
            why=f"it answered 404: {words}",
            do=f"check the name, make it on the site, or use a {token} that may see it",
        )
    if status in FULL:
        return StorageError(
            f"{address} is full",
            why=f"it answered {status}: {words}",
            do="make room there or choose another place, then run the same command again: it goes on where it stopped",
        )
    return UploadError(
        f"the upload to {address} stopped",
        why=words if status is None else f"it answered {status}: {words}",
        do="run the same command again: files that are complete there are not sent again",
    )
