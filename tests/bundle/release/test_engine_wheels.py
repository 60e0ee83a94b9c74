"""The engine's wheels beside the archive they are in: right ones only, with the line that makes builds take them."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import pytest

from bundle.cli.main import main
from bundle.engine.compile.inputs import input_digest
from bundle.engine.compile.write_wheel import write_wheel
from bundle.fetch.cache import Cache, default_cache_dir
from bundle.pin.engine import _pin, engine_request
from bundle.recipe.lock import EnginePin, lock_text, read_lock
from bundle.recipe.recipe import read_recipe
from tests.bundle.release.releases import archive_of
from tests.support.tiny_pe import AVX2_CODE, tiny_dll

MODULE = tiny_dll(["python310.dll"], code=AVX2_CODE)
METADATA = "Metadata-Version: 2.1\nName: chatglm-cpp\nVersion: 0.3.0+oneclick.1\n"
INSIDE = "chatglm_cpp/_C.cp310-win_amd64.pyd"


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default recipe in a folder of the test's own, with a lock that pins two small wheels which the cache has."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    default = read_recipe("chatglm3")
    lock, request = read_lock(default), engine_request(default, "3.10")
    pins = []
    cache = Cache(default_cache_dir())
    for level in request.levels:
        (tmp_path / level).mkdir()
        wheel = write_wheel(
            tmp_path / level,
            version="0.3.0+oneclick.1",
            tag="cp310",
            level=level,
            files={INSIDE: MODULE},
            metadata=METADATA,
        )
        pins.append(_pin(level, wheel))
        cache.add(pins[-1].file, wheel)
    made = EnginePin(inputs=input_digest(request, lock.digests), wheel=tuple(pins))
    (tmp_path / "mine.toml").write_bytes(default.path.read_bytes())
    (tmp_path / "mine.lock").write_text(lock_text(dataclasses.replace(lock, engine={"3.10": made})), encoding="utf-8")
    return tmp_path / "mine.toml"


def publish(tmp_path: Path, recipe: Path, module: bytes) -> Path:
    archive = archive_of(tmp_path, "new", {f"app/engine/avx2/{INSIDE}": module})
    assert main(["publish", str(archive.path), "--to", str(tmp_path / "out"), "--recipe", str(recipe)]) == 0
    return tmp_path / "out"


def test_the_wheels_lie_beside_the_archive_with_the_line_for_the_recipe(
    tmp_path: Path, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = publish(tmp_path, recipe, MODULE)
    names = [f"chatglm_cpp-0.3.0+oneclick.1-1{level}-cp310-cp310-win_amd64.whl" for level in ("avx", "avx2")]
    assert sorted(path.name for path in out.glob("*.whl")) == names
    listed = (out / "SHA256SUMS").read_text()
    assert all(name in listed for name in names)
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=out, check=True)
    said = capsys.readouterr().out
    assert "[mirrors.engine]" in said and 'world = ["https://' in said and "mine.toml" in said


def test_wheels_that_are_not_in_the_archive_stay_away_and_that_is_said(
    tmp_path: Path, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = publish(tmp_path, recipe, tiny_dll(["python310.dll"]))
    assert list(out.glob("*.whl")) == []
    told = capsys.readouterr()
    assert "[mirrors.engine]" not in told.out
    assert "the engine's wheels are not with it" in told.err
