"""A patch turns A into B; whatever interrupts it, the folder is A or B in the end, the user's files as they were."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bundle.archive.write import ArchiveInfo
from bundle.cli.main import main
from bundle.errors import UsageError
from bundle.release.patch import MadePatch, make_patch
from bundle.release.sign import read_signer
from oneclick.errors import OneClickError
from oneclick.update.apply import PLANTED
from oneclick.update.patch import read_patch
from tests.bundle.release.releases import archive_of, bundle_json
from tests.payload.update.test_signature import make_key
from tests.support.wine import extract

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
KILLING = Path(__file__).with_name("killing.py")
PAYLOAD = {
    f"app/oneclick/{path.relative_to(ROOT / 'payload' / 'oneclick').as_posix()}": path.read_bytes()
    for path in sorted((ROOT / "payload" / "oneclick").rglob("*.py"))
    if not {"server", "web", "__pycache__", "download"} & set(path.parts)
}
CHATS = {"对话/你好 0123456789abcdef01234567.md": b"# ...", "对话/回收站/a.md": b"deleted"}
USERS = {"chatglm3-ggml.bin": b"the user's model", "设置.toml": b"port = 9000\n", "logs/mine.txt": b"a log", **CHATS}


@dataclass
class Pair:
    """Two releases, extracted once, and the patch between them."""

    a: Path
    b: Path
    made: MadePatch
    patch: Path
    """The patch, extracted."""

    def folder(self, target: Path) -> Path:
        """A used folder of release A with the patch extracted over it. Hard links: files are moved, never edited."""
        shutil.copytree(self.a, target, copy_function=os.link)
        shutil.copytree(self.patch, target, copy_function=os.link, dirs_exist_ok=True)
        for name, content in USERS.items():
            (target / name).unlink(missing_ok=True)
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(content)
        return target


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    tmp_path = tmp_path_factory.mktemp("pair")
    old, new = archives(tmp_path)
    made = make_patch(old.path, new.path, tmp_path / "patches")
    return Pair(
        a=extract(old.path, tmp_path / "a"),
        b=extract(new.path, tmp_path / "b"),
        made=made,
        patch=extract(made.archive.path, tmp_path / "p"),
    )


def archives(tmp_path: Path) -> tuple[ArchiveInfo, ArchiveInfo]:
    """A and B: files changed, added in a new folder, removed with their folder, and other default settings."""
    common = {**PAYLOAD, "python/python.exe": b"MZ" + bytes(3000), "app/table.bin": bytes(100)}
    old = archive_of(tmp_path, "old", {**common, "app/gone/a.py": b"1", "使用说明.html": b"old", "设置.toml": b"# 1"})
    changes = {
        "app/new/deep/b.txt": b"new",
        "使用说明.html": b"new",
        "设置.toml": b"# 2",
        "python/python.exe": b"MZ" + bytes(3001),
        "app/table.bin": b"1" * 100,
        "bundle.json": bundle_json().replace(b'"version": "1.0.0"', b'"version": "1.1.0"'),
    }
    return old, archive_of(tmp_path, "new", {**common, **changes})


def contents(folder: Path) -> dict[str, str]:
    """Path -> digest of everything but what the update and the log leave, and the user's own files."""
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
        for name in [path.relative_to(folder).as_posix()]
        if not name.startswith(("update/", "logs/")) and name not in (*USERS, "更新.bat")
    }


def users_files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in USERS}


