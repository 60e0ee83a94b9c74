"""Every component has its licence text under ``licenses/`` and a line in ``licenses/INDEX.md``."""

from __future__ import annotations

import re
from collections.abc import Iterator

from packaging.utils import canonicalize_name

from bundle.audit.findings import AuditExpectations, Finding, Tree
from bundle.licences import FOLDER, INDEX, parse_index

_DIST_INFO = re.compile(r"app/packages/([^/]+)-[^-/]+\.dist-info$")
_VENDOR = re.compile(r"app/oneclick/web/vendor/([^/]+)$")


def check_licences(tree: Tree, expected: AuditExpectations) -> Iterator[Finding]:
    """Compare the index with the components of the build, and with what really lies in the tree."""
    index_name = f"{FOLDER}/{INDEX}"
    if index_name not in tree.files:
        yield Finding(path=index_name, rule="licences", what="it is missing", do="run collect_licenses when staging")
        return
    index = parse_index(tree.path(index_name).read_text(encoding="utf-8"))
    for name in sorted({component.name for component in expected.components} | set(_found(tree))):
        texts = index.get(_key(name))
        if texts is None:
            what = f"{name} has no line in it"
            yield Finding(path=index_name, rule="licences", what=what, do="add the component's licence when staging")
        elif not texts:
            what = f"{name} has no licence text"
            yield Finding(path=index_name, rule="licences", what=what, do="add its licence file when staging")
    for name in sorted({text for texts in index.values() for text in texts}):
        file = f"{FOLDER}/{name}"
        if file not in tree.files or not tree.path(file).read_bytes().strip():
            what = "the index names this licence, but it is missing or empty"
            yield Finding(path=file, rule="licences", what=what, do="stage the licence text")


def _key(name: str) -> str:
    return str(canonicalize_name(name))


def _found(tree: Tree) -> Iterator[str]:
    """Names of components the tree itself shows, whatever the build says it staged."""
    for folder in tree.folders:
        for pattern in (_DIST_INFO, _VENDOR):
            if found := pattern.match(folder):
                yield found.group(1)
    for name in tree.files:
        base = name.rsplit("/", 1)[-1].lower()
        if "openblas" in base and base.endswith(".dll"):
            yield "OpenBLAS"
        if base.startswith("msvcp140"):
            yield "Microsoft Visual C++ runtime"
        if base == "python.exe":
            yield "Python"
        if base.startswith("_c.") and name.startswith("app/engine/"):
            yield "chatglm_cpp"
