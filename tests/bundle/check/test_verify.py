"""verify names every difference from what was built; diff and size say what changed and what weighs."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

from bundle.archive.write import ArchiveInfo, write_archive
from bundle.check.diff import diff_archives
from bundle.check.size import size_report
from bundle.check.verify import verify_archive, write_sums
from bundle.contents.manifest import NAME, Manifest, ManifestFile, dump, load
from bundle.contents.sbom import validate_sbom
from bundle.errors import AuditFailed, UsageError
from tests.support.trees import pack, seal, stage


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> ArchiveInfo:
    tree = seal(stage(tmp_path_factory.mktemp("sound") / "tree", {"model.bin": random.Random(1).randbytes(3000)}))
    return write_archive(tree, tree.parent / "a.7z", stored=["model.bin"])


def test_a_sound_archive_passes(sound: ArchiveInfo) -> None:
    report = verify_archive(sound.path)
    assert report.ok, report.problems
    report.require_ok()
    assert report.sha256 == {"a.7z": sound.sha256}
    assert report.members == len(sound.member_sha256)
    assert report.content_bytes == sound.content_bytes
    assert json.loads(json.dumps(report.to_json()))["ok"] is True
    assert report.lines()[0].startswith("ChatGLM3_cpp 1.0.0: ")


def test_one_flipped_bit_anywhere_is_told_with_the_member_it_hits(sound: ArchiveInfo, tmp_path: Path) -> None:
    data = sound.path.read_bytes()
    names = {f"ChatGLM3_cpp/{name}" for name in sound.member_sha256}
    damaged = tmp_path / "b.7z"
    places = [*range(40), *range(len(data) - 200, len(data)), *random.Random(2).sample(range(len(data)), 400)]
    for place in places:
        changed = bytearray(data)
        changed[place] ^= 1 << random.Random(place).randrange(8)
        damaged.write_bytes(changed)
        report = verify_archive(damaged)
        assert not report.ok, place
        assert report.problems[0].member in names | {"b.7z"}
        with pytest.raises(AuditFailed, match="not what its builder made"):
            report.require_ok()
    changed = bytearray(data)
    changed[data.index(random.Random(1).randbytes(3000)) + 7] ^= 1
    damaged.write_bytes(changed)
    assert [problem.member for problem in verify_archive(damaged).problems] == ["ChatGLM3_cpp/model.bin"]


@pytest.mark.parametrize("cut", [0, 10, 31, 32, 33, 100, 1000, -1])
def test_a_shortened_or_lengthened_archive_is_told(sound: ArchiveInfo, tmp_path: Path, cut: int) -> None:
    data = sound.path.read_bytes()
    (tmp_path / "short.7z").write_bytes(data[:cut])
    (tmp_path / "long.7z").write_bytes(data + b"\0")
    (tmp_path / "inside.7z").write_bytes(data[:100] + b"hidden" + data[100:])
    for name in ("short.7z", "long.7z", "inside.7z"):
        assert [problem.member for problem in verify_archive(tmp_path / name).problems] == [name]


def repacked(tmp_path: Path, change: dict[str, bytes | None], manifest: bytes | None = None) -> Path:
    """The archive of a sealed tree changed afterwards, as someone with 7-Zip and bad intent could make it."""
    tree = seal(stage(tmp_path / "tree"))
    for name, data in change.items():
        if data is None:
            (tree / name).unlink()
        else:
            (tree / name).write_bytes(data)
    if manifest is not None:
        (tree / NAME).write_bytes(manifest)
    return write_archive(tree, tmp_path / "a.7z").path


@pytest.mark.parametrize(
    ("change", "member", "what"),
    [
        ({"evil.exe": b"MZ"}, "evil.exe", "does not list it"),
        ({"bundle.json": None}, "bundle.json", "missing"),
        ({"bundle.json": b"{}"}, "bundle.json", "MANIFEST.json says"),
        ({NAME: None}, NAME, "missing"),
        ({NAME: b'{"format": 2}'}, NAME, "format is not 1"),
        ({NAME: b"\xff"}, NAME, "not JSON"),
        ({NAME: b"[" * 100_000}, NAME, "not JSON"),
    ],
)
def test_content_that_differs_from_the_manifest_is_told(
    tmp_path: Path, change: dict[str, bytes | None], member: str, what: str
) -> None:
    report = verify_archive(repacked(tmp_path, change))
    assert [problem.member for problem in report.problems] == [member]
    assert what in report.problems[0].what


def test_a_manifest_that_says_the_same_in_other_words_is_told(tmp_path: Path) -> None:
    tree = seal(stage(tmp_path / "t"))
    reordered = json.dumps(json.loads((tree / NAME).read_bytes())).encode()
    report = verify_archive(repacked(tmp_path, {}, reordered))
    assert "not written as this builder writes it" in report.problems[0].what


@pytest.mark.parametrize(
    "line",
    [
        {"path": "../x", "size_bytes": 1, "sha256": "", "from": ""},
        {"path": "x", "size_bytes": -1, "sha256": "", "from": ""},
        {"path": "x", "size_bytes": True, "sha256": "", "from": ""},
        {"path": "x", "size_bytes": 1, "sha256": 3, "from": ""},
        {"path": "x"},
        "x",
        None,
    ],
)
def test_a_manifest_with_a_broken_line_is_refused(line: object) -> None:
    data = {"format": 1, "name": "n", "version": "1", "build": {}, "components": [], "files": [line]}
    with pytest.raises(UsageError, match="a file is broken"):
        load(json.dumps(data).encode())


def test_a_manifest_survives_writing_and_reading() -> None:
    file = ManifestFile(path="一键运行.bat", size_bytes=3, sha256="00", origin="我们")
    manifest = Manifest(name="n", version="1", files=(file,), components=({"name": "我们"},), build={"a": [1]})
    assert load(dump(manifest)) == manifest


def test_an_archive_packed_by_another_tool_is_told(sound: ArchiveInfo, tmp_path: Path) -> None:
    import py7zr

    with sound.path.open("rb") as file, py7zr.SevenZipFile(file) as source:
        source.extractall(tmp_path / "out")
    with py7zr.SevenZipFile(tmp_path / "b.7z", "w") as target:
        target.writeall(tmp_path / "out" / "ChatGLM3_cpp", "ChatGLM3_cpp")
    report = verify_archive(tmp_path / "b.7z")
    assert not report.ok
    assert report.problems[0].member == "b.7z"


def test_sums_beside_the_archive_are_compared(sound: ArchiveInfo, tmp_path: Path) -> None:
    other = pack(tmp_path)
    sums = write_sums(other)
    assert sums.read_bytes() == f"{other.sha256}  bundle.7z\n".encode()
    assert verify_archive(other.path).sums_checked
    shutil.copy(sound.path, other.path)  # sound, but not the one that was summed
    report = verify_archive(other.path)
    assert [problem.member for problem in report.problems] == ["bundle.7z"]
    assert "SHA256SUMS says" in report.problems[0].what


def test_sums_keep_lines_about_other_files(tmp_path: Path) -> None:
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  other.7z\n{'1' * 64}  bundle.7z.001\nnonsense\n")
    info = pack(tmp_path)
    assert write_sums(info).read_text() == f"{info.sha256}  bundle.7z\n{'0' * 64}  other.7z\n"


def test_a_missing_volume_is_named(tmp_path: Path) -> None:
    for number in (1, 3):
        (tmp_path / f"a.7z.00{number}").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"why: a\.7z\.002 is not beside|a\.7z\.002 is not beside"):
        verify_archive(tmp_path / "a.7z.001")
    with pytest.raises(UsageError, match="is not there"):
        verify_archive(tmp_path / "b.7z")


def test_swapped_volumes_are_told(sound: ArchiveInfo, tmp_path: Path) -> None:
    data = sound.path.read_bytes()
    half = len(data) // 2
    (tmp_path / "a.7z.001").write_bytes(data[:half])
    (tmp_path / "a.7z.002").write_bytes(data[half:])
    assert verify_archive(tmp_path / "a.7z.002").ok
    assert verify_archive(tmp_path / "a.7z").ok
    (tmp_path / "a.7z.001").write_bytes(data[half:])
    (tmp_path / "a.7z.002").write_bytes(data[:half])
    assert not verify_archive(tmp_path / "a.7z").ok


def test_a_diff_names_components_and_files(tmp_path: Path) -> None:
    one = pack(tmp_path, "one.7z", {"app/oneclick/gone.py": b"x" * 50})
    two = pack(tmp_path, "two.7z", {"app/oneclick/new.py": b"y" * 60, "bundle.json": b"{}"})
    found = diff_archives(one.path, two.path)
    assert not found.identical
    assert [(change.name, change.kind, change.size_before, change.size_after) for change in found.files] == [
        ("app/oneclick/gone.py", "removed", 50, None),
        ("app/oneclick/new.py", "added", None, 60),
        ("bundle.json", "changed", 14, 2),
    ]
    assert [change.name for change in found.components] == ["ChatGLM3_cpp"]
    assert "  + app/oneclick/new.py: 60 B" in found.lines()
    assert json.loads(json.dumps(found.to_json()))["same_content"] is False
    same = diff_archives(one.path, one.path)
    assert same.identical
    assert same.lines() == ["identical, byte by byte"]


def test_a_diff_with_a_damaged_archive_is_refused(sound: ArchiveInfo, tmp_path: Path) -> None:
    damaged = tmp_path / "b.7z"
    damaged.write_bytes(sound.path.read_bytes()[:-1])
    with pytest.raises(AuditFailed):
        diff_archives(sound.path, damaged)


def test_sizes_add_up_and_name_components(sound: ArchiveInfo) -> None:
    report = size_report(sound.path)
    assert report.total.size_bytes == sound.content_bytes
    assert {weight.name for weight in report.components} >= {"Python", "tqdm", "chatglm_cpp", "ChatGLM3_cpp"}
    assert sum(weight.size_bytes for weight in report.components) == sound.content_bytes
    packed = [weight.packed_bytes for weight in report.components]
    assert all(share is not None for share in packed)
    assert sum(share or 0 for share in packed) == report.total.packed_bytes
    assert sound.size_bytes - 3000 < (report.total.packed_bytes or 0) < sound.size_bytes
    json.dumps(report.to_json())
    tree = size_report(sound.path.parent / "tree")
    assert tree.total.size_bytes == sound.content_bytes
    assert tree.total.packed_bytes is None


def test_the_sbom_is_valid_and_has_hashes_and_licences(tmp_path: Path) -> None:
    text = (seal(stage(tmp_path / "tree")) / "sbom.cdx.json").read_text(encoding="utf-8")
    validate_sbom(text)
    sbom = json.loads(text)
    assert sbom["specVersion"] == "1.6"
    assert "timestamp" not in sbom["metadata"]
    assert sbom["metadata"]["component"]["name"] == "ChatGLM3_cpp"
    (tqdm,) = [component for component in sbom["components"] if component["name"] == "tqdm"]
    assert tqdm["purl"] == "pkg:pypi/tqdm@4.70.1"
    assert tqdm["hashes"] == [{"alg": "SHA-256", "content": "c2" * 32}]
    assert tqdm["licenses"] == [{"expression": "MPL-2.0 AND MIT"}]
    with pytest.raises(AuditFailed, match="not valid"):
        validate_sbom(text.replace('"specVersion": "1.6"', '"specVersion": "1.6", "surprise": 1'))
