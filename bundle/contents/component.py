"""What a bundle is made of: components with their source, digest and licence, and which file comes from which."""

from __future__ import annotations

import email.parser
import posixpath
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from bundle.archive.foreign import BadArchive, read_zip

KINDS = ("python", "package", "engine", "library", "runtime", "web", "model", "payload")


@dataclass(frozen=True, kw_only=True)
class Component:
    """One thing that was made elsewhere (or our own payload) and of which files are in the bundle."""

    name: str
    version: str
    kind: str
    """One of KINDS."""
    licence: str
    """SPDX expression where its authors give one, else their words."""
    files: tuple[str, ...]
    """Names in the bundle, or globs (``*`` crosses folders), of what it brought."""
    source: str = ""
    """Where it was fetched: an address, or ``PyPI: file name``."""
    sha256: str = ""
    """Digest of what was fetched."""
    licence_texts: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """File name -> text, as its authors ship it; goes to ``licenses/``."""
    homepage: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.name}: kind {self.kind!r} is none of {KINDS}")

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(name for name in self.files if "*" not in name)

    def match(self, name: str) -> int:
        """How well ``name`` fits: 0 not at all, the length of the longest fitting glob, most for an exact name."""
        if name in self._names:
            return 1 << 16
        return max((len(glob) for glob in self.files if "*" in glob and fnmatchcase(name, glob)), default=0)


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Everything the manifest and the SBOM say about a bundle besides its files."""

    name: str
    version: str
    components: Sequence[Component]
    build: Mapping[str, object] = field(default_factory=dict)
    """Build inputs: digests of recipe and lock, engine kind and levels, versions of pinned tools. No times, no names
    of machines, nothing that differs between two builders."""

    def origin(self, name: str) -> Component | None:
        """The component that the file ``name`` comes from; None when nothing claims it."""
        best = max(self.components, key=lambda component: component.match(name), default=None)
        return best if best is not None and best.match(name) else None


def wheel_component(
    wheel: Path,
    folder: str,
    *,
    kind: str = "package",
    source: str = "",
    sha256: str = "",
) -> Component:
    """Describe what an installer puts into ``folder`` (``app/packages``) from ``wheel``, out of its own metadata.

    Raises BadArchive when it is no wheel.
    """
    with read_zip(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        metadata_name = next((name for name in names if _is_metadata(name)), None)
        if metadata_name is None:
            raise BadArchive(wheel, "it has no METADATA: it is no wheel")
        metadata = email.parser.BytesParser().parsebytes(archive.read(metadata_name))
        texts = _licence_texts(archive, names, posixpath.dirname(metadata_name))
    return Component(
        name=_field(metadata, "Name", wheel),
        version=_field(metadata, "Version", wheel),
        kind=kind,
        licence=licence_of(metadata),
        files=tuple(sorted(posixpath.join(folder, _installed_name(name)) for name in names)),
        source=source or f"PyPI: {wheel.name}",
        sha256=sha256,
        licence_texts=texts,
        homepage=_homepage(metadata),
    )


def _is_metadata(name: str) -> bool:
    folder, _, file = name.partition("/")
    return folder.endswith(".dist-info") and file == "METADATA"


def _field(metadata: Message, key: str, wheel: Path) -> str:
    value = metadata.get(key)
    if not value:
        raise BadArchive(wheel, f"its METADATA has no {key}")
    return str(value)


def _installed_name(name: str) -> str:
    """Where ``name`` lies after installation: ``x.data/purelib/`` and ``x.data/platlib/`` are unwrapped."""
    parts = name.split("/")
    if len(parts) > 2 and parts[0].endswith(".data") and parts[1] in ("purelib", "platlib"):
        return "/".join(parts[2:])
    return name


def licence_of(metadata: Message) -> str:
    """Licence from a wheel's METADATA: its SPDX expression, else its classifiers, else a short License field."""
    expression = metadata.get("License-Expression")
    if expression:
        return str(expression)
    classifiers = [
        str(value).split(" :: ")[-1]
        for value in metadata.get_all("Classifier", [])
        if str(value).startswith("License :: ") and not str(value).endswith("OSI Approved")
    ]
    named = str(metadata.get("License", "")).strip()
    if named and "\n" not in named and len(named) <= 60:
        return named
    return ", ".join(classifiers)


def _homepage(metadata: Message) -> str:
    if metadata.get("Home-page"):
        return str(metadata["Home-page"])
    for value in metadata.get_all("Project-URL", []):
        label, _, address = str(value).partition(",")
        if label.strip().lower() in ("homepage", "source", "repository", "source code", "github", "code"):
            return address.strip()
    return ""


def _licence_texts(archive: zipfile.ZipFile, names: Sequence[str], dist_info: str) -> dict[str, bytes]:
    """Licence files of a wheel: all in ``dist-info/licenses``, else those named like one anywhere in dist-info."""
    texts: dict[str, bytes] = {}
    for name in sorted(names):
        inside = name[len(dist_info) + 1 :] if name.startswith(f"{dist_info}/") else None
        if inside is not None and (inside.startswith(("licenses/", "license_files/")) or is_licence_name(inside)):
            flat = inside.split("/", 1)[-1].replace("/", "-")
            texts[flat] = archive.read(name)
    return texts


def is_licence_name(name: str) -> bool:
    """Whether a file called ``name`` holds a licence, by the names people use."""
    stem = posixpath.basename(name).lower()
    return stem.startswith(("license", "licence", "copying", "notice", "copyright", "authors", "unlicense"))
