"""The archive that this repository builds: clean, complete, readable by everyone, and built again to the same bytes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bundle.audit import AuditExpectations, audit_tree, names_of_this_machine
from bundle.check.size import size_report
from bundle.check.verify import verify_archive
from bundle.contents.component import Component
from bundle.contents.licences import parse_index
from bundle.contents.manifest import Manifest, load
from bundle.contents.sbom import validate_sbom
from bundle.engine.request import LEVELS

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def manifest(real_bundle: Path) -> Manifest:
    return load((real_bundle / "MANIFEST.json").read_bytes())


def expectations(real_bundle: Path, manifest: Manifest) -> AuditExpectations:
    """What the builder expects of this bundle, put together again from what it says about itself."""
    components = [
        Component(
            name=entry["name"],
            version=entry["version"],
            kind=entry["kind"],
            licence=entry["licence"],
            files=tuple(file.path for file in manifest.files if file.origin == entry["name"]),
        )
        for entry in manifest.components
    ]
    levels = json.loads((real_bundle / "bundle.json").read_bytes())["engine"]["levels"]
    return AuditExpectations(
        components=components,
        engine_levels={level["folder"]: LEVELS[level["name"]].requires for level in levels},
        machine_names=names_of_this_machine(ROOT),
    )


def test_a_full_audit_of_the_real_bundle_is_clean(real_bundle: Path, manifest: Manifest) -> None:
    assert audit_tree(real_bundle, expectations(real_bundle, manifest)) == []


def test_the_real_archive_verifies(built_archive: Path) -> None:
    report = verify_archive(built_archive)
    assert report.ok, report.problems
    assert report.sums_checked
    assert size_report(built_archive).total.packed_bytes
    assert report.size_bytes <= 16_000_000


def test_every_part_of_the_bundle_has_its_licence(real_bundle: Path, manifest: Manifest) -> None:
    index = parse_index((real_bundle / "licenses" / "INDEX.md").read_text(encoding="utf-8"))
    assert len(index) == len(manifest.components)
    assert all(texts for texts in index.values())
    kinds = {entry["kind"] for entry in manifest.components}
    assert kinds >= {"python", "package", "engine", "web", "model", "payload"}
    assert all(entry["licence"] for entry in manifest.components)
    assert all(entry["source"] for entry in manifest.components)


def test_the_sbom_of_the_real_bundle_is_valid(real_bundle: Path, manifest: Manifest) -> None:
    text = (real_bundle / "sbom.cdx.json").read_text(encoding="utf-8")
    validate_sbom(text)
    named = {component["name"] for component in json.loads(text)["components"]}
    assert named == {entry["name"] for entry in manifest.components if entry["kind"] != "payload"}


@pytest.mark.skipif(not shutil.which("osslsigncode"), reason="osslsigncode is not installed")
def test_a_changed_python_program_is_named(real_bundle: Path, manifest: Manifest, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.mkdir()
    program = bytearray((real_bundle / "python" / "python.exe").read_bytes())
    program[0x600] ^= 1
    (python / "python.exe").write_bytes(program)
    shutil.copy(real_bundle / "python" / "select.pyd", python / "select.pyd")
    level = next((real_bundle / "app" / "engine").glob("*/chatglm_cpp/*.pyd"))
    shutil.copy(level, python / "_unsigned.pyd")
    findings = audit_tree(tmp_path, AuditExpectations())
    named = {finding.path: finding.what for finding in findings if finding.rule == "signature"}
    assert named == {
        "python/python.exe": "it was changed after it was signed",
        "python/_unsigned.pyd": "it carries no signature",
    }


@pytest.mark.parametrize(
    "tool",
    [
        pytest.param(tool, marks=pytest.mark.skipif(not shutil.which(tool), reason=f"{tool} is not installed"))
        for tool in ("7zz", "bsdtar")
    ],
)
def test_other_tools_extract_the_same_files(built_archive: Path, real_bundle: Path, tmp_path: Path, tool: str) -> None:
    arguments = {"7zz": ["x", f"-o{tmp_path}"], "bsdtar": ["-C", str(tmp_path), "-xf"]}[tool]
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    subprocess.run([tool, *arguments, str(built_archive)], check=True, capture_output=True, env=environment)
    names = [path.relative_to(real_bundle) for path in real_bundle.rglob("*") if path.is_file()]
    extracted = tmp_path / "ChatGLM3_cpp"
    assert sorted(names) == sorted(path.relative_to(extracted) for path in extracted.rglob("*") if path.is_file())
    assert all((real_bundle / name).read_bytes() == (extracted / name).read_bytes() for name in names)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="umask and TZ are of Unix")
def test_another_folder_time_zone_locale_and_umask_build_the_same_bytes(built_archive: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "TZ": "Asia/Shanghai", "LC_ALL": "C", "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, ROOT / "build.py", "verify", "--rebuild", "--offline", built_archive],
        cwd=tmp_path,
        env=environment,
        umask=0o077,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "exactly these bytes" in done.stdout
