"""Each audit rule names the fault that was planted for it, and a sound tree has none."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bundle.audit import audit_notes, require_clean
from bundle.audit.name_rule import folder_budget
from bundle.contents.manifest import write_manifest
from bundle.errors import AuditFailed
from tests.support.tiny_pe import ARM64, AVX512_CODE, I386, tiny_dll
from tests.support.trees import BAT, COMPONENTS, ENGINE_FILE, PACKAGE, audit, provenance, seal, stage


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return seal(stage(tmp_path / "ChatGLM3_cpp"))


def plant(tree: Path, name: str, data: bytes) -> None:
    """Put a file in and tell the manifest, so that only the planted fault is found."""
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    write_manifest(tree, provenance())


def test_a_sound_tree_has_no_findings(tree: Path) -> None:
    assert audit(tree) == []
    require_clean([])


@pytest.mark.parametrize(
    ("name", "data", "rule", "what"),
    [
        ("app/engine/shared/arm.dll", tiny_dll(machine=ARM64), "native", "0xAA64, not x64"),
        ("app/engine/shared/old.dll", tiny_dll(machine=I386), "native", "0x014C, not x64"),
        ("app/engine/shared/text.dll", b"not a program", "native", "no Windows program"),
        ("app/oneclick/data.bin2", tiny_dll(), "native", "under another name"),
        ("app/engine/shared/a.dll", tiny_dll(["missing.dll"]), "imports", "imports missing.dll"),
        ("app/engine/shared/b.dll", tiny_dll(["MSVCP140.dll"]), "imports", "imports msvcp140.dll"),
        ("app/oneclick/" + "a" * 110 + ".py", b"", "length", "has 126 characters, the budget is 120"),
        ("app/oneclick/thing.pdb", b"symbols", "leftovers", "debug symbols"),
        ("app/packages/tqdm/tests/test_a.py", b"", "leftovers", "tests"),
        ("app/oneclick/__pycache__/a.py", b"", "leftovers", "cache"),
        ("app/packages/pip/__init__.py", b"", "leftovers", "pip"),
        ("对话/a.md", b"", "leftovers", "somebody's conversations"),
        ("app/packages/Scripts/a.txt", b"", "leftovers", "launchers"),
        ("run.bat", BAT.replace(b"\r\n", b"\n"), "bat", "CRLF"),
        ("run.bat", "@echo 你好\r\n".encode(), "bat", "line 1 is not ASCII"),
        ("run.bat", b"\xef\xbb\xbf" + BAT, "bat", "byte-order mark"),
        ("run.bat", b"setlocal EnableDelayedExpansion\r\n", "bat", "delayed expansion"),
        ("run.bat", b"cmd /V:ON /c a\r\n", "bat", "delayed expansion"),
        ("run.bat", b"echo a", "bat", "last line has no end"),
        ("app/oneclick/a.txt", b"built in /build/place/of/anna here", "leaks", "/build/place/of/anna"),
        ("app/oneclick/a.txt", "X:\\build\\place".encode("utf-16-le"), "leaks", "X:/build/place"),
        ("app/oneclick/a.txt", b"host zeppelin7.", "leaks", "zeppelin7"),
        ("app/engine/shared/c.dll", tiny_dll(tail=b"/home/anna/engine/ggml.c"), "leaks", "/home/anna/"),
        ("app/packages/other-1.0.dist-info/METADATA", b"Name: other", "licences", "no component with a licence"),
    ],
)
def test_a_planted_file_is_named_with_its_fault(tree: Path, name: str, data: bytes, rule: str, what: str) -> None:
    plant(tree, name, data)
    findings = audit(tree, machine_names=["/build/place/of/anna", "X:/build/place", "zeppelin7"])
    mine = [finding for finding in findings if finding.rule == rule and what in finding.what]
    assert mine, findings
    assert all(name.startswith(finding.path) for finding in mine)
    assert all(finding.do for finding in mine)
    with pytest.raises(AuditFailed) as caught:
        require_clean(findings)
    assert mine[0].path in str(caught.value)
    assert caught.value.exit_code == 5


def test_a_binary_with_more_instructions_than_its_level_is_named(tree: Path) -> None:
    plant(tree, ENGINE_FILE, tiny_dll(["python310.dll"], code=AVX512_CODE))
    assert [(f.rule, f.path, "avx512f" in f.what) for f in audit(tree)] == [("cpu", ENGINE_FILE, True)]
    findings = audit(tree, engine_levels={"app/engine/avx2": ("avx2",), "app/engine/avx": ("avx",)})
    assert {(f.rule, f.path) for f in findings} == {("cpu", ENGINE_FILE), ("cpu", "app/engine/avx")}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows itself refuses these names")
@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("app/oneclick/aux.py", "device name"),
        ("app/oneclick/dot.", "end of a name"),
        ("app/oneclick/a:b", "does not allow"),
        ("app/oneclick/__MAIN__.py", "the same as"),
    ],
)
def test_a_name_windows_cannot_hold_is_named(tree: Path, name: str, what: str) -> None:
    (tree / name).write_bytes(b"")
    assert [f for f in audit(tree) if f.rule == "names" and what in f.what]


@pytest.mark.skipif(sys.platform == "win32", reason="making links needs a privilege there")
def test_a_link_is_named(tree: Path) -> None:
    (tree / "app" / "link.py").symlink_to("oneclick/__main__.py")
    assert [f for f in audit(tree) if f.rule == "names" and f.what == "it is a link"]


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda tree: (tree / "licenses" / "INDEX.md").unlink(), "it is missing"),
        (lambda tree: (tree / "licenses" / "tqdm" / "LICENCE.txt").write_bytes(b" \n"), "missing or empty"),
        (lambda tree: (tree / "licenses" / "tqdm" / "LICENCE.txt").unlink(), "missing or empty"),
        (
            lambda tree: (tree / "licenses" / "INDEX.md").write_text(
                "".join(
                    line
                    for line in (tree / "licenses" / "INDEX.md").read_text(encoding="utf-8").splitlines(keepends=True)
                    if "tqdm" not in line
                ),
                encoding="utf-8",
            ),
            "tqdm has no line in it",
        ),
    ],
)
def test_a_missing_licence_is_named(tree: Path, damage: Callable[[Path], object], what: str) -> None:
    damage(tree)
    write_manifest(tree, provenance())
    assert [f for f in audit(tree) if f.rule == "licences" and what in f.what]


def test_a_component_without_a_licence_text_stops_the_build(tmp_path: Path) -> None:
    bare = dataclasses.replace(PACKAGE, licence_texts={})
    with pytest.raises(AuditFailed, match="no licence text for tqdm"):
        seal(stage(tmp_path / "tree"), (bare, *COMPONENTS))


@pytest.mark.parametrize(
    ("damage", "path"),
    [
        (lambda tree: (tree / "MANIFEST.json").unlink(), "MANIFEST.json"),
        (lambda tree: (tree / "MANIFEST.json").write_bytes(b"[]"), "MANIFEST.json"),
        (lambda tree: (tree / "new.txt").write_bytes(b"new"), "new.txt"),
        (lambda tree: (tree / "bundle.json").write_bytes(b"other"), "bundle.json"),
        (lambda tree: (tree / "bundle.json").unlink(), "bundle.json"),
    ],
)
def test_a_manifest_that_does_not_fit_is_named(tree: Path, damage: Callable[[Path], object], path: str) -> None:
    damage(tree)
    assert [f.path for f in audit(tree) if f.rule == "manifest"] == [path]


def test_a_file_nobody_claims_stops_the_manifest(tmp_path: Path) -> None:
    tree = stage(tmp_path / "tree", {"secret.txt": b"mine"})
    own = dataclasses.replace(COMPONENTS[3], files=("*.bat", "bundle.json", "app/oneclick/*"))
    with pytest.raises(AuditFailed, match=r"come from nowhere: secret\.txt"):
        write_manifest(tree, provenance((*COMPONENTS[:3], own)))


def test_every_finding_is_told_at_once(tree: Path) -> None:
    plant(tree, "one.pdb", b"")
    plant(tree, "two.bat", b"echo\n")
    with pytest.raises(AuditFailed) as caught:
        require_clean(audit(tree))
    assert "one.pdb" in str(caught.value)
    assert "two.bat" in str(caught.value)


def test_the_summary_says_how_deep_a_folder_may_be(tree: Path) -> None:
    longest = max(len(path.relative_to(tree).as_posix()) for path in tree.rglob("*") if path.is_file())
    budget = folder_budget(longest, "ChatGLM3_cpp")
    assert len("x" * budget + "\\ChatGLM3_cpp\\" + "y" * longest) == 259
    assert f"up to {budget} characters" in audit_notes(tree, "ChatGLM3_cpp")[0]
