"""What weighs in a bundle: by component, unpacked and in the archive."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from bundle.archive.read import ArchiveReader
from bundle.contents.manifest import MAX_BYTES, NAME, load, tree_files
from bundle.errors import UsageError
from bundle.log import human_bytes


@dataclass(frozen=True, kw_only=True)
class Weight:
    """One component or file."""

    name: str
    files: int
    size_bytes: int
    packed_bytes: int | None
    """Its share of the archive; None for a tree that is not packed."""

    def line(self) -> str:
        """The weight for people."""
        packed = f"{human_bytes(self.packed_bytes):>10} packed" if self.packed_bytes is not None else ""
        return f"{human_bytes(self.size_bytes):>10} {packed:>17} {self.files:>5} files  {self.name}"


@dataclass(frozen=True, kw_only=True)
class SizeReport:
    """Everything in a bundle, heaviest first."""

    total: Weight
    components: tuple[Weight, ...]
    largest_files: tuple[Weight, ...]

    def lines(self) -> list[str]:
        """The report for people."""
        return [
            *(weight.line() for weight in self.components),
            self.total.line(),
            "largest files:",
            *(f"  {weight.line()}" for weight in self.largest_files),
        ]

    def to_json(self) -> dict[str, object]:
        """The report for programs."""
        return {
            "total": self.total.__dict__,
            "components": [weight.__dict__ for weight in self.components],
            "largest_files": [weight.__dict__ for weight in self.largest_files],
        }


def size_report(path: Path, *, largest: int = 15) -> SizeReport:
    """Weigh the staged tree, the archive or the volumes at ``path``.

    A member's share of a solid archive is what had to be read to get it: exact to about 4 kB.
    """
    weights, manifest = _weigh_tree(path) if path.is_dir() else _weigh_archive(path)
    if not weights:
        raise UsageError(f"{path} holds nothing", why="there is no file in it", do="check the path")
    owner = _owners(manifest)
    groups: dict[str, list[Weight]] = defaultdict(list)
    for weight in weights:
        groups[owner(weight.name)].append(weight)
    components = [_sum(name, group) for name, group in groups.items()]
    return SizeReport(
        total=_sum("all", weights),
        components=tuple(sorted(components, key=_heaviest)),
        largest_files=tuple(sorted(weights, key=_heaviest)[:largest]),
    )


def _weigh_tree(tree: Path) -> tuple[list[Weight], bytes | None]:
    weights = [
        Weight(name=file.relative_to(tree).as_posix(), files=1, size_bytes=file.stat().st_size, packed_bytes=None)
        for file in tree_files(tree)
    ]
    manifest = tree / NAME
    return weights, manifest.read_bytes() if manifest.is_file() else None


def _weigh_archive(path: Path) -> tuple[list[Weight], bytes | None]:
    weights, manifest = [], None
    with ArchiveReader(path, chunk_bytes=4096) as archive:
        read = 0
        for entry, content in archive.members():
            name = entry.name.partition("/")[2]
            keep = name == NAME and entry.size_bytes <= MAX_BYTES
            kept = b"".join(content) if keep else b""
            for _ in content:
                pass
            manifest = kept if keep else manifest
            packed, read = archive.packed_bytes_read - read, archive.packed_bytes_read
            weights.append(Weight(name=name, files=1, size_bytes=entry.size_bytes, packed_bytes=packed))
    return weights, manifest


def _owners(manifest: bytes | None) -> Callable[[str], str]:
    """File name -> what it belongs to: the manifest's word, else its folder."""
    origins = {file.path: file.origin for file in load(manifest).files} if manifest else {}
    return lambda name: origins.get(name) or _folder(name)


def _folder(name: str) -> str:
    """``app/packages/click`` for everything of click, ``python`` for everything of Python ..."""
    parts = name.split("/")
    depth = {"app/packages": 3, "app/engine": 3}.get("/".join(parts[:2]), 2 if parts[0] == "app" else 1)
    return "/".join(parts[:depth]) if len(parts) > 1 else name


def _sum(name: str, weights: Iterable[Weight]) -> Weight:
    group = list(weights)
    packed = [weight.packed_bytes for weight in group if weight.packed_bytes is not None]
    return Weight(
        name=name,
        files=len(group),
        size_bytes=sum(weight.size_bytes for weight in group),
        packed_bytes=sum(packed) if len(packed) == len(group) else None,
    )


def _heaviest(weight: Weight) -> tuple[int, str]:
    return -(weight.size_bytes if weight.packed_bytes is None else weight.packed_bytes), weight.name
