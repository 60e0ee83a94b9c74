"""Which engine a bundle gets, and what the maintainer hears of it."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest

from bundle import assemble
from bundle.assemble import get_engine
from bundle.engine.compile import pinned
from bundle.errors import BundleError, SourceError, UsageError
from bundle.log import Log
from bundle.plan import Plan, resolve_plan
from tests.bundle.conftest import MakeSources, pin

RELEASE = "chatglm_cpp-0.3.0-cp310-cp310-win_amd64.whl"


@pytest.fixture
def plan() -> Plan:
    """The default one, whose lock pins no engine of ours (tests/bundle/engine/test_pinned.py has those that do)."""
    plan = resolve_plan()
    return dataclasses.replace(plan, lock=dataclasses.replace(plan.lock, engine={}))


def broken(*_: object, **__: object) -> list[Path]:
    raise BundleError("no compiler", why="the moon is full", do="wait")


def test_our_own_build_is_the_default_whoever_has_a_release(
    plan: Plan, make_sources: MakeSources, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pinned, "build_engine", lambda *_, **__: [Path("ours.whl")])
    sources = make_sources(pin(RELEASE), needs={"release@3.10": (RELEASE,)}, world=("http://127.0.0.1:9/",))
    assert get_engine(plan, tmp_path, sources, Log(stream=io.StringIO())) == ([Path("ours.whl")], "compile")


def test_without_a_compiler_the_release_is_taken_and_said_to_be_less(
    plan: Plan, make_sources: MakeSources, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pinned, "build_engine", broken)
    told = io.StringIO()
    sources = make_sources(pin(RELEASE), needs={"release@3.10": (RELEASE,)})
    monkeypatch.setattr(sources, "fetch_any", lambda need: (pin(RELEASE), tmp_path / RELEASE))
    assert get_engine(plan, tmp_path, sources, Log(stream=told)) == ([tmp_path / RELEASE], "release")
    assert "WARNING: our engine cannot be had (no compiler)" in told.getvalue()
    assert "needs AVX2" in told.getvalue()


@pytest.mark.parametrize(("given", "fits"), [("3.10.11", True), ("3.10.10", False)])
def test_a_source_that_gives_another_python_than_planned_is_refused(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: str, fits: bool
) -> None:
    monkeypatch.setattr(assemble, "python_version", lambda _folder: given)
    if fits:
        assert assemble._python_as_planned(plan, tmp_path) == given
        return
    with pytest.raises(UsageError, match=r"asks for Python 3\.10\.11, and a source in its lock gives 3\.10\.10"):
        assemble._python_as_planned(plan, tmp_path)


def test_without_either_both_reasons_are_told(
    plan: Plan, make_sources: MakeSources, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pinned, "build_engine", broken)
    sources = make_sources(pin(RELEASE), needs={"release@3.10": (RELEASE,)}, world=("http://127.0.0.1:9/",))
    with pytest.raises(SourceError, match=r"the moon is full.*; the precompiled one: "):
        get_engine(plan, tmp_path, sources, Log(stream=io.StringIO()))
