"""The PC check and a chat on Windows versions that Wine plays: the build decides what is believed of the processor."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bundle.windows.wine import WinePrefix
from oneclick.pc.machine import FIRST_BUILD_THAT_KNOWS_AVX2
from tests.e2e.conftest import assert_nothing_runs, keep_open
from tests.support.build_py import build_py
from tests.support.wine import Bundle, copy_of

pytestmark = pytest.mark.wine

ASK = (
    "import json; from oneclick.pc import machine; cpu = machine.cpu(); windows = machine.windows_version(); "
    "print(json.dumps([windows.name, windows.build, cpu.certain, sorted(cpu.features)]))"
)
Played = tuple[str, WinePrefix]
"""Name that people use, and a Windows of one of its builds."""
BUILDS = {"Windows 10": (17763, 19045), "Windows 11": (22631,)}


def windows_of(folder: Path, **version: Any) -> Iterator[WinePrefix]:
    with WinePrefix(folder / "prefix", **version) as prefix:
        keep_open(prefix)
        yield prefix


@pytest.fixture(scope="module", params=[(name, build) for name, builds in BUILDS.items() for build in builds], ids=str)
def played(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, WinePrefix]]:
    """(name that people use, Windows of that build)"""
    name, build = request.param
    for prefix in windows_of(tmp_path_factory.mktemp("wine"), build=build):
        yield name, prefix


def bundle_on(prefix: WinePrefix, extracted: Path, model: Path, folder: Path) -> Bundle:
    bundle = Bundle(copy_of(extracted, folder / "ChatGLM3_cpp"), prefix)
    bundle.put_model(model)
    return bundle


def said_of_this_pc(bundle: Bundle) -> list[Any]:
    """[name, build, whether what the processor lacks is certain, its features], asked in the bundle's Python."""
    python = str(bundle.folder / "python" / "python.exe")
    run = bundle.prefix.start([python, "-X", "utf8", "-c", ASK], cwd=bundle.folder)
    run.press_enter()
    assert run.wait() == 0, run.output
    return list(json.loads(run.output.strip().splitlines()[-1]))


def diagnosis(bundle: Bundle) -> str:
    program = bundle.double_click(bat="环境诊断.bat")
    program.wait_for("诊断报告.txt")
    program.press_enter()
    assert program.wait() == 0, program.output
    return program.output


def test_the_check_lets_this_pc_pass_and_it_chats(
    played: Played, extracted: Path, tiny_model: Path, tmp_path: Path
) -> None:
    name, prefix = played
    bundle = bundle_on(prefix, extracted, tiny_model, tmp_path)
    told, build, certain, features = said_of_this_pc(bundle)
    assert (told, build) == (name, prefix.build)
    assert certain == (prefix.build >= FIRST_BUILD_THAT_KNOWS_AVX2)
    report = diagnosis(bundle)
    assert name in report and str(prefix.build) in report
    with bundle.running("--port", "0") as running:
        assert running.chat("你好")["usage"]["completion_tokens"] > 0
        assert running.get("/status")["engine"]["level"] == ("avx2" if "avx2" in features else "avx")
    assert_nothing_runs(prefix)


def test_windows_7_is_told_that_the_bundle_is_made_for_later_ones(
    extracted: Path, tiny_model: Path, tmp_path: Path
) -> None:
    for prefix in windows_of(tmp_path / "wine", version="win7"):
        bundle = bundle_on(prefix, extracted, tiny_model, tmp_path)
        assert said_of_this_pc(bundle)[:2] == ["Windows 7", 7601]
        assert "Windows 7" in diagnosis(bundle)


def test_the_smoke_test_can_be_told_a_build(built_archive: Path) -> None:
    done = build_py("smoke", built_archive, "--windows-build", "22631")
    assert done.returncode == 0, done.stderr
    assert "passed on Wine (code page" in done.stdout and "build 22631)" in done.stdout
