"""Small archives with everything a release needs, and releases made of them."""

from __future__ import annotations

import json
from pathlib import Path

from bundle.archive.write import ArchiveInfo, write_archive
from bundle.assemble import catalogue_entry
from bundle.recipe.recipe import Recipe, read_recipe
from tests.support.trees import pack, seal, stage

RECIPE = read_recipe("chatglm3")


def bundle_json(version: str = "1.0.0", **release: str) -> bytes:
    """bundle.json as the builder writes it, with the models of the default recipe."""
    data = {
        "format": 1,
        "name": "ChatGLM3_cpp",
        "version": version,
        "python": "3.10.11",
        "engine": {
            "package": "chatglm_cpp",
            "version": "0.3.0",
            "kind": "compile",
            "openblas": True,
            "levels": [{"name": "avx2", "folder": "app/engine/avx2", "requires": ["avx", "avx2"]}],
        },
        "models": [catalogue_entry(model) for model in RECIPE.models],
        "default_model": RECIPE.default_model,
        "release": {"netdisk": "", "netdisk_code": "", "page": "", **release},
    }
    return json.dumps(data, ensure_ascii=False).encode()


def archive_of(
    tmp_path: Path, name: str, extra: dict[str, bytes] | None = None, version: str = "1.0.0", **release: str
) -> ArchiveInfo:
    """An archive of the small tree with ``extra`` files, in a folder of its own called ``name``."""
    return pack(
        tmp_path / name,
        "ChatGLM3_cpp.7z",
        {"bundle.json": bundle_json(version, **release), "设置.toml": b"# port = 8000\r\n", **(extra or {})},
        version,
    )


def volumes_of(tmp_path: Path, name: str) -> ArchiveInfo:
    """An archive in two parts."""
    extra = {"bundle.json": bundle_json(), "large.dat": bytes(65 << 20)}
    tree = seal(stage(tmp_path / name / "tree", extra))
    return write_archive(tree, tmp_path / name / "ChatGLM3_cpp.7z", stored=["large.dat"], volume_size=64 << 20)


def recipe_with(**release: object) -> Recipe:
    """The default recipe with another ``[release]``."""
    import dataclasses

    return dataclasses.replace(RECIPE, release=dataclasses.replace(RECIPE.release, **release))  # type: ignore[arg-type]