def run(folder: Path, step: str, die_at: int = 0) -> subprocess.CompletedProcess[str]:
    """One step of 更新.bat, killed before its ``die_at``-th change."""
    app = folder / ("update/runner/app" if step == "apply" else "app")
    environment = {**os.environ, "PYTHONPATH": str(app), "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8"}
    if not (app / "oneclick").is_dir():
        raise AssertionError("there is nothing that could go on")
    return subprocess.run(
        [sys.executable, "-S", KILLING, str(die_at), str(folder), "update", step],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def update_like_the_bat(folder: Path) -> None:
    """What every .bat does while the journal is there, until it is gone."""
    for _ in range(3):
        if not (folder / "update" / "journal.json").exists():
            return
        run(folder, "apply")
    raise AssertionError("the journal stays")


def prepared(pair: Pair, target: Path) -> Path:
    folder = pair.folder(target)
    done = run(folder, "prepare")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_a_patch_makes_exactly_b_and_leaves_the_user_s_files(pair: Pair, tmp_path: Path) -> None:
    folder = prepared(pair, tmp_path / "x")
    assert contents(folder) == contents(pair.a)
    done = run(folder, "apply")
    assert done.returncode == 0 and "1.0.0" in done.stdout, done.stdout + done.stderr
    assert contents(folder) == contents(pair.b) != contents(pair.a)
    assert users_files(folder) == USERS
    assert not (folder / "app" / "gone").exists()
    assert {path.name for path in (folder / "update").iterdir()} == {"runner"}


def test_killed_before_any_change_of_the_second_step_it_is_b_after_the_next_start(pair: Pair, tmp_path: Path) -> None:
    ready = prepared(pair, tmp_path / "ready")
    counted = run(shutil.copytree(ready, tmp_path / "counted", copy_function=os.link), "apply")
    changes = int(counted.stdout.split("changes: ")[1])
    assert changes > 20
    seen = set()
    for die_at in range(1, changes + 1):
        folder = shutil.copytree(ready, tmp_path / f"at {die_at}", copy_function=os.link)
        assert run(folder, "apply", die_at).returncode != 0
        seen.add(frozenset(contents(folder).items()))
        update_like_the_bat(folder)
        assert contents(folder) == contents(pair.b), die_at
        assert users_files(folder) == USERS
        shutil.rmtree(folder)
    assert len(seen) > 5  # it really was interrupted half-way


def test_killed_in_the_first_step_it_is_still_a_and_can_be_started_again(pair: Pair, tmp_path: Path) -> None:
    counted = run(pair.folder(tmp_path / "counted"), "prepare")
    changes = int(counted.stdout.split("changes: ")[1])
    chance = random.Random(1)
    for die_at in {1, 2, changes - 2, changes - 1, changes, *(chance.randint(3, changes) for _ in range(5))}:
        folder = pair.folder(tmp_path / f"at {die_at}")
        assert run(folder, "prepare", die_at).returncode != 0
        assert contents(folder) == contents(pair.a)
        assert not (folder / "update" / "journal.json").exists()
        assert run(folder, "prepare").returncode == 0
        update_like_the_bat(folder)
        assert contents(folder) == contents(pair.b)


def damage(folder: Path) -> None:
    """Let a new file vanish between the two steps, as an antivirus program does."""
    max((folder / "update" / "new").iterdir()).unlink()


def test_when_a_new_file_vanishes_everything_is_undone(pair: Pair, tmp_path: Path) -> None:
    folder = prepared(pair, tmp_path / "x")
    damage(folder)
    done = run(folder, "apply")
    assert done.returncode == 1 and "works as before" in done.stdout, done.stdout
    assert contents(folder) == contents(pair.a)
    assert users_files(folder) == USERS
    assert not (folder / "app" / "new").exists() and not (folder / "update" / "journal.json").exists()


def test_killed_several_times_while_undoing_it_is_a(pair: Pair, tmp_path: Path) -> None:
    ready = prepared(pair, tmp_path / "ready")
    damage(ready)
    counted = run(shutil.copytree(ready, tmp_path / "counted", copy_function=os.link), "apply")
    changes = int(counted.stdout.split("changes: ")[1])
    chance = random.Random(2)
    for number in range(12):
        folder = shutil.copytree(ready, tmp_path / f"run {number}", copy_function=os.link)
        run(folder, "apply", chance.randint(changes // 2, changes))
        for _ in range(2):
            if (folder / "update" / "journal.json").exists():
                run(folder, "apply", chance.randint(1, changes // 2))
        update_like_the_bat(folder)
        assert contents(folder) == contents(pair.a)
        assert users_files(folder) == USERS


def change_a_file(folder: Path) -> None:
    (folder / "app" / "packages" / "tqdm" / "__init__.py").unlink()


def other_release(folder: Path) -> None:
    path = folder / "MANIFEST.json"
    text = path.read_bytes()
    path.unlink()
    path.write_bytes(text + b" ")


def half_extracted(folder: Path) -> None:
    (folder / "update" / "new" / "0000.html").unlink(missing_ok=True)
    damage(folder)


def no_patch(folder: Path) -> None:
    shutil.rmtree(folder / "update")


def in_the_way(folder: Path) -> None:
    (folder / "app" / "new" / "deep").mkdir(parents=True)
    (folder / "app" / "new" / "deep" / "b.txt").write_bytes(b"somebody's own")


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (change_a_file, "1 files are not as they were packed: app/packages/tqdm/__init__.py"),
        (other_release, "This patch fits version 1.0.0 only"),
        (half_extracted, "The patch was extracted in part"),
        (no_patch, "The patch's content (the folder update) is missing"),
        (in_the_way, "app/new/deep/b.txt"),
    ],
)
def test_a_folder_or_patch_that_does_not_fit_is_refused_untouched(
    pair: Pair, tmp_path: Path, trouble: Callable[[Path], None], words: str
) -> None:
    folder = pair.folder(tmp_path / "x")
    trouble(folder)
    before = contents(folder)
    done = run(folder, "prepare")
    assert done.returncode == 1 and words in done.stdout, done.stdout + done.stderr
    assert contents(folder) == before and not (folder / "update" / "journal.json").exists()


def test_an_updated_folder_says_so(pair: Pair, tmp_path: Path) -> None:
    folder = prepared(pair, tmp_path / "x")
    run(folder, "apply")
    (folder / "更新.bat").unlink()
    shutil.copytree(pair.patch, folder, dirs_exist_ok=True)
    assert "nothing to do" in run(folder, "prepare").stdout


@pytest.mark.parametrize(
    "path",
    [
        "../x", "/etc/x", "C:/x", "a\\b", "a//b", "a/./b", "设置.toml", "chatglm3-ggml.bin", "Model.BIN", "logs/a",
        "LOGS/a", "update/journal.json", "a:b", "a\n", "对话/a.md", "对话/回收站/a.md",
    ],
)  # fmt: skip
def test_a_patch_that_names_a_foreign_or_the_user_s_path_is_refused(pair: Pair, path: str) -> None:
    data = pair.made.patch.to_json()
    data["files"][0]["path"] = path
    with pytest.raises(OneClickError):
        read_patch(json.dumps(data).encode())
    data = pair.made.patch.to_json()
    data["removed"] = [path]
    with pytest.raises(OneClickError):
        read_patch(json.dumps(data).encode())


def test_the_list_of_a_patch_reads_back(pair: Pair) -> None:
    assert read_patch((pair.patch / "update" / "patch.json").read_bytes()) == pair.made.patch
    assert pair.made.patch.files[-1].path == "MANIFEST.json"
    assert "设置.toml" not in {file.path for file in pair.made.patch.files}
    assert pair.made.patch.removed == ("app/gone/a.py",)


def test_the_command_makes_a_patch_and_a_release_lists_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = archives(tmp_path)
    assert main(["patch", str(old.path), str(new.path), "--output", str(tmp_path / "out")]) == 0
    assert "of the whole archive" in capsys.readouterr().out
    (patch,) = (tmp_path / "out").glob("*.7z")
    publish = ["publish", str(new.path), "--to", str(tmp_path / "release"), "--patch", str(patch)]
    assert main(publish) == 0
    latest = json.loads((tmp_path / "release" / "latest.json").read_bytes())
    (listed,) = latest["patches"]
    assert listed["from_manifest_sha256"] == old.member_sha256["MANIFEST.json"]
    assert listed["sha256"] == hashlib.sha256(patch.read_bytes()).hexdigest()
    assert "已经有旧版" in (tmp_path / "release" / "index.html").read_text("utf-8")
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path / "release", check=True)


def test_a_patch_to_another_archive_is_not_published(pair: Pair, tmp_path: Path) -> None:
    other = archive_of(tmp_path, "other")
    publish = ["publish", str(other.path), "--to", str(tmp_path / "r"), "--patch", str(pair.made.archive.path)]
    assert main(publish) == 2
    assert not (tmp_path / "r").exists()


def test_no_patch_between_equal_archives_or_over_a_packed_model(tmp_path: Path) -> None:
    old = archive_of(tmp_path, "old", {"chatglm3-ggml.bin": b"1"})
    with pytest.raises(UsageError, match="same files"):
        make_patch(old.path, old.path, tmp_path)
    new = archive_of(tmp_path, "new", {"chatglm3-ggml.bin": b"2"})
    with pytest.raises(UsageError, match="packed model"):
        make_patch(old.path, new.path, tmp_path)


@dataclass
class Signed:
    """A folder of 1.0.0 with a key, and signed patches that lead from it."""

    folder: Path
    secret: Path
    old: ArchiveInfo
    key: dict[str, str]

    def patch(self, tmp_path: Path, name: str, *, signed: bool = True, version: str = "1.1.0") -> Path:
        """Extract the patch to ``version`` over the folder and return the folder."""
        new = archive_of(tmp_path, name, {**SMALL, "app/new.txt": name.encode()}, version, **self.key)
        made = make_patch(self.old.path, new.path, tmp_path / f"patch {name}", read_signer(self.secret, lambda: ""))
        shutil.copytree(extract(made.archive.path, tmp_path / f"p {name}"), self.folder, dirs_exist_ok=True)
        if not signed:
            (self.folder / "update" / "patch.json.minisig").unlink()
        return self.folder


SMALL = {**PAYLOAD, "python/python.exe": b"MZ" + bytes(3000)}


@pytest.fixture
def signed(tmp_path: Path) -> Signed:
    secret, _ = make_key(tmp_path / "keys", "a.key")
    key = {"public_key": read_signer(secret, lambda: "").public_key}
    old = archive_of(tmp_path, "old", SMALL, **key)
    return Signed(extract(old.path, tmp_path / "x"), secret, old, key)


def told(folder: Path, step: str, code: int = 1) -> str:
    done = run(folder, step)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_a_signed_patch_is_applied(tmp_path: Path, signed: Signed) -> None:
    folder = signed.patch(tmp_path, "good")
    assert "no public key" not in told(folder, "prepare", 0)
    told(folder, "recover", 0)
    told(folder, "apply", 0)
    assert (folder / "app" / "new.txt").read_text() == "good"


def test_an_unsigned_a_changed_and_a_foreign_patch_change_nothing(tmp_path: Path, signed: Signed) -> None:
    before = contents(signed.folder)
    folder = signed.patch(tmp_path, "unsigned", signed=False)
    assert "is not signed" in told(folder, "prepare")
    shutil.rmtree(folder / "update")
    signed.patch(tmp_path, "good")
    patch = folder / "update" / "patch.json"
    patch.write_bytes(patch.read_bytes().replace(b'"1.1.0"', b'"1.9.0"'))
    assert "signature of patch.json is wrong" in told(folder, "prepare")
    stranger, _ = make_key(tmp_path / "stranger", "b.key")
    foreign = read_signer(stranger, lambda: "").sign("patch.json", patch.read_bytes())
    (folder / "update" / "patch.json.minisig").write_bytes(foreign)
    assert "signed with another key" in told(folder, "prepare")
    assert contents(folder) == before and not (folder / "update" / "journal.json").exists()


def test_a_journal_that_was_changed_is_not_obeyed(tmp_path: Path, signed: Signed) -> None:
    folder = signed.patch(tmp_path, "good")
    told(folder, "prepare", 0)
    before = contents(folder)
    journal = folder / "update" / "journal.json"
    data = json.loads(journal.read_bytes())
    data["patch"] = base64.b64encode(base64.b64decode(data["patch"]).replace(b'"1.1.0"', b'"1.9.0"')).decode()
    journal.write_text(json.dumps(data))
    assert "signature of patch.json is wrong" in told(folder, "apply")
    assert contents(folder) == before


@pytest.mark.parametrize("change", ["python/python.exe", "app/oneclick/planted.py", "bundle.json"])
def test_a_runner_that_is_not_ours_is_not_started(tmp_path: Path, signed: Signed, change: str) -> None:
    folder = signed.patch(tmp_path, "good")
    told(folder, "prepare", 0)
    (folder / "update" / "runner" / change).unlink(missing_ok=True)
    (folder / "update" / "runner" / change).write_bytes(b"planted")
    assert f"update/runner/{change}" in told(folder, "recover", PLANTED)


def test_a_planted_journal_without_a_signature_is_not_gone_on_with(tmp_path: Path, signed: Signed) -> None:
    folder = signed.patch(tmp_path, "planted", signed=False)
    runner = folder / "update" / "runner" / "python"
    runner.mkdir(parents=True)
    (runner / "python.exe").write_bytes(b"planted")
    patch = base64.b64encode((folder / "update" / "patch.json").read_bytes()).decode()
    (folder / "update" / "journal.json").write_text(json.dumps({"phase": "forward", "patch": patch, "beside": {}}))
    assert "is not signed" in told(folder, "recover", PLANTED)


def test_a_patch_that_users_would_refuse_is_not_made(tmp_path: Path, signed: Signed) -> None:
    new = archive_of(tmp_path, "new", SMALL, "1.1.0", **signed.key)
    with pytest.raises(UsageError, match="has to be signed"):
        make_patch(signed.old.path, new.path, tmp_path)
    stranger, _ = make_key(tmp_path / "stranger", "b.key")
    with pytest.raises(UsageError, match="not the one that users' bundles trust"):
        make_patch(signed.old.path, new.path, tmp_path, read_signer(stranger, lambda: ""))


def test_a_patch_for_another_bundle_and_one_that_leads_backwards_are_refused(tmp_path: Path, signed: Signed) -> None:
    with pytest.raises(UsageError, match=r"0\.9\.0 is older than 1\.0\.0"):
        signed.patch(tmp_path, "older", version="0.9.0")
    folder = signed.patch(tmp_path, "good")
    patch = folder / "update" / "patch.json"
    for change, word in ((b'"ChatGLM3_cpp"', "This patch is for Other"), (b'"1.1.0"', "into the older 0.1")):
        data = patch.read_bytes().replace(change, b'"Other"' if b"Chat" in change else b'"0.1"')
        (folder / "update" / "patch.json").write_bytes(data)
        signature = read_signer(signed.secret, lambda: "").sign("patch.json", data)
        (folder / "update" / "patch.json.minisig").write_bytes(signature)
        assert word in told(folder, "prepare")
        patch.write_bytes(data.replace(b'"Other"', b'"ChatGLM3_cpp"'))
