"""MANIFEST.json says what is in the tree, all of it."""

from __future__ import annotations

from collections.abc import Iterator

from bundle.audit.findings import AuditExpectations, Finding, Tree
from bundle.contents.manifest import NAME, digest_of, load
from bundle.errors import BundleError


def check_manifest(tree: Tree, expected: AuditExpectations) -> Iterator[Finding]:
    """Every file is listed with its size and digest, and nothing else is."""
    if NAME not in tree.files:
        yield Finding(path=NAME, rule="manifest", what="it is missing", do="run write_manifest last when staging")
        return
    try:
        listed = load(tree.path(NAME).read_bytes()).by_path()
    except BundleError as error:
        yield Finding(path=NAME, rule="manifest", what=error.why, do="write it with write_manifest")
        return
    for name in tree.files:
        line = listed.pop(name, None)
        if name == NAME:
            continue
        if line is None:
            what = "MANIFEST.json does not list it"
            yield Finding(path=name, rule="manifest", what=what, do="write the manifest after everything else")
        elif name in expected.models:
            continue
        elif (line.size_bytes, line.sha256) != digest_of(tree.path(name)):
            what = "it is not the file MANIFEST.json lists"
            yield Finding(path=name, rule="manifest", what=what, do="write the manifest after everything else")
    for name in listed:
        what = "MANIFEST.json lists it, but it is not there"
        yield Finding(path=name, rule="manifest", what=what, do="write the manifest after everything else")
