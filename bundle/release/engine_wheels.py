"""The engine's wheels that an archive was made of, to be published beside it for other people's builds."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

from bundle.engine.compile.pinned import find_wheels
from bundle.engine.request import PACKAGE
from bundle.fetch.sources import Sources
from bundle.pin.engine import engine_request
from bundle.recipe.lock import read_lock
from bundle.recipe.recipe import Recipe
from bundle.release.files import Release


def engine_wheels(release: Release, sources: Sources) -> dict[Path, str]:
    """Return our wheels in the archive of ``release`` as the cache holds them (path -> the digest that the lock pins).

    None where the archive has another engine, or wheels that are not pinned, or the cache lacks one: a wheel that
    nobody's lock demands is of no use to anybody.
    """
    recipe, exact = release.recipe, release.bundle["python"]
    python = ".".join(exact.split(".")[:2])
    if release.bundle["engine"]["kind"] != "compile" or recipe.python.versions.get(python) != exact:
        return {}
    lock = read_lock(recipe)
    wheels = find_wheels(engine_request(recipe, python), lock, sources)
    shipped = {file.sha256 for file in release.manifest.files if file.path.endswith(".pyd")}
    if not wheels or not all(_module_digest(wheel) in shipped for wheel in wheels):
        return {}
    return {path: pinned.sha256 for path, pinned in zip(wheels, lock.engine[python].wheel, strict=True)}


def _module_digest(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as opened:
        (module,) = [name for name in opened.namelist() if name.startswith(f"{PACKAGE}/_C.") and name.endswith(".pyd")]
        return hashlib.sha256(opened.read(module)).hexdigest()


def mirror_lines(address: str, recipe: Recipe) -> list[str]:
    """Return what a maintainer adds to the recipe once the wheels can be had from the folder ``address``."""
    return [
        f"engine: its wheels are there too; builds take them instead of compiling with this in {recipe.path.name}:",
        "        [mirrors.engine]",
        f'        world = ["{address}"]',
    ]
