"""Every component has its licence text under ``licenses/`` and a line in ``licenses/INDEX.md``."""

from __future__ import annotations

import re
from collections.abc import Iterator

from packaging.utils import canonicalize_name

from bundle.audit.findings import AuditExpectations, Finding, Tree
from bundle.contents.licences import FOLDER, INDEX, parse_index

_BY_OTHERS = re.compile(
    r"python/python\.exe"
    r"|app/packages/[^/]+\.dist-info/METADATA"
    r"|app/engine/[^/]+/[^/]+/_C\.[^/]+\.pyd"
    r"|app/engine/shared/[^/]+\.dll"
    r"|app/oneclick/web/vendor/[^/]+/.+\.m?js"
    r"|[^/]+\.bin"
)
"""One file, or a few, of everything in a bundle that others made, as the layout shows it."""


def check_licences(tree: Tree, expected: AuditExpectations) -> Iterator[Finding]:
    """Compare the index with the components of the build, and with what really lies in the tree."""
    index_name = f"{FOLDER}/{INDEX}"
    if index_name not in tree.files:
        yield Finding(path=index_name, rule="licences", what="it is missing", do="run collect_licenses when staging")
        return
    index = parse_index(tree.path(index_name).read_text(encoding="utf-8"))
    components = [component for component in expected.components if component.kind != "payload"]
    for component in components:
        texts = index.get(str(canonicalize_name(component.name)))
        if texts is None:
            what = f"{component.name} has no line in it"
            yield Finding(path=index_name, rule="licences", what=what, do="add the component's licence when staging")
        elif not texts:
            what = f"{component.name} has no licence text"
            yield Finding(path=index_name, rule="licences", what=what, do="add its licence file when staging")
    for name in sorted({text for texts in index.values() for text in texts}):
        file = f"{FOLDER}/{name}"
        if file not in tree.files or not tree.path(file).read_bytes().strip():
            what = "the index names this licence, but it is missing or empty"
            yield Finding(path=file, rule="licences", what=what, do="stage the licence text")
    for name in tree.files:
        if _BY_OTHERS.fullmatch(name) and not any(component.match(name) for component in components):
            what = "it was made by others, but no component with a licence claims it"
            yield Finding(path=name, rule="licences", what=what, do="say in the builder which component brought it")
