"""The engine as users get it: compiled by the builder, staged beside the bundle's Python, run by Windows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bundle.engine.stage import stage_engine
from bundle.fetch.cache import Cache, default_cache_dir
from bundle.fetch.sources import Sources
from bundle.log import Log
from bundle.model.random_model import write_random_model
from bundle.plan import resolve_plan
from bundle.windows.wine import WinePrefix, usable_locale
from tests.support.wine import extract

ROOT = Path(__file__).resolve().parents[3]
PROBE = Path(__file__).with_name("probe.py")

Probe = Callable[..., Any]


@pytest.fixture(scope="session")
def engine_bundle(built_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the archive's Python and both levels of the compiled engine."""
    done = subprocess.run(
        [sys.executable, ROOT / "build.py", "wheel", "--wheel", "compile"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    folder = tmp_path_factory.mktemp("engine")
    python = extract(built_archive, folder / "archive") / "python"
    python.rename(folder / "python")
    wheels = [Path(line) for line in done.stdout.splitlines()]
    plan = resolve_plan(output=folder / "dist")
    fetch = Sources(plan.recipe, plan.lock, Cache(default_cache_dir()), Log()).fetch
    stage_engine(wheels, folder, python_tag="cp310", python_dir=folder / "python", kind="compile", fetch=fetch)
    return folder


@pytest.fixture(scope="session")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WinePrefix]:
    with WinePrefix(tmp_path_factory.mktemp("wine") / "prefix", locale=usable_locale()) as prefix:
        prefix.start(["cmd", "/c", "pause"], cwd=prefix.folder)
        yield prefix


@pytest.fixture(scope="session")
def probe(engine_bundle: Path, windows: WinePrefix) -> Probe:
    """Run one job of probe.py with the engine of a CPU level: ``probe("avx2", "greedy", model)``."""

    def run(level: str, job: str, model: Path, *files: str, cwd: Path | None = None) -> Any:
        engine = engine_bundle / "app" / "engine"
        arguments = [str(engine / level), str(engine / "shared"), job, str(model), *files]
        program = windows.start(
            [str(engine_bundle / "python" / "python.exe"), "-X", "utf8", str(PROBE), *arguments],
            cwd=cwd or engine_bundle,
        )
        code = program.wait(240)
        assert code == 0, program.output
        return json.loads(program.output.strip().splitlines()[-1])

    return run


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """330 kB; eight ids speak far louder than the rest, so that rounding does not decide what is said."""
    path = tmp_path_factory.mktemp("model") / "tiny.bin"
    write_random_model(path, "tiny", padded_vocab=8)
    return path


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """13 MB, 8 layers; loud ids as in tiny_model."""
    path = tmp_path_factory.mktemp("model") / "small.bin"
    write_random_model(path, "small", padded_vocab=8)
    return path
