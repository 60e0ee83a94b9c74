"""Our engine by its pin: the same bytes from a mirror, the cache or a compile; anything else is told or refused."""

from __future__ import annotations

import dataclasses
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bundle.assemble import get_engine
from bundle.engine.compile import build, pinned
from bundle.engine.compile.inputs import input_digest
from bundle.engine.compile.parts import first_difference, wheel_parts
from bundle.engine.compile.pinned import our_engine, valid_pin, wanted_files
from bundle.engine.compile.write_wheel import write_wheel
from bundle.engine.request import EngineRequest, required_files
from bundle.errors import BundleError, DigestMismatch, SourceError
from bundle.fetch.cache import Cache
from bundle.fetch.sources import Sources
from bundle.log import Log
from bundle.pin import engine as pin_module
from bundle.pin.engine import engine_request, pin_engine, stale_pins
from bundle.plan import Plan, resolve_plan
from bundle.recipe.lock import EnginePin, Lock, lock_text, read_lock
from bundle.recipe.recipe import Mirror, Recipe, read_recipe, recipe_files
from tests.bundle.conftest import pin
from tests.support.bad_server import BadServer, status
from tests.support.tiny_pe import AVX2_CODE, tiny_dll

METADATA = "Metadata-Version: 2.1\nName: chatglm-cpp\nVersion: 0.3.0+oneclick.1\n"
RELEASE = "chatglm_cpp-0.3.0-cp310-cp310-win_amd64.whl"
NOBODY = "http://127.0.0.1:9/"
"""A port where nothing listens."""


def make_wheels(folder: Path, code: bytes = AVX2_CODE) -> list[Path]:
    """Two small wheels, as a compile of both levels gives them."""
    folder.mkdir(parents=True)
    module = tiny_dll(["kernel32.dll"], code=code)
    files = {"chatglm_cpp/_C.cp310-win_amd64.pyd": module, "chatglm_cpp/__init__.py": b"import sys\n"}
    return [
        write_wheel(folder, version="0.3.0+oneclick.1", tag="cp310", level=level, metadata=METADATA, files=files)
        for level in ("avx2", "avx")
    ]


class Builder:
    """A recipe and lock that pin two small wheels, a cache of its own, and a compiler that gives what it is told to."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.said, self.compiles = folder, io.StringIO(), 0
        self.log = Log(stream=self.said)
        self.recipe: Recipe = read_recipe("chatglm3")
        self.request: EngineRequest = engine_request(self.recipe, "3.10")
        self.right = make_wheels(folder / "right")
        self.compiled: list[Path] | BundleError = self.right
        self.lock = self.locked(read_lock(self.recipe))
        for module in (pinned, pin_module):
            monkeypatch.setattr(module, "build_engine", self._compile)

    def locked(self, lock: Lock, **changes: str) -> Lock:
        pins = tuple(map(pin_module._pin, self.request.levels, self.right))
        made = EnginePin(**{"inputs": input_digest(self.request, lock.digests), "wheel": pins, **changes})  # type: ignore[arg-type]
        return dataclasses.replace(lock, engine={"3.10": made})

    def _compile(self, *_: object, **__: object) -> list[Path]:
        self.compiles += 1
        if isinstance(self.compiled, BundleError):
            raise self.compiled
        return self.compiled

    def sources(self, *engines: str, github: str = NOBODY, offline: bool = False) -> Sources:
        mirrors = {"engine": Mirror(world=engines), "github": Mirror(world=(github,)), "pypi": Mirror(cn=(NOBODY,))}
        recipe = dataclasses.replace(self.recipe, mirrors=mirrors)
        return Sources(recipe, self.lock, Cache(self.folder / "cache"), self.log, mirrors="global", offline=offline)

    def engine(self, *engines: str) -> list[Path]:
        return our_engine(self.request, self.lock, self.sources(*engines), self.log)

    def plan(self) -> Plan:
        return dataclasses.replace(resolve_plan(output=self.folder / "dist"), lock=self.lock)


@pytest.fixture
def builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Builder:
    monkeypatch.setenv("PIP_INDEX_URL", NOBODY)
    return Builder(tmp_path, monkeypatch)


def serve(server: BadServer, wheels: list[Path], change: Callable[[bytes], bytes] = bytes) -> str:
    """Let ``server`` give ``wheels`` under their names; return the folder's address."""
    for wheel in wheels:
        url = server.page(f"/engines/{wheel.name}", change(wheel.read_bytes()))
    return url.rsplit("/", 1)[0] + "/"


