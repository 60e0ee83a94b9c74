"""The page's libraries are the pinned packages, whole and with their licences."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bundle.pin.web_libraries import VENDOR, changed_files, integrity_of, read_pins, render_readme


def test_every_vendored_file_is_the_pinned_one() -> None:
    assert changed_files() == []


def test_every_library_brings_its_licence_and_is_listed() -> None:
    for package in read_pins():
        assert any(name.startswith("LICENSE") for name in package.files)
        row = f"| {package.name} | {package.version} | {package.licence} |"
        assert row in (VENDOR / "README.md").read_text(encoding="utf-8")
        assert package.integrity.startswith("sha512-")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(VENDOR, tmp_path / "vendor"))


def test_a_changed_a_missing_and_a_foreign_file_are_named(copied: Path) -> None:
    with (copied / "marked/lib/marked.esm.js").open("a") as file:
        file.write("//")
    (copied / "dompurify/LICENSE").unlink()
    (copied / "extra.js").write_text("")
    assert changed_files(copied) == [
        "dompurify/LICENSE is missing",
        "extra.js belongs to no package",
        "marked/lib/marked.esm.js is changed",
    ]


def test_the_readme_is_made_from_the_pins() -> None:
    assert (VENDOR / "README.md").read_text(encoding="utf-8") == render_readme(read_pins())


def test_integrity_is_written_as_npm_writes_it() -> None:
    # printf '' | openssl dgst -sha512 -binary | base64
    empty = "z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg=="
    assert integrity_of(b"") == f"sha512-{empty}"
