"""更新.bat on Windows: from one archive to the next, also when it is killed half-way, and small."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bundle.archive.write import write_archive
from bundle.contents.manifest import NAME, digest_of, dump, load
from bundle.release.patch import MadePatch, make_patch
from bundle.windows.wine import WindowsProgram
from tests.e2e.conftest import MakeBundle
from tests.support.wine import Bundle, extract, wait_until

pytestmark = pytest.mark.wine
LARGEST_SHARE = 0.05
ADDED, REMOVED = "app/oneclick/web/added.txt", "licenses/INDEX.md"


def next_release(extracted: Path, folder: Path) -> Path:
    """An archive like the built one, but with a newer payload, other .bat files and another python.exe."""
    tree = folder / "tree"
    shutil.copytree(extracted, tree)
    info = json.loads((tree / "bundle.json").read_text("utf-8"))
    (tree / "bundle.json").write_text(json.dumps({**info, "version": "9.9.9"}, ensure_ascii=False), "utf-8")
    for name, more in (
        ("一键运行.bat", b"rem another release\r\n"),
        ("app/oneclick/doors/run.py", b"# another release\n"),
        ("python/python.exe", bytes(8)),
    ):
        with (tree / name).open("ab") as file:
            file.write(more)
    (tree / ADDED).write_bytes(b"new")
    (tree / REMOVED).unlink()
    manifest = load((tree / NAME).read_bytes())
    payload = next(file.origin for file in manifest.files if file.path == "bundle.json")
    known = {file.path: file for file in manifest.files}
    known[ADDED] = replace(known["bundle.json"], path=ADDED, origin=payload)
    del known[REMOVED]
    files = []
    for path, file in sorted(known.items()):
        size_bytes, sha256 = digest_of(tree / path)
        files.append(replace(file, size_bytes=size_bytes, sha256=sha256))
    (tree / NAME).write_bytes(dump(replace(manifest, version="9.9.9", files=tuple(files))))
    every = [path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()]
    return write_archive(tree, folder / "ChatGLM3_cpp.7z", stored=every).path  # compressing it would take a minute


@pytest.fixture(scope="module")
def made(built_archive: Path, extracted: Path, tmp_path_factory: pytest.TempPathFactory) -> MadePatch:
    folder = tmp_path_factory.mktemp("next")
    return make_patch(built_archive, next_release(extracted, folder), folder / "patch")


def used_bundle(make_bundle: MakeBundle, made: MadePatch, tmp_path: Path, name: str) -> Bundle:
    """A bundle with the user's own model and settings, and the patch extracted over it."""
    bundle = make_bundle(name)
    bundle.replace("设置.toml", "threads = 1\n# 我的设置\n".encode())
    bundle.replace("logs/mine.txt", b"mine")
    patch = extract(made.archive.path, tmp_path / f"patch of {len(name)}")
    shutil.copytree(patch, bundle.folder, dirs_exist_ok=True)
    return bundle


def kept(bundle: Bundle) -> list[bytes]:
    files = [bundle.model, bundle.folder / "设置.toml", bundle.folder / "logs" / "mine.txt"]
    return [hashlib.sha256(path.read_bytes()).digest() for path in files]


def wrong_files(bundle: Bundle) -> list[str]:
    """Files that differ from the manifest that lies in the folder, but for the user's settings."""
    manifest = load((bundle.folder / NAME).read_bytes())
    wrong = [
        file.path
        for file in manifest.files
        if not (bundle.folder / file.path).is_file()
        or digest_of(bundle.folder / file.path) != (file.size_bytes, file.sha256)
    ]
    return [path for path in wrong if path != "设置.toml"]


def test_a_patch_of_our_own_files_is_small(built_archive: Path, made: MadePatch) -> None:
    assert made.archive.size_bytes <= LARGEST_SHARE * built_archive.stat().st_size


def test_a_double_click_updates_and_leaves_what_is_the_user_s(
    make_bundle: MakeBundle, made: MadePatch, tmp_path: Path
) -> None:
    bundle = used_bundle(make_bundle, made, tmp_path, "我的 软件(测试)&1!")
    before = kept(bundle)
    program = bundle.double_click(bat="更新.bat")
    program.wait_for("更新完成，现在是 9.9.9")
    program.press_enter()
    assert program.wait() == 0
    assert wrong_files(bundle) == [] and kept(bundle) == before
    assert (bundle.folder / ADDED).exists() and not (bundle.folder / REMOVED).exists()
    assert not (bundle.folder / "update").exists() and not (bundle.folder / "更新.bat").exists()
    with bundle.running("--port", "0") as running:
        assert "9.9.9" in running.program.output
        assert running.chat("你好")["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize("held", ["bundle.json", "python/python.exe"])
def test_killed_half_way_the_next_double_click_finishes_it(
    make_bundle: MakeBundle, made: MadePatch, tmp_path: Path, held: str
) -> None:
    """Another program holds one of the files, so that the update stands still there until it is killed."""
    bundle = used_bundle(make_bundle, made, tmp_path, f"{len(held)} 100% 好(1)")
    before = kept(bundle)
    journal = bundle.folder / "update" / "journal.json"
    holder = hold(bundle, held)
    program = bundle.double_click(bat="更新.bat")
    wait_until(lambda: list((bundle.folder / "update").glob("old/*")), lambda: program.output)
    bundle.prefix.kill("oneclick update")
    holder.press_enter()
    holder.wait()
    program.press_enter()
    program.wait()
    assert journal.exists()
    with bundle.running("--port", "0") as running:
        assert "9.9.9" in running.program.output
        assert wrong_files(bundle) == [] and kept(bundle) == before
        assert running.chat("你好")["usage"]["completion_tokens"] > 0
    assert not journal.exists()


def hold(bundle: Bundle, name: str) -> WindowsProgram:
    """Let another program read ``name`` until Enter is pressed: Windows then refuses to move it."""
    elsewhere = bundle.folder.parent / f"holder {len(name)}"
    shutil.copytree(bundle.folder / "python", elsewhere)
    path = os.path.relpath(bundle.folder / name, elsewhere)
    code = f"file = open({path!r}, 'rb'); print('held', flush=True); input()"
    holder = bundle.prefix.start([str(elsewhere / "python.exe"), "-X", "utf8", "-c", code], cwd=elsewhere)
    holder.wait_for("held")
    return holder


def test_in_a_wrong_folder_it_says_where_it_belongs(make_bundle: MakeBundle, made: MadePatch, tmp_path: Path) -> None:
    bundle = make_bundle(model=None)
    alone = Bundle(extract(made.archive.path, tmp_path / "alone"), bundle.prefix)
    program = alone.double_click(bat="更新.bat")
    program.wait_for("This patch belongs into the folder")
    program.press_enter()
    assert program.wait() == 9
