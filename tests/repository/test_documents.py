"""What the documents say is true: commands parse, links resolve, both languages list the same commands."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from urllib.parse import unquote

import click
import pytest

from bundle.cli.main import COMMANDS, cli

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENTS = ["README.md", "README.zh-CN.md", "CONTRIBUTING.md", "CHANGELOG.md"]
COMMAND = re.compile(r"python3 build\.py(?: [^`#|\n]*)?")


def commands(name: str) -> list[str]:
    """Return every build.py command line in a document."""
    return [match.strip() for match in COMMAND.findall((ROOT / name).read_text(encoding="utf-8"))]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_command_in_a_document_is_understood(name: str) -> None:
    for line in commands(name):
        words = shlex.split(line)[2:]
        if not words or words[0].startswith("-"):
            words.insert(0, "build")
        if words[0] == "COMMAND":
            continue
        command = cli.get_command(click.Context(cli), words[0])
        assert command is not None, line
        existing = [str(ROOT / "README.md") if word.endswith(".7z") else word for word in words[1:]]
        with command.make_context(words[0], existing, resilient_parsing=False) as context:
            assert isinstance(context, click.Context), line


def markdown_files() -> list[str]:
    """Every Markdown file that git knows, relative to the repository."""
    listed = subprocess.run(["git", "ls-files", "-z", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name]


def anchors(text: str) -> set[str]:
    """The anchors that GitHub makes of a document's headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_links_inside_the_repository_resolve() -> None:
    names = markdown_files()
    assert set(DOCUMENTS) <= set(names)
    broken = []
    for name in names:
        text = (ROOT / name).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            path, _, anchor = target.partition("#")
            file = (ROOT / name).parent / unquote(path) if path else ROOT / name
            if "://" in target:
                continue
            if not file.exists() or (anchor and anchor not in anchors(file.read_text(encoding="utf-8"))):
                broken.append(f"{name}: {target}")
    assert broken == []


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md", "CONTRIBUTING.md"])
def test_files_and_folders_that_are_named_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:bundle|payload|recipes|tests|bench|templates|docs)/[^`*{} ]*)`", text))
    assert [path for path in sorted(named) if "NAME" not in path and not (ROOT / path).exists()] == []


def test_both_readmes_name_the_same_options() -> None:
    options = [set(re.findall(r"--[a-z-]+", (ROOT / name).read_text(encoding="utf-8"))) for name in DOCUMENTS[:2]]
    assert options[0] - {"--help"} == options[1] - {"--help"}


def test_every_command_is_in_both_readmes() -> None:
    for name in DOCUMENTS[:2]:
        text = (ROOT / name).read_text(encoding="utf-8")
        missing = [command for command in COMMANDS if not re.search(rf"`{command}\b", text) and command != "build"]
        assert missing == []
