"""Many bundles from one file: recipes x Pythons x engines x models, in shares that machines can divide among them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bundle.errors import UsageError
from bundle.plan import WHEEL_CHOICES
from bundle.recipe.recipe import RECIPES, from_toml, read_recipe, read_toml, unknown

MATRIX = RECIPES / "matrix.toml"
NO_MODEL = "none"


@dataclass(frozen=True, kw_only=True)
class Exclude:
    """Combinations that are left out; an empty field fits everything."""

    recipe: str = ""
    python: str = ""
    wheel: str = ""
    model: str = ""

    def fits(self, entry: Entry) -> bool:
        wanted = [(self.recipe, entry.recipe), (self.python, entry.python)]
        wanted += [(self.wheel, entry.wheel), (self.model, entry.model)]
        return all(mine in ("", its) for mine, its in wanted)


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """The file as it is written."""

    format: int
    recipe: tuple[str, ...]
    python: tuple[str, ...]
    wheel: tuple[str, ...]
    model: tuple[str, ...] = (NO_MODEL,)
    """Ids of the catalogue, or ``none``."""
    exclude: tuple[Exclude, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One bundle to build."""

    recipe: str
    python: str
    wheel: str
    model: str

    @property
    def name(self) -> str:
        """Name of its folder, such as ``chatglm3-py3.10-compile``."""
        parts = [self.recipe, f"py{self.python}", self.wheel]
        return "-".join(parts if self.model == NO_MODEL else [*parts, self.model])

    def arguments(self, output: Path) -> list[str]:
        """What a person types after ``python build.py`` to build just this one."""
        words = ["build", "--recipe", self.recipe, "--python", self.python, "--wheel", self.wheel]
        if self.model != NO_MODEL:
            words += ["--with-model", self.model]
        return [*words, "--output", (output / self.name).as_posix()]


def read_matrix(path: Path = MATRIX) -> list[Entry]:
    """Return every bundle of the matrix at ``path``, in a fixed order.

    Raises UsageError for a name that no recipe knows, for an exclusion that excludes nothing, and where nothing is
    left, before anything is built.
    """
    matrix = from_toml(Matrix, read_toml(path), path.name)
    if matrix.format != 1:
        raise UsageError(f"{path.name} has format {matrix.format}", why="this builder reads 1", do="update the builder")
    combinations = itertools.product(matrix.recipe, matrix.python, matrix.wheel, matrix.model)
    every = [Entry(recipe=r, python=p, wheel=w, model=m) for r, p, w, m in combinations]
    for exclude in matrix.exclude:
        if not any(exclude.fits(entry) for entry in every):
            raise UsageError(
                f"{path.name}: {exclude} excludes nothing", why="no combination fits it", do="correct or remove it"
            )
    entries = [entry for entry in every if not any(exclude.fits(entry) for exclude in matrix.exclude)]
    if not entries or len(set(entries)) != len(entries):
        raise UsageError(
            f"{path.name} gives nothing to build, or something twice", why="see its lists", do="correct them"
        )
    for entry in entries:
        _check(entry, path.name)
    return entries


def _check(entry: Entry, where: str) -> None:
    recipe = read_recipe(entry.recipe)
    if entry.python not in recipe.python.versions:
        raise unknown("Python", entry.python, list(recipe.python.versions), where=where)
    if entry.wheel not in WHEEL_CHOICES:
        raise unknown("wheel", entry.wheel, list(WHEEL_CHOICES), where=where)
    if entry.model != NO_MODEL:
        recipe.model(entry.model)


def share_of(entries: Sequence[Entry], share: str) -> list[Entry]:
    """Return the part of ``entries`` that share ``N/M`` builds: every Mth from the Nth on, so parts are even.

    Raises UsageError for a share that is none; one that is empty because M is large is an empty list.
    """
    found = re.fullmatch(r"(\d{1,4})/(\d{1,4})", share)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise UsageError(f"{share!r} is not a share", why="expected N/M with N from 1 to M", do="write it like 1/4")
    return list(entries[int(found[1]) - 1 :: int(found[2])])


def shares(entries: Sequence[Entry]) -> list[str]:
    """Return the shares with which every bundle gets a machine of its own: ``1/5``, ``2/5`` ..."""
    return [f"{number}/{len(entries)}" for number in range(1, len(entries) + 1)]
