"""The lock: exact files with digests and sizes, kept beside the recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

import tomli_w

from bundle.errors import UsageError
from bundle.recipe.recipe import Model, Recipe, from_toml, read_toml, unknown
from oneclick.download.files import BLOCK_BYTES

FORMAT = 1
HEADER = "# Written by `python build.py lock`: exact files and their digests. Edit the recipe, not this file.\n\n"


@dataclass(frozen=True, kw_only=True)
class PinnedFile:
    """One file, pinned so that every build gets the same bytes.

    It comes from a ``mirror`` of the recipe (an address that ``path`` is appended to) or from the
    PyPI ``project`` whose index lists it; one of the two is set.
    """

    name: str
    sha256: str
    """Digest of the whole file, lower-case hex."""
    size_bytes: int = 0
    """0 where only the digest is published."""
    mirror: str = ""
    path: str = ""
    project: str = ""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, kw_only=True)
class EngineWheel:
    """A wheel that compiling the engine gives, for one CPU level."""

    level: str
    name: str
    sha256: str
    size_bytes: int
    parts: str
    """Short digests of its parts, in order: they say where a compile begins to differ (engine/compile/parts.py)."""

    @property
    def file(self) -> PinnedFile:
        """The wheel as a mirror of engines serves it."""
        return PinnedFile(
            name=self.name, sha256=self.sha256, size_bytes=self.size_bytes, mirror="engine", path=quote(self.name)
        )


@dataclass(frozen=True, kw_only=True)
class EnginePin:
    """What compiling the engine for one Python gives, as long as it is made of the same ``inputs``."""

    inputs: str
    """Digest of everything that decides the wheels' bytes (engine/compile/inputs.py). Where it is another one, because
    somebody edits a patch, this pin says nothing: neither is a mirror asked nor a digest demanded."""
    wheel: tuple[EngineWheel, ...]
    """One for each CPU level, the best one first."""


@dataclass(frozen=True, kw_only=True)
class Lock:
    """All pinned files of one recipe."""

    format: int
    file: tuple[PinnedFile, ...]
    needs: Mapping[str, tuple[str, ...]]
    """What a build asks for -> names of files that give it, the first that can be had is taken."""
    packages: Mapping[str, tuple[str, ...]]
    """Minor Python version -> names of all wheels that ship for it."""
    blocks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """sha256 of a model -> digests of its blocks of 64 MiB, for models that somebody had at hand (``lock --model``)."""
    engine: Mapping[str, EnginePin] = field(default_factory=dict)
    """Minor Python version -> our own wheels of the engine (``lock --engine``)."""
    path: Path = field(default=Path(), metadata={"internal": True})

    def get(self, name: str) -> PinnedFile:
        """Return the pinned file called ``name``."""
        for pinned in self.file:
            if pinned.name == name:
                return pinned
        raise unknown("file", name, [pinned.name for pinned in self.file], where=self.path.name)

    @property
    def digests(self) -> dict[str, str]:
        """Name -> sha256 of every pinned file."""
        return {pinned.name: pinned.sha256 for pinned in self.file}

    def alternatives(self, need: str) -> list[PinnedFile]:
        """Return the files that satisfy ``need``, best first; empty where the lock has none."""
        return [self.get(name) for name in self.needs.get(need, ())]

    def wheels(self, python: str) -> list[PinnedFile]:
        """Return all wheels that ship for the minor version ``python``."""
        if python not in self.packages:
            raise unknown("Python", python, list(self.packages), where=self.path.name)
        return [self.get(name) for name in self.packages[python]]


def read_lock(recipe: Recipe) -> Lock:
    """Read the lock beside ``recipe``; UsageError where a file in it has no usable digest."""
    path = recipe.lock_path
    if not path.is_file():
        raise UsageError(
            f"{path.name} is missing",
            why="a build takes only files whose digest is pinned",
            do=f"run: python build.py lock --recipe {recipe.path.stem}",
        )
    lock = from_toml(Lock, read_toml(path), path.name)
    for pinned in lock.file:
        _check_pin(pinned, recipe, path)
    for engine in lock.engine.values():
        for wheel in engine.wheel:
            _check_pin(wheel.file, recipe, path)
    for model in recipe.models:
        _check_blocks(model, lock.blocks.get(model.sha256, ()), path)
    return Lock(**{**lock.__dict__, "path": path})


def with_blocks(recipe: Recipe, lock: Lock) -> Recipe:
    """Return ``recipe`` whose models carry the block digests of ``lock``."""
    models = (replace(model, block_sha256=lock.blocks.get(model.sha256, ())) for model in recipe.models)
    return replace(recipe, models=tuple(models))


def _check_pin(pinned: PinnedFile, recipe: Recipe, path: Path) -> None:
    """Refuse a file without a digest or without a place it can come from."""
    if not _is_digest(pinned.sha256) or pinned.size_bytes < 0:
        raise UsageError(
            f"{path.name}: {pinned.name} has no digest",
            why=f"its sha256 is {pinned.sha256!r}",
            do="run: python build.py lock",
        )
    if bool(pinned.project) == bool(pinned.mirror and pinned.path):
        raise UsageError(
            f"{path.name}: {pinned.name} has no source", why="it needs a project, or a mirror and a path", do="run lock"
        )
    if pinned.mirror and pinned.mirror not in recipe.mirrors:
        raise unknown("mirror", pinned.mirror, list(recipe.mirrors), where=recipe.path.name)


def _is_digest(text: str) -> bool:
    return len(text) == 64 and not set(text) - set("0123456789abcdef")


def _check_blocks(model: Model, blocks: Sequence[str], path: Path) -> None:
    """Refuse block digests that cannot be those of ``model``: with them no download would ever be right."""
    wanted = -(-model.size_bytes // BLOCK_BYTES)
    if blocks and (len(blocks) != wanted or not all(map(_is_digest, blocks))):
        raise UsageError(
            f"{path.name}: the block digests of {model.id} are of another file",
            why=f"{len(blocks)} are listed, a file of {model.size_bytes} bytes has {wanted} blocks of 64 MiB",
            do="delete them, or run: python build.py lock --model FILE",
        )


def lock_text(lock: Lock) -> str:
    """Return ``lock`` as TOML: sorted, so that two runs over the same facts give the same text."""
    files = sorted(lock.file, key=lambda pinned: pinned.name.lower())
    data: dict[str, object] = {
        "format": FORMAT,
        "needs": {need: list(names) for need, names in sorted(lock.needs.items())},
        "packages": {python: sorted(names) for python, names in sorted(lock.packages.items(), key=_by_version)},
        **({"blocks": {model: list(digests) for model, digests in sorted(lock.blocks.items())}} if lock.blocks else {}),
        **(
            {"engine": {python: asdict(pin) for python, pin in sorted(lock.engine.items(), key=_by_version)}}
            if lock.engine
            else {}
        ),
        "file": [{key: value for key, value in asdict(pinned).items() if value} for pinned in files],
    }
    return HEADER + tomli_w.dumps(data)


def _by_version(item: tuple[str, object]) -> tuple[int, ...]:
    return tuple(int(part) for part in item[0].split("."))
