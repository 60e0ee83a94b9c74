"""Every command that a README names is run here as a person types it, or listed with the reason why it cannot be."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bundle.cli.main import COMMANDS
from bundle.model.random_checkpoint import write_random_checkpoint
from tests.bundle.release.hosts.github import GitHubHost
from tests.bundle.release.hosts.host import Host, serving
from tests.bundle.release.hosts.huggingface import HuggingFaceHost
from tests.bundle.release.hosts.modelscope import ModelScopeHost
from tests.bundle.release.hosts.webdav import serving_webdav
from tests.bundle.release.releases import archive_of, bundle_json

pytestmark = pytest.mark.wine
ROOT = Path(__file__).resolve().parent.parent.parent
READMES = ("README.md", "README.zh-CN.md")
BUILD = "python3 build.py"

HERE = {
    "python3 build.py": "{repository}",
    "python3 build.py --mirrors cn": "{repository} --mirrors cn",
    "python3 build.py --offline": "{repository} --offline",
    "python3 build.py --wheel FILE.whl": "--wheel {wheel} --output other",
    "python3 build.py verify FILE": "verify {archive}",
    "python3 build.py smoke FILE": "smoke {archive} --model {model}",
    "python3 build.py smoke dist/ChatGLM3_cpp.7z": "smoke dist/ChatGLM3_cpp.7z",
    "python3 build.py diff A B": "diff {old} {archive}",
    "python3 build.py size FILE": "size {archive}",
    "python3 build.py quantize SOURCE -t q4_0 -o FILE": "quantize {weights} -t q4_0 -o made.bin",
    "python3 build.py inspect FILE": "inspect {model}",
    "python3 build.py publish --to FOLDER": "publish {old} --to other-release",
    "python3 build.py publish --to release": "publish --to release",
    "python3 build.py publish release --to github:OWNER/REPO@v1.0.0": "publish release --to {github}",
    "python3 build.py publish release --to hf:OWNER/NAME --to modelscope:OWNER/NAME": (
        "publish release --to {hf} --to {modelscope}"
    ),
    "python3 build.py publish release --to webdav:https://dav.example.org/chatglm3/": "publish release --to {webdav}",
    "python3 build.py patch OLD NEW": "patch {old} {new} --output patches",
    "python3 build.py matrix --list": "matrix --list",
    "python3 build.py wheel": "wheel",
    "python3 build.py clean": "clean --cache cache",
}
"""As a README has it -> what is typed after ``python3 build.py`` here. {repository}: in the repository's own folder,
where nothing changed since the last build; everything else in a folder with a ``dist`` of its own."""

NOT_HERE = {
    "python3 tests/run.py": "it runs this test",
    ".ci/run": "it runs this test",
    "python3 bench/run.py --quick": "takes minutes; tests/repository/test_bench.py tries each benchmark",
    "apt install wine wine64": "changes the machine; tests/run.py does it",
    "apt install python3-venv": "changes the machine",
    "python3 build.py --with-model q4_0 --volume-size 2g": "downloads 3.5 GB; test_build.py packs a small model so",
    "python3 build.py --wheel compile": "what `python3 build.py` does where only the package index is reached, as here",
    "python3 build.py --wheel release": "asks GitHub; tests/bundle/test_assemble.py tries the choice locally",
    "python3 build.py --python 3.11": "test_other_bundles.py builds and double-clicks it",
    "python3 build.py --recipe chatglm3-0.4": "test_other_bundles.py builds and double-clicks it",
    "python3 build.py matrix --run N/M": "builds for an hour; tests/bundle/release/test_matrix.py runs shares of it",
    "python3 build.py accept MODEL": "ends with 2 for a model of nobody's: tests/bundle/check/test_accept.py",
    "python3 build.py lock --engine": "compiles for minutes; tests/bundle/engine/test_pinned.py holds the pins",
    "python3 build.py lock": "renews the pins from the internet; test_lock.py tries its parts on local hosts",
    "python3 build.py lock --check": "asks the internet; tests/bundle/recipe/test_lock.py compares with a local hub",
}
"""As a README has it -> why it is not run here."""


def commands(text: str) -> set[str]:
    """Return the command lines of a document: in code blocks, and in code spans that are whole commands."""
    blocks = re.findall(r"^    (\S.*)$", text, re.MULTILINE)
    for fenced in re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        blocks += fenced.splitlines()
    spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)
    found = set()
    for line in (re.sub(r"\s+#.*", "", line).strip() for line in (*blocks, *spans)):
        words = line.split()
        if words[0] in COMMANDS and (len(words) > 1 or not _needs_arguments(words[0])):
            found.add(f"{BUILD} {line}")
        elif re.match(r"(python3? )?build\.py ", line) or re.fullmatch(r"python3? build\.py", line):
            found.add(re.sub(r"^(python3? )?build\.py", BUILD, line))
        elif words[0] in ("apt", ".ci/run", "pip", "git", "sudo", "bash") or words[0].startswith("python"):
            found.add(line)
    return found


def _needs_arguments(command: str) -> bool:
    """``publish`` alone names the command; ``wheel`` alone is one."""
    return command in ("publish", "verify", "smoke", "build", "matrix", "patch", "inspect", "quantize", "size", "diff")


def test_every_command_of_the_readmes_is_run_here_or_listed_with_its_reason() -> None:
    named = {name: commands((ROOT / name).read_text(encoding="utf-8")) for name in READMES}
    for name in READMES:
        named[name].discard(f"{BUILD} COMMAND --help")
        assert named[name] - HERE.keys() - NOT_HERE.keys() == set(), name
    assert (HERE.keys() | NOT_HERE.keys()) - named[READMES[0]] - named[READMES[1]] == set()


class Place:
    """A folder in which commands are typed, and what stands for the names in a README."""

    def __init__(self, folder: Path, archive: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ}
        shutil.copytree(archive.parent, folder / "dist")
        (folder / "cache" / "files").mkdir(parents=True)
        new = bundle_json().replace(b'"version": "1.0.0"', b'"version": "1.1.0"')
        self.values = {
            "archive": archive,
            "old": archive_of(folder, "old").path,
            "new": archive_of(folder, "new", {"bundle.json": new, "app/oneclick/web/page.js": b"new"}).path,
            "weights": folder / "weights",
        }
        write_random_checkpoint(folder / "weights")

    def use(self, kind: str, host: Host) -> None:
        """Let ``kind`` stand for a local server of it."""
        self.values[kind] = host.target  # type: ignore[assignment]
        self.environment.update(host.variables())

    def type(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run ``python3 build.py`` with the words of ``line``; it must succeed and say something."""
        words = shlex.split(line)
        here = words[:1] == ["{repository}"]
        words = [word.format(**self.values) for word in words[here:]]
        done = subprocess.run(
            ["python3", ROOT / "build.py", *words],
            cwd=ROOT if here else self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0 and done.stdout, f"{line}\n{done.stdout}\n{done.stderr}"
        return done


@pytest.fixture(scope="module")
def place(built_archive: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("readme"), built_archive)
    made.values["model"] = tiny_model
    made.values["wheel"] = Path(made.type("wheel").stdout.splitlines()[0])
    made.type("publish --to release")
    with ExitStack() as stack:
        made.use("github", stack.enter_context(serving(GitHubHost())))
        made.use("hf", stack.enter_context(serving(HuggingFaceHost())))
        made.use("modelscope", stack.enter_context(serving(ModelScopeHost())))
        (made.folder / "netdisk").mkdir()
        made.use("webdav", stack.enter_context(serving_webdav(made.folder / "netdisk")))
        yield made


@pytest.mark.parametrize("command", HERE)
def test_the_command_does_what_it_says(place: Place, command: str) -> None:
    place.type(HERE[command])


def test_help_is_there_for_every_command(place: Place) -> None:
    for name in COMMANDS:
        assert "Options:" in place.type(f"{name} --help").stdout
