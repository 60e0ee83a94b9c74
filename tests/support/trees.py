"""Small staged trees that pass the audit, made of real files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bundle.archive.write import ArchiveInfo, write_archive
from bundle.audit import AuditExpectations, Finding, audit_tree
from bundle.contents.component import Component, Provenance
from bundle.contents.licences import collect_licenses
from bundle.contents.manifest import write_manifest
from bundle.contents.sbom import write_sbom
from tests.support.tiny_pe import AVX2_CODE, tiny_dll

BAT = b'@echo off\r\nsetlocal\r\ncd /d "%~dp0"\r\npython\\python.exe -m oneclick %*\r\n'

PYTHON = Component(
    name="Python",
    version="3.10.11",
    kind="python",
    licence="PSF-2.0",
    files=("python/*",),
    source="python-3.10.11-embed-amd64.zip",
    sha256="60" * 32,
    licence_texts={"LICENSE.txt": b"the licence of Python"},
    homepage="https://www.python.org",
)
PACKAGE = Component(
    name="tqdm",
    version="4.70.1",
    kind="package",
    licence="MPL-2.0 AND MIT",
    files=("app/packages/tqdm/*", "app/packages/tqdm-4.70.1.dist-info/*"),
    source="PyPI: tqdm-4.70.1-py3-none-any.whl",
    sha256="c2" * 32,
    licence_texts={"LICENCE": b"the licence of tqdm"},
)
ENGINE = Component(
    name="chatglm_cpp",
    version="0.3.0",
    kind="engine",
    licence="MIT",
    files=("app/engine/*",),
    source="PyPI: chatglm-cpp-0.3.0.tar.gz",
    licence_texts={"LICENSE": b"the licence of chatglm.cpp"},
)
PAYLOAD = Component(name="ChatGLM3_cpp", version="1.0.0", kind="payload", licence="", files=("*",))
COMPONENTS = (PYTHON, PACKAGE, ENGINE, PAYLOAD)
ENGINE_FILE = "app/engine/avx2/chatglm_cpp/_C.cp310-win_amd64.pyd"


def provenance(components: Sequence[Component] = COMPONENTS, version: str = "1.0.0") -> Provenance:
    return Provenance(name="ChatGLM3_cpp", version=version, components=components, build={"recipe": "00" * 32})


def stage(root: Path, extra: dict[str, bytes] | None = None) -> Path:
    """A tree as the builder stages it, with ``extra`` files on top, without what sealing adds."""
    files = {
        "一键运行.bat": BAT,
        "bundle.json": b'{"format": 1}\n',
        "python/python310.dll": tiny_dll(["KERNEL32.dll"]),
        "app/packages/tqdm/__init__.py": b"import sys\n" * 40,
        "app/packages/tqdm/py.typed": b"",
        "app/packages/tqdm-4.70.1.dist-info/METADATA": b"Name: tqdm\n",
        "app/oneclick/__main__.py": "print('你好')\n".encode() * 30,
        ENGINE_FILE: tiny_dll(["python310.dll", "api-ms-win-crt-heap-l1-1-0.dll"], code=AVX2_CODE),
        **(extra or {}),
    }
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (root / "logs").mkdir(exist_ok=True)
    return root


def seal(root: Path, components: Sequence[Component] = COMPONENTS, version: str = "1.0.0") -> Path:
    """Add licences, SBOM and manifest, as the last steps of a build do."""
    collect_licenses(root, components)
    write_sbom(root, provenance(components, version))
    write_manifest(root, provenance(components, version))
    return root


def pack(
    tmp_path: Path, name: str = "bundle.7z", extra: dict[str, bytes] | None = None, version: str = "1.0.0"
) -> ArchiveInfo:
    """A sealed tree in an archive."""
    tree = seal(stage(tmp_path / f"tree of {name}", extra), version=version)
    return write_archive(tree, tmp_path / name)


def audit(root: Path, **changes: object) -> list[Finding]:
    """Findings in ``root``, without those of signatures: the small tree's Python is not the real one."""
    expected = AuditExpectations(
        components=COMPONENTS,
        engine_levels={"app/engine/avx2": ("avx", "avx2", "fma", "f16c")},
        python_folder="no folder of signed programs",
    )
    return audit_tree(root, AuditExpectations(**{**expected.__dict__, **changes}))
