"""What the builder put into this folder: ``bundle.json``, the only thing that crosses from builder to payload."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import AbstractSet, Any, Mapping

from oneclick.errors import OneClickError

FORMAT = 1


@dataclass(frozen=True)
class EngineLevel:
    """One build of the engine for one kind of CPU."""

    name: str
    folder: str
    """Relative to the bundle's folder, with forward slashes."""
    requires: tuple[str, ...]
    """CPU features it executes without asking, e.g. ``("avx", "avx2", "fma", "f16c")``."""


@dataclass(frozen=True)
class Engine:
    """The chatglm_cpp build of this bundle; ``levels`` best first."""

    package: str
    version: str
    kind: str
    openblas: bool
    levels: tuple[EngineLevel, ...]

    def usable_levels(self, cpu_features: AbstractSet[str]) -> tuple[EngineLevel, ...]:
        """Return the levels a CPU with ``cpu_features`` can execute, best first."""
        return tuple(level for level in self.levels if set(level.requires) <= cpu_features)


@dataclass(frozen=True)
class CatalogueModel:
    """One model the maintainer knows, with its pins."""

    id: str
    title: Mapping[str, str]
    """``zh`` and ``en``."""
    file_name: str
    size_bytes: int
    sha256: str
    header_hex: str
    licence: str
    memory_bytes: int | None
    sources: tuple[Mapping[str, str], ...]
    block_sha256: tuple[str, ...] = ()
    """Digests of consecutive blocks of 64 MiB, empty where nobody has made them: damage then costs one block."""


@dataclass(frozen=True)
class Release:
    """Where people without a working download find the files; empty strings where there is no such place."""

    netdisk: str
    netdisk_code: str
    page: str
    public_key: str
    """In minisign's format; what updates are checked with. Empty: they are not signed."""


@dataclass(frozen=True)
class BundleInfo:
    """All of ``bundle.json``."""

    name: str
    version: str
    python: str
    engine: Engine
    models: tuple[CatalogueModel, ...]
    default_model: str
    release: Release

    def model(self, model_id: str) -> CatalogueModel | None:
        """Return the catalogue's entry named ``model_id``."""
        return next((model for model in self.models if model.id == model_id), None)


def read_bundle_info(path: Path) -> BundleInfo:
    """Read ``bundle.json`` at ``path``.

    Raises OneClickError when it is missing or damaged: the archive was extracted in part or a file was eaten.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']}")
        return parse_bundle_info(data)
    except FileNotFoundError as error:
        raise OneClickError("launcher.bundle_incomplete", name=path.name) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OneClickError("launcher.bundle_damaged", name=path.name, reason=repr(error)) from error


def parse_bundle_info(data: Mapping[str, Any]) -> BundleInfo:
    """Turn the JSON of ``bundle.json`` into dataclasses; KeyError or TypeError where it is not one."""
    engine = data["engine"]
    release = data.get("release") or {}
    return BundleInfo(
        name=data["name"],
        version=data["version"],
        python=data["python"],
        engine=Engine(
            package=engine["package"],
            version=engine["version"],
            kind=engine["kind"],
            openblas=bool(engine["openblas"]),
            levels=tuple(
                EngineLevel(level["name"], level["folder"], tuple(level["requires"])) for level in engine["levels"]
            ),
        ),
        models=tuple(_catalogue_model(model) for model in data["models"]),
        default_model=data["default_model"],
        release=Release(*(release.get(name, "") for name in ("netdisk", "netdisk_code", "page", "public_key"))),
    )


def _catalogue_model(data: Mapping[str, Any]) -> CatalogueModel:
    return CatalogueModel(
        id=data["id"],
        title=dict(data["title"]),
        file_name=data["file_name"],
        size_bytes=data["size_bytes"],
        sha256=data["sha256"],
        header_hex=data["header_hex"],
        licence=data["licence"],
        memory_bytes=data.get("memory_bytes"),
        sources=tuple(dict(source) for source in data["sources"]),
        block_sha256=tuple(data.get("block_sha256", ())),
    )
