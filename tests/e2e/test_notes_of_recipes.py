"""Release notes between the bundles of two recipes: exactly the true differences."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from bundle.check.verify import read_contents
from bundle.contents.manifest import Manifest
from bundle.recipe.recipe import read_recipe
from bundle.release.notes import write_notes


def as_the_other_recipe_has_it(manifest: Manifest) -> Manifest:
    """The manifest of the finished archive with what chatglm3-0.4 says otherwise: engine, CPUs, no OpenBLAS, name.

    Its engine would compile for minutes; the notes see versions, origins and digests, and all of those are real here.
    """
    other = read_recipe("chatglm3-0.4")
    files = tuple(
        dataclasses.replace(file, sha256="0" * 64)
        if file.origin == "chatglm_cpp" or file.path == "bundle.json"
        else file
        for file in manifest.files
        if file.origin != "OpenBLAS" and "/engine/avx/" not in file.path
    )
    components = tuple(
        {**item, "version": other.engine.version} if item["name"] == other.engine.package else item
        for item in manifest.components
        if item["name"] != "OpenBLAS"
    )
    return dataclasses.replace(manifest, name=other.name, files=files, components=components)


def test_the_notes_between_two_recipes_name_what_differs_and_nothing_else(built_archive: Path) -> None:
    _, before = read_contents(built_archive)
    after = as_the_other_recipe_has_it(before)
    engine = next(item["version"] for item in before.components if item["name"] == "chatglm_cpp")
    openblas = next(item["version"] for item in before.components if item["name"] == "OpenBLAS")
    there, back = (
        write_notes(*pair, download_bytes=1, download_bytes_before=2).in_language("en")
        for pair in ((after, before), (before, after))
    )
    assert there[:-2] == [
        f"Engine chatglm_cpp {engine} → 0.4.2",
        "Version data or the list of models was updated",
        f"Libraries: OpenBLAS {openblas} (removed)",
    ]
    assert back[:-2] == [
        f"Engine chatglm_cpp 0.4.2 → {engine}",
        "Version data or the list of models was updated",
        f"Libraries: OpenBLAS {openblas} (new)",
    ]
    assert there[-2].startswith("Unpacked ") and there[-1] == "Download size 2 B → 1 B"
