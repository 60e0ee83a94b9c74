"""The engine's binaries use no instruction their CPU level does not promise."""

from __future__ import annotations

from collections.abc import Iterator

from bundle.audit.findings import AuditExpectations, Finding, Tree
from bundle.errors import BundleError
from bundle.windows.instruction_set import read_instruction_sets


def check_instructions(tree: Tree, expected: AuditExpectations) -> Iterator[Finding]:
    """Disassemble each binary of each level; only what the level declares may be found.

    DLLs outside the level folders choose their code when they run (OpenBLAS, OpenSSL) and are not looked at.
    """
    for folder, allowed in sorted(expected.engine_levels.items()):
        binaries = [name for name in tree.with_suffix(".pyd", ".dll") if name.startswith(f"{folder}/")]
        if not binaries:
            do = "compile it, or take the level out of the recipe"
            yield Finding(path=folder, rule="cpu", what="this CPU level has no binary", do=do)
        for name in binaries:
            try:
                used = read_instruction_sets(tree.path(name))
            except BundleError:
                continue  # named by the native rule
            excess = sorted(set(used) - set(allowed))
            if excess:
                what = f"it uses {', '.join(excess)}, declared are {', '.join(allowed) or 'none'}"
                yield Finding(path=name, rule="cpu", what=what, do="compile it for its level, or declare what it needs")
