"""Keep the compiled modules of a program in one file below ``logs/cache``: a later start reads it once.

A start imports some 270 modules. Finding, opening and reading a file for each, and compiling ours, is most of its
work; more still where an antivirus program looks at every file that is opened. Shipping .pyc files would need the
bundle's own Python at build time, which only Windows can run.

A module that is in the file is not looked for elsewhere; any other one is imported as usual and remembered for
``save``. The file is named after MANIFEST.json, this folder and this Python, so that an update or a move never meets
it, and it holds size and time of every source, so that one edited by hand is compiled again.

This module runs before any other of ours and so from its source: it is short, and imports only what ``python -m``
itself has imported by then.
"""

from __future__ import annotations

import marshal
import os
import sys
from contextlib import suppress
from importlib.machinery import PathFinder, SourceFileLoader
from importlib.util import MAGIC_NUMBER, source_hash, spec_from_file_location
from zipimport import zipimporter

TYPE_CHECKING = False  # As type checkers know it; ``typing`` itself is slow to import.
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import CodeType
    from typing import Iterable, Sequence, Tuple, Union

    Loader = Union[SourceFileLoader, zipimporter]
    Stamp = Tuple[int, int]
    """(size in bytes, time of the last change in ns) of a file."""
    Stored = Tuple[str, bool, str, bytes]
    """A module's (``__file__``, whether it is a package, file to look at for changes, code as marshal writes it)."""

FOLDERS = (("app", "oneclick"), ("app", "packages"), ("python",))
"""Modules in these are kept. Not the engine's: which of its folders it comes from is decided anew at each start."""
_DIGEST_BYTES = 8


class ModuleCache:
    """Finds and loads modules; has its place in ``sys.meta_path`` before Python's own finder of files."""

    def __init__(self, root: str, file: str) -> None:
        """``root`` is the bundle's folder; ``file`` need not be there yet."""
        self._folders = tuple(os.path.join(root, *parts, "") for parts in FOLDERS)
        self.file = file
        self._modules: dict[str, Stored] = {}
        self._grew = False
        with suppress(OSError, ValueError, EOFError, TypeError):
            self._modules = _read(file)

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        """Return how to load the module, or None where nobody knows it."""
        stored = self._modules.get(name)
        if stored is not None:
            return self._spec(name, stored[0], stored[1], None)
        spec = PathFinder.find_spec(name, path)
        if spec is None or not isinstance(spec.loader, (SourceFileLoader, zipimporter)):
            return spec
        origin = os.path.abspath(spec.origin or "")
        if not origin.startswith(self._folders):
            return spec
        return self._spec(name, origin, spec.submodule_search_locations is not None, spec.loader)

    def _spec(self, name: str, origin: str, is_package: bool, usual: Loader | None) -> ModuleSpec | None:
        places = [os.path.dirname(origin)] if is_package else None
        loader = _CachedLoader(name, origin, self, usual)
        return spec_from_file_location(name, origin, loader=loader, submodule_search_locations=places)

    def code(self, name: str, origin: str, usual: Loader | None) -> CodeType:
        """Return the code of a module; ``usual`` loads it where it is not here yet."""
        stored = self._modules.get(name)
        if stored is not None or usual is None:
            loaded: CodeType = marshal.loads(self._modules[name][3])
            return loaded
        code = usual.get_code(name)
        if code is None:  # No module that has a file is without; the types allow it.
            raise ImportError(origin, name=name)
        watched = usual.archive if isinstance(usual, zipimporter) else origin
        self._modules[name] = (origin, usual.is_package(name), os.path.abspath(watched), marshal.dumps(code))
        self._grew = True
        return code

    def save(self) -> None:
        """Write the file if it lacks something; where it cannot be written the next start is as slow as this one."""
        if not self._grew:
            return
        self._grew = False
        modules = dict(self._modules)  # Another thread may be importing.
        content = marshal.dumps((_stamps(modules.values()), modules))
        own = f"{self.file}.{os.getpid()}"
        with suppress(OSError):
            os.makedirs(os.path.dirname(self.file), exist_ok=True)
            with open(own, "wb") as file:
                file.write(source_hash(content) + content)
            os.replace(own, self.file)
        with suppress(OSError):
            os.unlink(own)
        self._drop_others()

    def _drop_others(self) -> None:
        """Remove what another version, or this one in another place, left."""
        import shutil

        mine = os.path.dirname(self.file)
        with suppress(OSError):
            for entry in os.scandir(os.path.dirname(mine)):
                if entry.path != mine:
                    shutil.rmtree(entry.path, ignore_errors=True)


class _CachedLoader(SourceFileLoader):
    """Python's own loader, but for where the code comes from."""

    def __init__(self, name: str, path: str, cache: ModuleCache, usual: Loader | None) -> None:
        super().__init__(name, path)
        self._cache = cache
        self._usual = usual

    def get_code(self, fullname: str) -> CodeType:
        return self._cache.code(fullname, str(self.path), self._usual)


def _read(path: str) -> dict[str, Stored]:
    """Return a file's modules. Raises OSError, ValueError, EOFError or TypeError where it is missing or no use."""
    with open(path, "rb") as file:
        digest, content = file.read(_DIGEST_BYTES), file.read()
    # marshal trusts what it is given: a file that a power cut damaged must not get there.
    if source_hash(content) != digest:
        raise ValueError(path)
    modules: dict[str, Stored]
    stamps, modules = marshal.loads(content)
    if stamps != _stamps(modules.values()):
        raise ValueError(path)
    return modules


def _stamps(modules: Iterable[Stored]) -> dict[str, Stamp]:
    """Return size and time of the modules' files: a listing of each folder has them, which is one look, not twenty."""
    watched = {module[2] for module in modules}
    stamps = {}
    for folder in {os.path.dirname(path) for path in watched}:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.path in watched:
                    status = entry.stat()
                    stamps[entry.path] = (status.st_size, status.st_mtime_ns)
    return stamps


_installed: ModuleCache | None = None


def install(program: str) -> None:
    """Let imports from now on use the cache of ``program``; nothing where this is not an extracted bundle."""
    global _installed
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    with suppress(OSError):
        with open(os.path.join(root, "MANIFEST.json"), "rb") as manifest:
            key = source_hash(manifest.read() + os.fsencode(root) + MAGIC_NUMBER).hex()
        _installed = ModuleCache(root, os.path.join(root, "logs", "cache", key, program))
        sys.meta_path.insert(sys.meta_path.index(PathFinder), _installed)


def save() -> None:
    """Keep what this program has imported for its next start."""
    if _installed is not None:
        _installed.save()
