"""The static download page: what to download, on which PC it runs, how to start, how to check."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urljoin

from bundle.log import human_bytes
from bundle.release.files import Release, ReleaseFile
from bundle.stage.render import render_text
from oneclick.download.hubs import source_of

MEMORY_GB = 8
"""What the smallest model of the catalogue needs in practice; the launcher says it exactly for each PC."""


def render_page(release: Release) -> str:
    """Return the page as HTML that needs no other file and no network."""
    models = [_model(model) for model in release.bundle["models"]]
    default = next(model for model in models if model["id"] == release.bundle["default_model"])
    packed = any(file.path == default["file_name"] for file in release.manifest.files)
    disk_bytes = release.content_bytes + release.download_bytes + (0 if packed else default["size_bytes"])
    return render_text(
        "download_page.html.j2",
        release=release,
        total=human_bytes(release.download_bytes),
        files=[_file(file, release) for file in release.archive],
        patches=[{**_file(patch.file, release), "from": patch.from_version} for patch in release.patches],
        models=models,
        default=default,
        packed=packed,
        unpacked=human_bytes(release.content_bytes),
        disk_gb=-(-disk_bytes // 10**9) + 1,
        memory_gb=MEMORY_GB,
        needs_avx2=not any("avx2" not in level["requires"] for level in release.bundle["engine"]["levels"]),
        digests={file.sha256: file.name for file in (*release.archive, *(patch.file for patch in release.patches))},
        notes={language: release.notes.in_language(language) for language in ("zh", "en")},
    )


def _file(file: ReleaseFile, release: Release) -> dict[str, Any]:
    """What the template needs of one file; links of mirrors are those of the recipe's ``[release]``."""
    name = quote(file.name)
    mirrors = [(title, urljoin(base, name)) for title, base in release.recipe.release.mirrors.items()]
    return {
        "name": file.name,
        "href": name,
        "size": human_bytes(file.size_bytes),
        "size_bytes": file.size_bytes,
        "sha256": file.sha256,
        "mirrors": mirrors,
    }


def _model(model: dict[str, Any]) -> dict[str, Any]:
    links = [(source["name"], source_of(source).address()) for source in model["sources"]]
    return {**model, "size": human_bytes(model["size_bytes"]), "links": links}
