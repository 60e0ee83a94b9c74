"""Pinned files from whichever source has them: mirrors in order, then package indexes, or the cache alone."""

from __future__ import annotations

import functools
import shutil
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from bundle.errors import BundleError, DigestMismatch, SourceError, StorageError
from bundle.fetch.cache import Cache
from bundle.fetch.pypi import IndexUnreachable, find_file, own_index
from bundle.log import Log, human_bytes
from bundle.recipe.lock import Lock, PinnedFile
from bundle.recipe.recipe import Mirror, Model, Recipe

if TYPE_CHECKING:
    from oneclick.download import Event, Progress, RemoteFile, Source

CONNECTIONS_AT_ONCE = 4
"""Files fetched in parallel; what public mirrors take from one address without complaint."""
CONNECT_TIMEOUT_S = 10.0
IDLE_TIMEOUT_S = 30.0
"""Silence after which a mirror is left for the next one."""
UNREACHABLE = {"no_name", "no_connection", "refused_connection", "tls", "clock"}
"""Faults (keys of oneclick.messages.download) of a whole host rather than of one file. A dead proxy is none of them:
past it the host may answer."""


class Sources:
    """Gives pinned files: from the cache, else from the recipe's mirrors and the package indexes.

    mirrors: ``auto`` (whichever answers first), ``cn`` or ``global``: which group is asked first. The other
    group stays behind it, and the maintainer's own package index is always the last resort.
    """

    def __init__(
        self, recipe: Recipe, lock: Lock, cache: Cache, log: Log, *, mirrors: str = "auto", offline: bool = False
    ) -> None:
        self._recipe, self._lock, self.cache, self._log = recipe, lock, cache, log
        self._mirrors, self._offline = mirrors, offline
        self._orders: dict[str, list[str]] = {}
        self._order_lock = threading.Lock()
        self._down: dict[str, str] = {}
        self._cancel = threading.Event()

    def fetch(self, name: str) -> Path:
        """Return the verified path of the locked file ``name``, downloading it if need be.

        Raises SourceError when the lock does not pin it or no source gives it, DigestMismatch when every
        source gives other bytes, StorageError when the disk does not take it.
        """
        if name not in {pinned.name for pinned in self._lock.file}:
            raise SourceError(
                f"{name} is not pinned",
                why=f"{self._lock.path.name} has no digest of it, and nothing unpinned is ever taken",
                do="run: python build.py lock (on a network that reaches its source)",
            )
        return self.fetch_pinned(self._lock.get(name))

    def fetch_any(self, need: str) -> tuple[PinnedFile, Path]:
        """Return the first file that satisfies ``need``: from the cache if one is there, else from its sources."""
        alternatives = self._lock.alternatives(need)
        for pinned in alternatives:
            if path := self.cache.find(pinned):
                return pinned, path
        problems: list[BundleError] = []
        for pinned in alternatives:
            try:
                return pinned, self.fetch_pinned(pinned)
            except SourceError as error:
                problems.append(error)
        why = "\n".join(f"{problem.what}\n{problem.why}" for problem in problems)
        raise SourceError(
            f"nothing that gives {need} could be had",
            why=why or f"{self._lock.path.name} pins no file for it",
            do="check the network or the mirrors in the recipe; what arrived is kept for the next run",
        )

    def fetch_all(self, files: Sequence[PinnedFile]) -> dict[PinnedFile, Path]:
        """Return all ``files`` (pinned -> verified path), several at once; every problem is reported together."""
        self.require_cached(files)
        problems: list[BundleError] = []

        def one(pinned: PinnedFile) -> Path | None:
            try:
                return self.fetch_pinned(pinned)
            except BundleError as error:
                problems.append(error)
                return None

        with ThreadPoolExecutor(CONNECTIONS_AT_ONCE) as pool:
            try:
                paths = list(pool.map(one, files))
            except KeyboardInterrupt:
                self._cancel.set()
                raise
        if problems:
            worst = max(problems, key=lambda problem: problem.exit_code)
            why = "\n".join(f"{problem.what}: {problem.why}" for problem in problems)
            raise type(worst)(f"{len(problems)} of {len(files)} files could not be had", why=why, do=worst.do)
        return {pinned: path for pinned, path in zip(files, paths, strict=True) if path is not None}

    def require_cached(self, files: Iterable[PinnedFile]) -> None:
        """Offline: raise SourceError naming all of ``files`` that the cache lacks; online: nothing."""
        missing = [pinned for pinned in files if self._offline and self.cache.find(pinned) is None]
        if missing:
            raise SourceError(
                f"offline, and {len(missing)} file(s) are not in the cache",
                why="\n".join(f"{pinned.name}  {human_bytes(pinned.size_bytes)}" for pinned in missing),
                do=f"run once without --offline, or copy the files into {self.cache.root}",
            )

    def fetch_pinned(self, pinned: PinnedFile) -> Path:
        """Return the verified path of ``pinned``."""
        if path := self.cache.find(pinned):
            return path
        self.require_cached([pinned])
        from oneclick.download import RemoteFile

        asked = self._sources_of(pinned)
        if not asked:
            raise _no_source(pinned, self._down)
        return self._obtain(pinned, RemoteFile(pinned.name, pinned.size_bytes or None, pinned.sha256, asked))

    def fetch_model(self, model: Model) -> Path:
        """Return the verified path of a model of the catalogue, downloaded as a user's PC would."""
        pinned = PinnedFile(name=model.file_name, sha256=model.sha256, size_bytes=model.size_bytes)
        if path := self.cache.find(pinned):
            return path
        self.require_cached([pinned])
        from oneclick.download import RemoteFile
        from oneclick.download.hubs import source_of

        places = [source_of(source.__dict__) for source in model.sources]
        header = bytes.fromhex(model.header_hex)
        remote = RemoteFile(pinned.name, model.size_bytes, model.sha256, places, header, model.block_sha256)
        return self._obtain(pinned, remote)

    def _obtain(self, pinned: PinnedFile, remote: RemoteFile) -> Path:
        """Download ``remote``, verified, into the cache; every way it can fail becomes a BundleError."""
        from oneclick.download import AllSourcesFailed, Cancelled, DigestDiffers, DownloadError

        partial = self.cache.partial_dir / pinned.sha256[:16] / pinned.name
        partial.parent.mkdir(parents=True, exist_ok=True)
        self._log.line(
            f"download {pinned.name}" + (f" ({human_bytes(pinned.size_bytes)})" if pinned.size_bytes else "")
        )
        try:
            self._download(remote, partial)
        except AllSourcesFailed as error:
            raise _no_source(pinned, {**self._down, **dict(error.reasons())}) from error
        except DigestDiffers as error:
            raise DigestMismatch(
                f"{pinned.name} is not the file the lock pins",
                why=f"its sha256 is {error.got}, expected {error.expected}; kept as {partial.parent / error.kept.name}",
                do="build again; if it repeats, the file changed upstream: check it, then run build.py lock",
            ) from error
        except Cancelled as error:
            raise KeyboardInterrupt from error
        except DownloadError as error:
            raise StorageError(
                f"{pinned.name} cannot be stored", why=str(error), do="make room, or choose another --cache DIR"
            ) from error
        path = self.cache.add(pinned, partial)
        shutil.rmtree(partial.parent, ignore_errors=True)
        return path

    def _download(self, remote: RemoteFile, partial: Path) -> None:
        from oneclick.download import download

        with self._log.bar(remote.name, remote.size_bytes) as bar:

            def show(progress: Progress) -> None:
                bar.at(progress.done_bytes, progress.total_bytes)

            download(
                remote,
                partial,
                progress=show,
                cancel=self._cancel,
                connect_timeout_s=CONNECT_TIMEOUT_S,
                idle_timeout_s=IDLE_TIMEOUT_S,
                on_event=lambda event: self._tell(remote.name, event),
            )

    def _tell(self, name: str, event: Event) -> None:
        """Say what a source did; one that cannot be reached at all is said once and left out from then on."""
        attempt = event.attempt
        if attempt is None or attempt.key not in UNREACHABLE:
            if attempt is None or attempt.source not in self._down:
                self._log.line(f"{name}: {event}")
        else:
            self._leave_out(attempt.source, attempt.reason)

    def _leave_out(self, host: str, reason: str) -> None:
        """Do not ask ``host`` again during this build."""
        if host not in self._down:
            self._down[host] = reason
            self._log.line(f"{host} is left out of this build: {reason}")

    def _sources_of(self, pinned: PinnedFile) -> list[Source]:
        """Return where ``pinned`` can come from, the best place first, without hosts known to be out of reach."""
        from oneclick.download import Source

        kind, path = (pinned.mirror, pinned.path) if pinned.mirror else ("pypi", f"{pinned.project}/")
        addresses = [address for address in self._ordered(kind, path) if _host(address) not in self._down]
        if pinned.mirror:
            return [Source(name=_host(address), url=address + pinned.path) for address in addresses]
        return [Source(name=_host(index), url=functools.partial(self._lookup, index, pinned)) for index in addresses]

    def _lookup(self, index_url: str, pinned: PinnedFile) -> str:
        """Return the address of ``pinned`` as the index at ``index_url`` lists it; LookupError where it does not."""
        try:
            return find_file(index_url, pinned.project, pinned.name).url
        except IndexUnreachable as error:
            self._leave_out(_host(index_url), error.why)
            raise LookupError(error.why) from error
        except SourceError as error:
            raise LookupError(error.what) from error

    def has_mirrors(self, kind: str) -> bool:
        """Tell whether the recipe names any mirror of ``kind``."""
        mirror = self._recipe.mirrors.get(kind, Mirror())
        return bool(mirror.cn or mirror.world)

    def uv_options(self) -> list[str]:
        """Return the options that make uv, which installs the compiler, follow --offline and --mirrors too."""
        if self._offline:
            return ["--offline"]
        china = self._recipe.mirrors.get("pypi", Mirror()).cn
        return ["--default-index", china[0], "--index", own_index()] if self._mirrors == "cn" and china else []

    def _ordered(self, kind: str, path: str) -> list[str]:
        """Return the addresses of a kind of mirror; with ``auto`` in the order in which they answer for ``path``."""
        with self._order_lock:
            if kind not in self._orders:
                self._orders[kind] = self._order(kind, path)
            return self._orders[kind]

    def _order(self, kind: str, path: str) -> list[str]:
        mirror = self._recipe.mirrors.get(kind, Mirror())
        world = [*mirror.world, own_index()] if kind == "pypi" else list(mirror.world)
        if self._mirrors == "cn":
            return [*mirror.cn, *world]
        if self._mirrors == "global" or len(mirror.cn) + len(world) < 2:
            return [*world, *mirror.cn]
        from oneclick.download import Source, order_by_answer

        asked = [Source(name=address, url=address + path) for address in [*world, *mirror.cn]]
        return [source.name for source in order_by_answer(asked)]


def _host(address: str) -> str:
    """Return the host (and port) of an address, which is what people know a source by; never its password."""
    from urllib.parse import urlsplit

    return urlsplit(address).netloc.rpartition("@")[2] or address


def _no_source(pinned: PinnedFile, reasons: Mapping[str, str]) -> SourceError:
    """Return the error with one line per source that was tried; ``reasons``: host -> what it did."""
    table = "\n".join(f"       {name}: {reason}" for name, reason in reasons.items())
    return SourceError(
        f"no source gives {pinned.name}",
        why="each one was tried:\n" + table,
        do="check the network, or add a mirror to the recipe; what arrived is kept for the next run",
    )
