"""Checks on the staged tree before it is packed: every rule runs, every finding is told at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bundle.audit.batch import check_batch_files
from bundle.audit.cpu import check_instructions
from bundle.audit.findings import AuditExpectations, Finding, Tree, read_tree
from bundle.audit.leaks import check_leaks, names_of_this_machine
from bundle.audit.leftovers import check_leftovers
from bundle.audit.licences import check_licences
from bundle.audit.manifest_rule import check_manifest
from bundle.audit.name_rule import check_length, check_names, folder_budget, longest_name
from bundle.audit.native import check_imports, check_machine
from bundle.audit.signatures import check_signatures, signature_tool
from bundle.errors import AuditFailed

__all__ = [
    "AuditExpectations",
    "Finding",
    "audit_notes",
    "audit_tree",
    "names_of_this_machine",
    "require_clean",
]

Rule = Callable[[Tree, AuditExpectations], Iterator[Finding]]

RULES: tuple[Rule, ...] = (
    check_names,
    check_length,
    check_batch_files,
    check_leftovers,
    check_leaks,
    check_machine,
    check_imports,
    check_instructions,
    check_signatures,
    check_licences,
    check_manifest,
)


def audit_tree(tree: Path, expected: AuditExpectations) -> list[Finding]:
    """Everything in ``tree`` that must not be published, sorted by path; empty when it is fine."""
    listed = read_tree(tree)
    return sorted({finding for rule in RULES for finding in rule(listed, expected)})


def require_clean(findings: Sequence[Finding]) -> None:
    """Raise AuditFailed with every finding; do nothing when there is none."""
    if findings:
        count = f"{len(findings)} thing{'s' if len(findings) > 1 else ''}"
        raise AuditFailed(
            f"the bundle must not be published: the audit found {count}",
            why="\n       ".join(f"{finding.path}: {finding.what}  [{finding.rule}]" for finding in findings),
            do="\n       ".join(sorted({finding.do for finding in findings})),
        )


def audit_notes(tree: Path, root_name: str) -> list[str]:
    """Lines for the summary: how deep a folder the bundle fits into, and what could not be checked here."""
    longest = longest_name(read_tree(tree))
    depth = folder_budget(longest, root_name)
    notes = [f"longest name inside: {longest} characters; it can be extracted into folders of up to {depth} characters"]
    if signature_tool() is None:
        notes.append("Python's signatures were NOT CHECKED: osslsigncode is not installed here")
    return notes
