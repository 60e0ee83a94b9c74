"""The plan: recipe, lock and options resolved for one build, everything checked before work begins."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bundle.errors import StorageError, UsageError
from bundle.recipe.lock import Lock, read_lock, with_blocks
from bundle.recipe.recipe import Model, Recipe, read_recipe, unknown

ROOT = Path(__file__).resolve().parent.parent
WHEEL_CHOICES = ("auto", "release", "compile")
SMALLEST_VOLUME_BYTES = 64_000_000
UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
"""As 7-Zip's -v option counts them."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one build does."""

    recipe: Recipe
    lock: Lock
    python: str
    """Minor version, such as ``3.10``."""
    wheel: str
    """``auto``, ``release``, ``compile``, or ``file``."""
    wheel_file: Path | None
    model: Model | None
    """The catalogue's entry that is packed."""
    model_file: Path | None
    """A model of the maintainer's own that is packed."""
    volume_bytes: int | None
    output: Path

    @property
    def archive(self) -> Path:
        return self.output / f"{self.recipe.name}.7z"

    def fingerprint(self) -> str:
        """Return a digest of everything that decides the archive's bytes: equal plans make equal archives.

        Which of several alternatives the cache or the network gives (release or compiled engine) is decided
        during the build and kept as long as the cache holds it.
        """
        digest = hashlib.sha256()
        options = {
            "python": self.python,
            "wheel": self.wheel,
            "wheel_file": _file_state(self.wheel_file),
            "model": self.model.id if self.model else None,
            "model_file": _file_state(self.model_file),
            "volume_bytes": self.volume_bytes,
        }
        digest.update(json.dumps(options, sort_keys=True).encode())
        for name, path in own_sources(self.recipe):
            digest.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()


def own_sources(recipe: Recipe, root: Path = ROOT) -> Iterator[tuple[str, Path]]:
    """Yield every file of the repository ``root`` that can change an archive, with its name there, in a fixed order.

    Of docs/ only the folder that ships.
    """
    yield from (("recipe", recipe.path), ("lock", recipe.lock_path))
    yield "requirements.txt", root / "requirements.txt"
    for folder in ("bundle", "payload", "templates", "docs/help"):
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(root).as_posix(), path


def _file_state(path: Path | None) -> list[object] | None:
    """Return what tells one version of a file from the next without reading gigabytes."""
    if path is None:
        return None
    state = path.stat()
    return [str(path.resolve()), state.st_size, state.st_mtime_ns]


def resolve_plan(
    *,
    recipe_name: str = "chatglm3",
    python: str | None = None,
    wheel: str = "auto",
    with_model: str | None = None,
    volume_size: str | None = None,
    output: Path = Path("dist"),
) -> Plan:
    """Turn options into a plan; UsageError or StorageError for anything that could not work, before any work."""
    recipe = read_recipe(recipe_name)
    lock = read_lock(recipe)
    recipe = with_blocks(recipe, lock)
    python = python or recipe.python.default
    if python not in recipe.python.versions:
        raise unknown("Python", python, list(recipe.python.versions), where=recipe.path.name)
    wheel_file = _wheel_file(wheel, python)
    model, model_file = _model(recipe, with_model)
    volume_bytes = parse_size(volume_size) if volume_size else None
    if volume_bytes is not None and volume_bytes < SMALLEST_VOLUME_BYTES:
        raise UsageError(
            f"--volume-size {volume_size} is too small",
            why="people would have to download dozens of parts",
            do="use at least 64m; 2g suits net disks and FAT32 sticks",
        )
    return Plan(
        recipe=recipe,
        lock=lock,
        python=python,
        wheel="file" if wheel_file else (recipe.engine.wheel if wheel == "auto" else wheel),
        wheel_file=wheel_file,
        model=model,
        model_file=model_file,
        volume_bytes=volume_bytes,
        output=_usable_output(output),
    )


def _wheel_file(wheel: str, python: str) -> Path | None:
    """Return the path when ``wheel`` is a file that fits, None when it is one of the words."""
    if wheel in WHEEL_CHOICES:
        return None
    path = Path(wheel)
    if path.suffix != ".whl":
        raise unknown("wheel", wheel, list(WHEEL_CHOICES), where="--wheel (or the path of a .whl file)")
    if not path.is_file():
        raise UsageError(f"{path} does not exist", why="--wheel names it", do="check the path")
    from bundle.engine.wheel import check_wheel

    with tempfile.TemporaryDirectory() as scratch:
        check_wheel(path, "cp" + python.replace(".", ""), Path(scratch) / "wheel")
    return path.resolve()


def _model(recipe: Recipe, with_model: str | None) -> tuple[Model | None, Path | None]:
    """Return the catalogue's entry or the file that ``--with-model`` names."""
    if not with_model:
        return None, None
    path = Path(with_model)
    if not path.is_file():
        return recipe.model(with_model), None
    from oneclick.errors import OneClickError
    from oneclick.model.header import read_header

    try:
        read_header(path)
    except OneClickError as error:
        raise UsageError(
            f"{path.name} is not a model this bundle can run", why=error.both()[1], do="choose a ChatGLM3 ggml file"
        ) from error
    return None, path.resolve()


def parse_size(text: str) -> int:
    """Return the bytes that ``2g``, ``700m`` or ``64000000`` mean, in 7-Zip's units (1g = 1024 MiB)."""
    match = re.fullmatch(r"(\d+)([kmg]?)b?", text.strip().lower())
    if not match:
        raise UsageError(f"{text!r} is not a size", why="expected a number and k, m or g", do="write it like 2g")
    return int(match[1]) * UNITS[match[2]]


def _usable_output(output: Path) -> Path:
    """Make the output folder and see that files can be written there."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        probe = output / ".writable"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise StorageError(
            f"nothing can be written to {output}", why=str(error), do="choose another folder with --output"
        ) from error
    return output.resolve()
