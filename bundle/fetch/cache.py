"""Files by digest: what was downloaded once is never downloaded again, and never trusted unread."""

from __future__ import annotations

import shutil
from pathlib import Path

import platformdirs

from bundle.errors import StorageError
from bundle.recipe.lock import PinnedFile
from oneclick.files import move
from oneclick.update.integrity import file_sha256


def default_cache_dir() -> Path:
    """Return this platform's place for caches, such as ``~/.cache/chatglm3-oneclick``."""
    return platformdirs.user_cache_path("chatglm3-oneclick", appauthor=False)


class Cache:
    """A folder of files named by their own sha256, beside downloads under way and compiled engines."""

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            self.partial_dir.mkdir(parents=True, exist_ok=True)
            self.engines_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"the cache folder {root} cannot be made", why=str(error), do="choose another one with --cache DIR"
            ) from error
        self._verified: dict[str, Path] = {}

    @property
    def partial_dir(self) -> Path:
        """Downloads that are not complete yet; kept, so that the next run continues them."""
        return self.root / "partial"

    @property
    def engines_dir(self) -> Path:
        return self.root / "engine"

    def path_of(self, pinned: PinnedFile) -> Path:
        """Return where ``pinned`` lies once it is here; the digest is a folder so that names stay readable."""
        return self.root / "files" / pinned.sha256[:2] / pinned.sha256 / pinned.name

    def find(self, pinned: PinnedFile) -> Path | None:
        """Return the file when it is here and whole; a damaged one is deleted. Hashed once a run."""
        path = self.path_of(pinned)
        if pinned.sha256 in self._verified:
            return self._verified[pinned.sha256]
        if not path.is_file():
            return None
        if pinned.size_bytes not in (0, path.stat().st_size) or file_sha256(path) != pinned.sha256:
            path.unlink()
            return None
        self._verified[pinned.sha256] = path
        return path

    def add(self, pinned: PinnedFile, verified: Path) -> Path:
        """Move a file whose digest was just checked into the cache and return its place."""
        path = self.path_of(pinned)
        path.parent.mkdir(parents=True, exist_ok=True)
        move(verified, path)
        self._verified[pinned.sha256] = path
        return path

    def clean(self) -> int:
        """Delete what builds put into the cache and return how many bytes that freed.

        Only folders of ours: ``--cache`` may name a folder that holds other things too.
        """
        freed = 0
        for name in ("files", "partial", "engine", "tools", "zig", "builds", "weights"):
            for path in (self.root / name).rglob("*"):
                freed += path.stat().st_size if path.is_file() and not path.is_symlink() else 0
            shutil.rmtree(self.root / name, ignore_errors=True)
        return freed
