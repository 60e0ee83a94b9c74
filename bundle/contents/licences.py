"""Collect the licence texts of everything in a bundle under ``licenses/``, with an index for people and programs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from packaging.utils import canonicalize_name

from bundle.contents.component import Component
from bundle.errors import AuditFailed

FOLDER = "licenses"
INDEX = "INDEX.md"

_HEAD = """# Licences

Everything in this folder's bundle, with the licence its authors chose and the file that holds its text.

| component | version | licence | texts | from |
|---|---|---|---|---|
"""
_ROW = re.compile(r"\| (?P<name>[^|]+) \| [^|]* \| [^|]* \| (?P<texts>[^|]*) \|")
_LINK = re.compile(r"\]\(<?([^)>]+)>?\)")


def collect_licenses(tree: Path, components: Iterable[Component]) -> list[str]:
    """Write ``tree``/licenses/<component>/<file> and ``INDEX.md``; return the names written, inside ``tree``.

    What lay in ``licenses`` before is removed. Raises AuditFailed naming every component that brings no licence text;
    only our own payload needs none.
    """
    known = sorted(components, key=lambda component: component.name.lower())
    missing = [component.name for component in known if not component.licence_texts and component.kind != "payload"]
    if missing:
        raise AuditFailed(
            f"no licence text for {', '.join(missing)}",
            why="what ships without its licence must not be passed on",
            do="add the text where the component is described (licence_texts)",
        )
    shutil.rmtree(tree / FOLDER, ignore_errors=True)
    written = []
    for component in known:
        for name, text in sorted(component.licence_texts.items()):
            path = tree / FOLDER / _folder(component) / _plain(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
            written.append(path.relative_to(tree).as_posix())
    (tree / FOLDER / INDEX).write_text(_HEAD + "".join(map(_row, known)), encoding="utf-8", newline="\n")
    return sorted([*written, f"{FOLDER}/{INDEX}"])


def _folder(component: Component) -> str:
    return re.sub(r"[^A-Za-z0-9.+_-]+", "-", component.name).strip("-.")


def _plain(name: str) -> str:
    """A file name that opens with a double-click on Windows: a text without a suffix gets one."""
    flat = re.sub(r"[^A-Za-z0-9.+_-]+", "-", name)
    return flat if "." in flat else f"{flat}.txt"


def _row(component: Component) -> str:
    folder = _folder(component)
    texts = ", ".join(f"[{_plain(name)}]({folder}/{_plain(name)})" for name in sorted(component.licence_texts))
    cells = (component.name, component.version, component.licence or "see text", texts, component.source)
    return "| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |\n"


def parse_index(text: str) -> dict[str, Sequence[str]]:
    """Canonical component name -> its licence texts, relative to ``licenses/``, from the text of INDEX.md."""
    index: dict[str, Sequence[str]] = {}
    for line in text.splitlines():
        row = _ROW.match(line)
        if row and row["name"] not in ("component", "---"):
            index[str(canonicalize_name(row["name"].strip()))] = _LINK.findall(row["texts"])
    return index