def test_a_mirror_gives_the_pinned_wheels_and_nothing_is_compiled(builder: Builder, server: BadServer) -> None:
    got = builder.engine(serve(server, builder.right))
    assert [path.read_bytes() for path in got] == [path.read_bytes() for path in builder.right]
    assert [path.name for path in got] == [path.name for path in builder.right]
    assert builder.compiles == 0
    assert builder.engine() == got, "and from the cache without any mirror"
    assert not wanted_files(builder.request, builder.lock, builder.sources())[1:], "only OpenBLAS is still needed"


def test_a_mirror_with_another_wheel_is_named_and_the_next_one_asked(
    builder: Builder, server: BadServer, second: BadServer
) -> None:
    wrong, right = serve(server, builder.right, lambda data: data[:-1] + b"!"), serve(second, builder.right)
    got = builder.engine(wrong.replace("127.0.0.1", "localhost"), right)
    assert [path.read_bytes() for path in got] == [path.read_bytes() for path in builder.right]
    assert "localhost" in builder.said.getvalue()
    assert builder.compiles == 0


def test_mirrors_that_have_only_other_wheels_leave_the_compiler(builder: Builder, server: BadServer) -> None:
    assert builder.engine(serve(server, builder.right, lambda data: data[:-1] + b"!")) == builder.right
    assert builder.compiles == 1
    assert "our engine is compiled here: " in builder.said.getvalue()
    assert "is not the file the lock pins" in builder.said.getvalue()


def test_compile_asks_no_mirror(builder: Builder, server: BadServer) -> None:
    sources = builder.sources(serve(server, builder.right))
    assert our_engine(builder.request, builder.lock, sources, builder.log, mirrors=False) == builder.right
    assert not server.fetched()


def test_a_compile_that_gives_other_bytes_is_refused_with_tools_and_place(builder: Builder) -> None:
    builder.compiled = make_wheels(builder.folder / "other", AVX2_CODE[:-1] + b"\x90\xc3")
    with pytest.raises(DigestMismatch, match=r"_C\.cp310-win_amd64\.pyd \.text") as caught:
        builder.engine()
    assert caught.value.exit_code == 4
    assert "ziglang 0." in caught.value.why and "cmake 4." in caught.value.why
    assert "lock --engine" in caught.value.do
    with pytest.raises(DigestMismatch):
        get_engine(builder.plan(), builder.folder, builder.sources(), builder.log)


def test_a_pin_of_another_source_demands_nothing_and_is_told(builder: Builder, server: BadServer) -> None:
    builder.lock = builder.locked(builder.lock, inputs="0" * 64)
    builder.compiled = make_wheels(builder.folder / "other", AVX2_CODE + AVX2_CODE)
    assert builder.engine(serve(server, builder.right)) == builder.compiled
    assert not server.fetched()
    assert "the lock has no pin of our engine for Python 3.10 made of this source" in builder.said.getvalue()
    assert "lock --engine" in builder.said.getvalue()


