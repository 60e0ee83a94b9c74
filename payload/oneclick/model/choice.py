"""Choose the model among what lies in the folder: wishes first, then known names, then anything well-formed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Sequence

from oneclick.bundle_info import BundleInfo, CatalogueModel
from oneclick.errors import OneClickError
from oneclick.model.check import check_model, readable_versions
from oneclick.model.header import ModelHeader

KNOWN_NAMES = ("chatglm3-ggml.bin", "chatglm3-ggml-q4_0.bin", "chatglm-ggml.bin")
"""Names that the tutorial and the published uploads use."""


@dataclass(frozen=True)
class Wish:
    """A model that was asked for: a catalogue id, a file name in the folder, or a path."""

    source: str
    """``argument``, ``environment`` or ``settings``."""
    name: str


@dataclass(frozen=True)
class Model:
    """A complete model file that this bundle's engine can read."""

    path: Path
    header: ModelHeader
    size_bytes: int


@dataclass(frozen=True)
class Refused:
    """A file that was looked at and cannot be used."""

    path: Path
    error: OneClickError


def choose_model(root: Path, info: BundleInfo, wishes: Sequence[Wish] = ()) -> tuple[Model | None, tuple[Refused, ...]]:
    """Return the first usable model, and every file that was refused before it.

    A wish that cannot be followed is among the refused, and the search goes on with what the folder has.
    """
    refused: list[Refused] = []
    for path in candidates(root, info, wishes):
        if any(path == earlier.path for earlier in refused):
            continue
        try:
            return inspect_model(path, info), tuple(refused)
        except OneClickError as error:
            refused.append(Refused(path, error))
    return None, tuple(refused)


def candidates(root: Path, info: BundleInfo, wishes: Sequence[Wish] = ()) -> Iterator[Path]:
    """Yield the files that may be the model, the likeliest first; a wished one even when it is not there.

    A browser's second download (``chatglm3-ggml (1).bin``) and a renamed file come last, the largest first.
    """
    for wish in wishes:
        yield wished_path(root, info, wish.name)
    known = [root / name for name in names_to_look_for(info) if (root / name).exists()]
    yield from known
    others = [path for path in root.glob("*.bin") if path.is_file() and path not in known]
    yield from sorted(others, key=lambda path: -path.stat().st_size)


def wished_path(root: Path, info: BundleInfo, name: str) -> Path:
    """Return the file that ``name`` means: a catalogue id's, else ``name`` itself as seen from ``root``."""
    entry = info.model(name)
    return root / (entry.file_name if entry else name)


def names_to_look_for(info: BundleInfo) -> tuple[str, ...]:
    """Return the file names that are models by their name, the default model's first."""
    default = info.model(info.default_model)
    names = [default.file_name] if default else []
    names += [*KNOWN_NAMES, *(model.file_name for model in info.models)]
    return tuple(dict.fromkeys(names))


def inspect_model(path: Path, info: BundleInfo) -> Model:
    """Return what the file ``path`` is. Raises OneClickError("model.…") when the engine cannot use it."""
    engine = info.engine
    header = check_model(
        path, engine=f"{engine.package} {engine.version}", readable_versions=readable_versions(engine.version)
    )
    return Model(path, header, path.stat().st_size)


def catalogue_entry(info: BundleInfo, digest: str) -> CatalogueModel | None:
    """Return the catalogue's model with this sha256."""
    return next((model for model in info.models if model.sha256 == digest), None)


def claims_to_be_known(model: Model, info: BundleInfo) -> bool:
    """Tell whether a model has size and first bytes of a known one, so that another digest means damage.

    Fine-tuned models of the same shape look the same at the start; only a file under the known one's own name is
    held to the known digest.
    """
    with model.path.open("rb") as file:
        start = file.read(64).hex()
    return any(
        entry.file_name == model.path.name
        and entry.size_bytes == model.size_bytes
        and start.startswith("".join(entry.header_hex.split()))
        for entry in info.models
    )
