"""One extraction and one prefix per code page for all double-click tests; each test gets a folder of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bundle.model.random_model import write_random_model
from bundle.windows.wine import WinePrefix
from tests.support.wine import Bundle, copy_of, extract

MakeBundle = Callable[..., Bundle]


@pytest.fixture(scope="session")
def extracted(built_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return extract(built_archive, tmp_path_factory.mktemp("extracted") / "x")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.bin"
    write_random_model(path, "tiny")
    return path


def _prefix(tmp_path_factory: pytest.TempPathFactory, locale: str) -> Iterator[WinePrefix]:
    with WinePrefix(tmp_path_factory.mktemp("wine") / "prefix", locale=locale) as prefix:
        keep_open(prefix)
        yield prefix


def keep_open(prefix: WinePrefix) -> None:
    """Let a program wait in ``prefix``: without one Wine's server ends, and a start meanwhile sees half a Windows."""
    prefix.start(["cmd", "/c", "pause"], cwd=prefix.folder)
    # The first to touch the desktop waits 10 s for it, as Wine has no screen here: that is not our program's doing.
    prefix.start(["rundll32", "user32.dll,GetDesktopWindow"], cwd=prefix.folder).wait()


@pytest.fixture(scope="session")
def chinese_windows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WinePrefix]:
    yield from _prefix(tmp_path_factory, "zh_CN.UTF-8")


@pytest.fixture(scope="session")
def english_windows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WinePrefix]:
    yield from _prefix(tmp_path_factory, "en_US.UTF-8")


@pytest.fixture
def make_bundle(
    extracted: Path, tiny_model: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[MakeBundle]:
    """Make a bundle in ``name`` with a model, on a Chinese or an English Windows; nothing may run afterwards."""
    made: list[Bundle] = []

    def make(
        name: str = "ChatGLM3_cpp", *, windows: str = "chinese_windows", model: Path | None = tiny_model
    ) -> Bundle:
        folder = copy_of(extracted, tmp_path / name)
        bundle = Bundle(folder, request.getfixturevalue(windows))
        if model is not None:
            bundle.put_model(model)
        made.append(bundle)
        return bundle

    yield make
    for bundle in made:
        assert_nothing_runs(bundle.prefix)


def assert_nothing_runs(prefix: WinePrefix, limit_s: float = 60.0) -> None:
    """Fail when a Python of the bundle is still there; end it, so that the next test is not blamed."""
    give_up = time.monotonic() + limit_s
    while prefix.pids_of("python.exe") and time.monotonic() < give_up:
        time.sleep(0.1)
    left = {pid: command for pid, command in prefix.processes().items() if "python.exe" in command}
    prefix.kill("python.exe")
    assert left == {}
