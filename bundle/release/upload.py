"""Upload a release folder: what is missing is sent, read back and compared; ``latest.json`` is the last to change.

A run that was interrupted goes on with the file that was not complete, and a run with nothing to do sends nothing: what
a store lists is compared by digest, and downloaded for that where the store tells none.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bundle.check.verify import SUMS, read_sums
from bundle.contents.manifest import digest_of
from bundle.errors import BundleError, DigestMismatch, UploadError, UsageError
from bundle.log import Log, human_bytes, human_seconds
from bundle.release.files import ReleaseFile
from bundle.release.previous import LATEST
from bundle.release.stores import Store, Stored
from oneclick.update.signature import ENDING


@dataclass(frozen=True, kw_only=True)
class Uploaded:
    """What an upload did."""

    address: str
    folder_url: str
    sent: tuple[str, ...]
    """Names, in the order in which they were sent; empty when everything was there."""
    kept: tuple[str, ...]
    """Names of files that were there already."""

    def line(self) -> str:
        if not self.sent:
            return f"{self.address}: all {len(self.kept)} files are there and right; nothing was uploaded"
        kept = f", {len(self.kept)} were there already" if self.kept else ""
        return f"{self.address}: {len(self.sent)} files uploaded and read back{kept}"


def files_to_publish(folder: Path) -> list[ReleaseFile]:
    """Return the release's files in the order of upload: large ones first, ``latest.json`` last.

    Raises UsageError when ``folder`` is no release, DigestMismatch when a file is not the one SHA256SUMS names.
    """
    sums = read_sums(folder)
    absent = [name for name in (*sums, LATEST) if not (folder / name).is_file()]
    if not sums or absent:
        raise UsageError(
            f"{folder} is not a whole release",
            why=f"it lacks {absent[0] if sums else SUMS}",
            do="make it again: python3 build.py publish --to FOLDER",
        )
    found = []
    signature = [SUMS + ENDING] if (folder / (SUMS + ENDING)).is_file() else []
    for name in (*sums, *signature, SUMS, LATEST):
        size_bytes, sha256 = digest_of(folder / name)
        if sha256 != sums.get(name, sha256):
            raise DigestMismatch(
                f"{name} is not the file that was released",
                why=f"its sha256 is {sha256}, {SUMS} says {sums[name]}",
                do="make the folder again: python3 build.py publish --to FOLDER",
            )
        found.append(ReleaseFile(name=name, size_bytes=size_bytes, sha256=sha256))
    return sorted(found, key=lambda file: (file.name == LATEST, file.name == SUMS, -file.size_bytes))


def upload(store: Store, folder: Path, log: Log) -> Uploaded:
    """Bring ``store`` to hold the release in ``folder``.

    Raises UsageError for a file it cannot hold, UploadError or StorageError when it stops taking files, DigestMismatch
    when it gives back other bytes than it was sent (that file is removed there).
    """
    files = files_to_publish(folder)
    _require_small_enough(files, store)
    there = store.files()
    sent, kept = [], []
    for file in files:
        if _is_there(file, there.get(file.name), store):
            kept.append(file.name)
            continue
        start = time.monotonic()
        store.put(file, folder / file.name)
        duration_s = max(time.monotonic() - start, 1e-3)
        _compare(file, store)
        store.accept(file)
        sent.append(file.name)
        speed = f"{human_seconds(duration_s)}, {human_bytes(file.size_bytes / duration_s)}/s"
        log.line(f"{file.name}: {human_bytes(file.size_bytes)} in {speed}; read back, digest right")
    return Uploaded(address=store.address, folder_url=store.folder_url, sent=tuple(sent), kept=tuple(kept))


def upload_to_all(stores: Sequence[Store], folder: Path, log: Log) -> list[Uploaded]:
    """Upload to every store; one that fails does not keep the release from the others.

    Raises the only BundleError as it is, or one that tells of all.
    """
    done: list[Uploaded] = []
    errors: list[BundleError] = []
    for store in stores:
        try:
            with log.step(f"Upload to {store.address}"), contextlib.closing(store):
                done.append(upload(store, folder, log))
            log.line(done[-1].line())
        except BundleError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise UploadError(
            f"{len(errors)} of {len(stores)} uploads failed",
            why="; ".join(f"{error.what} ({error.why})" for error in errors),
            do="mend these, then run the same command again: what is complete is not sent again",
        )
    return done


def _require_small_enough(files: Iterable[ReleaseFile], store: Store) -> None:
    for file in files:
        if store.largest_bytes is not None and file.size_bytes > store.largest_bytes:
            raise UsageError(
                f"{file.name} is too large for {store.address}",
                why=f"it has {file.size_bytes} bytes, the largest file there has {store.largest_bytes}",
                do="build it in parts, such as with --volume-size 1900m, and publish those",
            )


def _is_there(file: ReleaseFile, stored: Stored | None, store: Store) -> bool:
    """Tell whether ``stored`` is ``file``, by the digest the store tells or by reading it."""
    if stored is None or stored.size_bytes != file.size_bytes:
        return False
    return (stored.sha256 or _digest(store.read(file, accepted=True))) == file.sha256


def _compare(file: ReleaseFile, store: Store) -> None:
    """Raise DigestMismatch, and remove what was sent, unless the store gives back the bytes of ``file``."""
    got = _digest(store.read(file, accepted=False))
    if got != file.sha256:
        store.remove(file)
        raise DigestMismatch(
            f"{file.name} came back from {store.address} as another file, and was removed there",
            why=f"its sha256 is {got}, {file.sha256} was sent",
            do="run the same command again; if it repeats, that place changes files and cannot be used",
        )


def _digest(chunks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()