def test_an_edited_patch_another_flag_or_another_file_is_another_source(
    builder: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, digests = builder.request, builder.lock.digests
    same = input_digest(request, digests)
    assert input_digest(request, {**digests, "unrelated.whl": "0" * 64}) == same
    assert input_digest(dataclasses.replace(request, python_dll=tmp_path / "elsewhere.dll"), digests) == same
    others = {input_digest(request, {**digests, file.name: "0" * 64}) for file in required_files(request)}
    others |= {
        input_digest(dataclasses.replace(request, **change), digests)
        for change in ({"levels": ("avx2",)}, {"openblas": False})
    }  # type: ignore[arg-type]
    (tmp_path / "0001.patch").write_text("--- a/x\n")
    monkeypatch.setattr("bundle.engine.compile.inputs.patch_files", lambda _version: [tmp_path / "0001.patch"])
    first = input_digest(request, digests)
    (tmp_path / "0001.patch").write_bytes(b"--- a/x\r\n")
    assert input_digest(request, digests) == first, "a checkout with other line ends is the same source"
    (tmp_path / "0001.patch").write_text("--- a/y\n")
    others |= {first, input_digest(request, digests)}
    assert same not in others and len(others) == len(required_files(request)) + 4


def test_a_broken_compiler_and_a_dead_mirror_leave_the_release_with_a_warning(
    builder: Builder, server: BadServer
) -> None:
    data = b"the official wheel"
    release = pin(RELEASE, data, mirror="github", path=f"releases/{RELEASE}")
    url = server.page(f"/releases/{RELEASE}", data)
    files = tuple(file for file in builder.lock.file if file.name != RELEASE)
    builder.lock = builder.locked(dataclasses.replace(builder.lock, file=(*files, release)))
    builder.compiled = BundleError("no compiler", why="the moon is full", do="wait")
    sources = builder.sources(NOBODY, github=url.removesuffix(f"releases/{RELEASE}"))
    (wheel,), kind = get_engine(builder.plan(), builder.folder, sources, builder.log)
    assert (wheel.read_bytes(), kind) == (data, "release")
    said = builder.said.getvalue()
    assert "WARNING: our engine cannot be had (no compiler)" in said and "needs AVX2" in said


def test_without_mirror_compiler_and_release_every_reason_is_told(builder: Builder, server: BadServer) -> None:
    builder.compiled = BundleError("no compiler", why="the moon is full", do="wait")
    address = serve(server, builder.right)
    server.page(f"/engines/{builder.right[0].name}", b"", status(404))
    with pytest.raises(SourceError) as caught:
        get_engine(builder.plan(), builder.folder, builder.sources(address), builder.log)
    assert caught.value.exit_code == 3
    for reason in ("the moon is full", "404", "the precompiled one: ", builder.right[0].name):
        assert reason in caught.value.why, reason


def test_what_is_pinned_is_written_read_and_valid(builder: Builder, tmp_path: Path) -> None:
    recipe = dataclasses.replace(builder.recipe, path=tmp_path / "mine.toml")
    recipe.lock_path.write_text(lock_text(builder.lock), encoding="utf-8")
    again = read_lock(recipe)
    assert again.engine == builder.lock.engine
    assert valid_pin(builder.request, again) == builder.lock.engine["3.10"]
    assert [wheel.file.path for wheel in again.engine["3.10"].wheel] == [
        f"chatglm_cpp-0.3.0%2Boneclick.1-1{level}-cp310-cp310-win_amd64.whl" for level in ("avx2", "avx")
    ]


def test_locking_pins_what_a_compile_gives_and_drops_what_is_of_no_use(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pin_module, "stage_python", lambda *_: None)
    monkeypatch.setattr(Sources, "fetch_any", lambda _self, need: (None, Path(need)))
    pins = builder.lock.engine
    empty = dataclasses.replace(builder.lock, engine={})
    recipe = dataclasses.replace(
        builder.recipe, python=dataclasses.replace(builder.recipe.python, versions={"3.10": "3.10.11"})
    )
    assert pin_engine(recipe, empty, builder.sources(), builder.log, anew=False).engine == pins
    assert pin_engine(recipe, builder.lock, builder.sources(), builder.log, anew=False).engine == pins
    assert builder.compiles == 1, "a valid pin is kept without compiling"
    builder.compiled = BundleError("no compiler", why="the moon is full", do="wait")
    assert pin_engine(recipe, builder.lock, builder.sources(), builder.log, anew=True).engine == pins
    stale = builder.locked(builder.lock, inputs="0" * 64)
    assert list(stale_pins(recipe, stale)) == [
        "the engine for Python 3.10 is pinned as another source makes it: build.py lock --engine"
    ]
    assert pin_engine(recipe, stale, builder.sources(), builder.log, anew=False).engine == {}
    assert "it has no pin: no compiler (the moon is full)" in builder.said.getvalue()


@pytest.mark.parametrize("name", [path.stem for path in recipe_files()])
def test_the_locks_of_this_repository_pin_the_engine_as_it_is_now(name: str) -> None:
    recipe = read_recipe(name)
    lock = read_lock(recipe)
    assert list(stale_pins(recipe, lock)) == []
    assert recipe.python.default in lock.engine


def test_the_first_difference_is_a_section_a_member_or_the_way_it_is_written(tmp_path: Path) -> None:
    wheel, _ = make_wheels(tmp_path / "a")
    expected = " ".join(wheel_parts(wheel).values())
    assert next(name for name in wheel_parts(wheel) if ".pyd " in name).endswith(".text")
    other = tmp_path / wheel.name
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as made:
        for member in source.namelist():
            made.writestr(member, source.read(member))
    assert first_difference(other, expected) == "the way the wheel is written, with the same parts in it"
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(other, "w") as made:
        for member in source.namelist():
            made.writestr(member, source.read(member) + (b"#" if member.endswith("__init__.py") else b""))
    assert first_difference(other, expected) == "chatglm_cpp/__init__.py"
    assert first_difference(wheel, expected + " 00000000").startswith("it has ")


def test_a_damaged_entry_of_the_cache_is_compiled_again(builder: Builder) -> None:
    folder = build.wheel_folder(builder.folder / "cache", input_digest(builder.request, builder.lock.digests))
    for level, wheel in zip(builder.request.levels, builder.right, strict=True):
        (folder / level).mkdir(parents=True)
        (folder / level / wheel.name).write_bytes(wheel.read_bytes())
    build._write_digests(folder)
    assert len(build.read_wheels(folder, builder.request)) == 2
    (folder / "avx" / builder.right[1].name).write_bytes(b"half")
    assert build.read_wheels(folder, builder.request) == []
