"""A release folder: everything in it, right digests, the same bytes again, nothing from a broken archive."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from bundle.check.verify import verify_archive
from bundle.cli.main import main
from bundle.errors import AuditFailed, StorageError, UsageError
from bundle.release import release
from bundle.release.previous import read_previous
from bundle.release.release import make_release
from tests.bundle.release.releases import RECIPE, archive_of, recipe_with, volumes_of


def state(folder: Path) -> dict[str, tuple[str, int]]:
    """name -> (sha256, modification time) of every file."""
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns) for path in folder.iterdir()
    }


def test_a_release_holds_everything_with_right_digests(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, "new")
    make_release(archive.path, tmp_path / "out", RECIPE)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    texts = {"index.html", "latest.json", "SHA256SUMS", "MANIFEST.json", "sbom.cdx.json"}
    assert names == {"ChatGLM3_cpp.7z", "release-notes.zh.md", "release-notes.en.md", *texts}
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path / "out", check=True)
    listed = (tmp_path / "out" / "SHA256SUMS").read_text().splitlines()
    assert {line.split("  ")[1] for line in listed} == names - {"SHA256SUMS", "latest.json"}
    assert verify_archive(tmp_path / "out" / "ChatGLM3_cpp.7z").sums_checked
    latest = json.loads((tmp_path / "out" / "latest.json").read_bytes())
    assert latest["archive"] == [
        {"name": "ChatGLM3_cpp.7z", "size_bytes": archive.size_bytes, "sha256": archive.sha256}
    ]
    manifest = (tmp_path / "out" / "MANIFEST.json").read_bytes()
    assert latest["manifest_sha256"] == hashlib.sha256(manifest).hexdigest() == archive.member_sha256["MANIFEST.json"]


def test_a_second_run_writes_nothing(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, "new")
    make_release(archive.path, tmp_path / "out", RECIPE)
    before = state(tmp_path / "out")
    make_release(archive.path, tmp_path / "out", RECIPE)
    assert state(tmp_path / "out") == before


def test_a_later_build_does_not_change_what_was_released(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, "new")
    make_release(archive.path, tmp_path / "out", RECIPE)
    before = state(tmp_path / "out")
    replacement = archive.path.with_name("other.7z")
    replacement.write_bytes(b"a later build")
    replacement.replace(archive.path)
    assert state(tmp_path / "out") == before


def test_volumes_are_released_as_they_are(tmp_path: Path) -> None:
    archive = volumes_of(tmp_path, "new")
    release = make_release(archive.path, tmp_path / "out", RECIPE)
    assert [file.name for file in release.archive] == ["ChatGLM3_cpp.7z.001", "ChatGLM3_cpp.7z.002"]
    assert [file.sha256 for file in release.archive] == list(archive.volume_sha256)
    page = (tmp_path / "out" / "index.html").read_text("utf-8")
    assert "共 2 个分卷" in page and 'certutil -hashfile "ChatGLM3_cpp.7z.002" SHA256' in page


def test_a_damaged_archive_is_not_released(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, "new")
    data = bytearray(archive.path.read_bytes())
    data[len(data) // 2] ^= 1
    archive.path.write_bytes(data)
    with pytest.raises(AuditFailed):
        make_release(archive.path, tmp_path / "out", RECIPE)
    assert not (tmp_path / "out").exists()


def test_links_of_the_recipe_are_on_the_page_and_escaped(tmp_path: Path) -> None:
    recipe = recipe_with(
        mirrors={"魔搭 & 友": "https://mirror.example/a b/"}, netdisk="https://pan.example/s/1", netdisk_code="<b>"
    )
    make_release(archive_of(tmp_path, "new").path, tmp_path / "out", recipe)
    page = (tmp_path / "out" / "index.html").read_text("utf-8")
    assert '<a href="https://mirror.example/a b/ChatGLM3_cpp.7z">魔搭 &amp; 友</a>' in page
    assert "https://pan.example/s/1" in page and "<code>&lt;b&gt;</code>" in page


@pytest.mark.parametrize("kept", ["archive", "manifest", "release"])
def test_notes_compare_with_whatever_was_kept_of_the_previous_release(tmp_path: Path, kept: str) -> None:
    old = archive_of(tmp_path, "old")
    make_release(old.path, tmp_path / "released", RECIPE)
    where = {
        "archive": old.path,
        "manifest": tmp_path / "released" / "MANIFEST.json",
        "release": tmp_path / "released",
    }
    new = archive_of(tmp_path, "new", {"app/oneclick/web/page.js": b"new"})
    make_release(new.path, tmp_path / "out", RECIPE, previous=read_previous(where[kept]))
    notes = (tmp_path / "out" / "release-notes.en.md").read_text("utf-8")
    assert "Compared with 1.0.0" in notes and "- The chat page changed\n" in notes
    assert ("→" in notes.splitlines()[-1]) == (kept != "manifest")


def test_a_previous_release_that_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"MANIFEST\.json cannot be read"):
        read_previous(tmp_path)


def test_the_command_makes_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = archive_of(tmp_path, "new")
    assert main(["publish", str(archive.path), "--to", str(tmp_path / "out"), "--message-zh", "第一版"]) == 0
    assert archive.sha256 in capsys.readouterr().out
    assert "- 第一版\n" in (tmp_path / "out" / "release-notes.en.md").read_text("utf-8")


def test_an_archive_that_changed_after_it_was_verified_is_not_released(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hard link has the source's bytes, whatever they are by now."""
    archive = archive_of(tmp_path, "new")
    real = release.render_page

    def change_meanwhile(*arguments: object) -> str:
        archive.path.write_bytes(archive.path.read_bytes()[:-1] + b"?")
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(release, "render_page", change_meanwhile)
    with pytest.raises(StorageError, match="changed while it was copied"):
        make_release(archive.path, tmp_path / "out", RECIPE)
    assert not (tmp_path / "out" / "latest.json").exists()
    assert not (tmp_path / "out" / "ChatGLM3_cpp.7z").exists()
