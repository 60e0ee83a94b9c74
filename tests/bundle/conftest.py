"""A recipe and a lock that point at a local server, and a cache of the test's own."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bundle.fetch import pypi
from bundle.fetch.cache import Cache
from bundle.fetch.sources import Sources
from bundle.log import Log
from bundle.recipe.lock import Lock, PinnedFile
from bundle.recipe.recipe import Mirror, Recipe, read_recipe
from tests.support.bad_server import BadServer
from tests.support.language import english  # noqa: F401 - a fixture of all tests here

DATA = bytes(range(256)) * 400


@pytest.fixture
def server() -> Iterator[BadServer]:
    with BadServer() as running:
        yield running


@pytest.fixture
def second() -> Iterator[BadServer]:
    """Another host: a mirror that works when the first one does not."""
    with BadServer() as running:
        yield running


@pytest.fixture
def log() -> Log:
    return Log(stream=io.StringIO())


def pin(name: str, data: bytes = DATA, **source: str) -> PinnedFile:
    """Pin ``data`` under ``name``, from a mirror ``python`` unless told otherwise."""
    source = source or {"mirror": "python", "path": name}
    return PinnedFile(name=name, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data), **source)


MakeSources = Callable[..., Sources]


@pytest.fixture
def make_sources(tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> MakeSources:
    """Return a maker of Sources for ``files`` with mirrors of the test's own."""
    pypi.own_index.cache_clear()
    pypi.list_files.cache_clear()
    monkeypatch.delenv("UV_DEFAULT_INDEX", raising=False)
    monkeypatch.delenv("UV_INDEX_URL", raising=False)

    def make(
        *files: PinnedFile,
        world: tuple[str, ...] = (),
        cn: tuple[str, ...] = (),
        index: str = "http://127.0.0.1:9/simple/",
        needs: dict[str, tuple[str, ...]] | None = None,
        mirrors: str = "global",
        offline: bool = False,
    ) -> Sources:
        monkeypatch.setenv("PIP_INDEX_URL", index)
        monkeypatch.setenv("UV_INDEX_URL", index)
        recipe: Recipe = dataclasses.replace(
            read_recipe("chatglm3"), mirrors={"python": Mirror(world=world, cn=cn), "pypi": Mirror()}
        )
        lock = Lock(format=1, file=files, needs=needs or {}, packages={}, path=tmp_path / "mine.lock")
        return Sources(recipe, lock, Cache(tmp_path / "cache"), log, mirrors=mirrors, offline=offline)

    yield make
    pypi.own_index.cache_clear()
    pypi.list_files.cache_clear()
