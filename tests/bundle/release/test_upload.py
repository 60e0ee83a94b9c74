"""Uploads to four kinds of place: whole, interrupted, repeated, refused, damaged; never a token in sight."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundle.cli.main import main
from bundle.release.release import make_release
from bundle.release.stores import github
from tests.bundle.release.hosts.github import GitHubHost
from tests.bundle.release.hosts.host import TOKEN, Host, serving
from tests.bundle.release.hosts.huggingface import HuggingFaceHost
from tests.bundle.release.hosts.modelscope import ModelScopeHost
from tests.bundle.release.hosts.webdav import serving_webdav
from tests.bundle.release.releases import RECIPE, archive_of

ROOT = Path(__file__).resolve().parents[3]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),  # huggingface_hub calls httpx2 so
]
KINDS = ["github", "hf", "modelscope", "webdav"]
RUN = "import sys; sys.path[:0] = ['.', 'payload']; from bundle.cli.main import main; sys.exit(main(sys.argv[1:]))"
"""The command line in a process of its own, to be killed."""


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release folder; its archive is large enough to be sent in several pieces."""
    tmp_path = tmp_path_factory.mktemp("release")
    noise = {"app/noise.bin": os.urandom(600_000)}
    make_release(archive_of(tmp_path, "new", noise).path, tmp_path / "out", RECIPE)
    return tmp_path / "out"


@pytest.fixture(autouse=True)
def only_these_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """No token of the person who runs the tests, and none of GitHub's pauses between writes."""
    for name in ("GITHUB_TOKEN", "GH_TOKEN", "HF_TOKEN", "MODELSCOPE_API_TOKEN", "WEBDAV_USER", "WEBDAV_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(github, "SECONDS_BETWEEN_WRITES", 0)
    monkeypatch.setattr(github, "SECONDS_BETWEEN_REQUESTS", 0)
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)


def open_host(kind: str, folder: Path) -> object:
    folder.mkdir(exist_ok=True)
    kinds = {"github": GitHubHost, "hf": HuggingFaceHost, "modelscope": ModelScopeHost}
    return serving_webdav(folder) if kind == "webdav" else serving(kinds[kind]())


@pytest.fixture(params=KINDS)
def host(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    with open_host(request.param, tmp_path / "dav") as opened:  # type: ignore[attr-defined]
        for name, value in opened.variables().items():
            monkeypatch.setenv(name, value)
        yield opened


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def publish(release: Path, *targets: str) -> int:
    return main(["publish", str(release), *(word for target in targets for word in ("--to", target))])


def test_a_release_is_uploaded_whole_and_a_second_run_sends_nothing(
    host: Host, release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(release, host.target) == 0, capsys.readouterr().err
    assert host.files == contents(release)
    assert host.uploads[0] == "ChatGLM3_cpp.7z" and host.uploads[-1] == "latest.json"
    assert f"{len(host.files)} files uploaded and read back" in capsys.readouterr().out
    before = list(host.uploads)
    assert publish(release, host.target) == 0
    assert host.uploads == before
    assert f"all {len(host.files)} files are there and right; nothing was uploaded" in capsys.readouterr().out


def test_only_what_changed_is_sent_and_replaces_what_was_there(host: Host, release: Path, tmp_path: Path) -> None:
    assert publish(release, host.target) == 0
    changed = tmp_path / "changed"
    archive = release / "ChatGLM3_cpp.7z"
    make_release(archive, changed, RECIPE, message=("新", "new"))
    host.uploads.clear()
    assert publish(changed, host.target) == 0
    assert host.files == contents(changed)
    assert set(host.uploads) == {
        "index.html", "latest.json", "SHA256SUMS", "release-notes.zh.md", "release-notes.en.md",
    }  # fmt: skip


def test_an_upload_that_was_killed_goes_on_with_the_file_that_was_not_complete(host: Host, release: Path) -> None:
    host.faults.hold_after_bytes = 100_000
    command = [sys.executable, "-c", RUN, "publish", str(release), "--to", host.target]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not host.faults.held.wait(1):
        assert process.poll() is None, "it ended before it was killed"
    process.kill()
    process.wait()
    assert "ChatGLM3_cpp.7z" not in host.files and "latest.json" not in host.files
    host.faults.go_on.set()
    host.faults.hold_after_bytes = None
    host.uploads.clear()
    assert publish(release, host.target) == 0
    assert host.files == contents(release)
    assert sorted(host.uploads) == sorted(host.files)


def test_files_that_were_complete_before_the_interruption_are_not_sent_again(
    host: Host, release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(release, host.target) == 0
    host_had = set(host.files)
    remove_from(host, "latest.json")
    host.uploads.clear()
    assert publish(release, host.target) == 0
    assert host.uploads == ["latest.json"] and set(host.files) == host_had
    assert f"1 files uploaded and read back, {len(host_had) - 1} were there already" in capsys.readouterr().out


def remove_from(host: Host, name: str) -> None:
    """Delete a file on the host, as a person would on its site."""
    if isinstance(host, GitHubHost):
        number = next(number for number, asset in host.assets.items() if asset["name"] == name)
        del host.assets[number], host.files[name]
    elif isinstance(host, HuggingFaceHost | ModelScopeHost):
        del host.files[name]
    else:
        (host.releases / name).unlink()  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["github", "webdav"])
def test_a_connection_that_breaks_is_said_with_what_to_do(
    kind: str, release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_host(kind, tmp_path / "dav") as host:  # type: ignore[attr-defined]
        for name, value in host.variables().items():
            monkeypatch.setenv(name, value)
        host.faults.cut_after_bytes = 50_000
        assert publish(release, host.target) == 8
        assert "run the same command again" in capsys.readouterr().err
        host.faults.cut_after_bytes = None
        assert publish(release, host.target) == 0
        assert host.files == contents(release)


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_token_is_said(host: Host, release: Path, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    host.faults.status = status
    assert publish(release, host.target) == 8
    said = capsys.readouterr().err
    assert "does not let us in" in said and f"it answered {status}" in said
    assert "WEBDAV_PASSWORD" in said or f"check {next(iter(host.environment))}" in said
    assert host.files == {}


def test_the_token_really_is_what_lets_us_in(host: Host, release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in host.environment.items():
        if value == TOKEN:
            monkeypatch.setenv(name, "another one")
    assert publish(release, host.target) == 8
    assert host.files == {}


def test_an_unknown_repository_is_said(host: Host, release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if host.target.startswith("webdav:"):
        host.faults.status = 404
    assert publish(release, host.target.replace("me/chat", "me/other")) == 2
    assert "does not exist" in capsys.readouterr().err


def test_a_full_place_is_said(host: Host, release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    host.faults.upload_status = 507
    assert publish(release, host.target) == 7
    assert "is full" in capsys.readouterr().err
    assert "latest.json" not in host.files


def test_a_file_that_comes_back_changed_is_removed_and_not_called_published(
    host: Host, release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host.faults.spoiled.add("index.html")
    assert publish(release, host.target) == 4
    output = capsys.readouterr()
    line = next(line for line in (release / "SHA256SUMS").read_text().splitlines() if line.endswith("index.html"))
    assert "index.html came back" in output.err and line[:64] in output.err and "its sha256 is " in output.err
    assert "uploaded" not in output.out
    assert "index.html" not in host.files and "latest.json" not in host.files


def test_tokens_are_neither_printed_nor_logged_nor_stored(
    host: Host,
    release: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    before = contents(release)
    caplog.set_level(logging.DEBUG)
    assert publish(release, host.target) == 0
    host.faults.status = 403
    assert publish(release, host.target) == 8
    host.faults.status, host.faults.spoiled = 0, {"index.html"}
    publish(release, host.target)
    output = capsys.readouterr()
    for text in (output.out, output.err, caplog.text):
        assert TOKEN not in text
    assert contents(release) == before
    kept = [path for path in (*home.rglob("*"), *tmp_path.rglob("*")) if path.is_file()]
    assert [path for path in kept if TOKEN.encode() in path.read_bytes()] == []


def test_one_command_publishes_to_a_folder_and_two_places(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dav").mkdir()
    with serving_webdav(tmp_path / "dav") as netdisk, serving(GitHubHost()) as hub:
        for name, value in {**netdisk.variables(), **hub.variables()}.items():
            monkeypatch.setenv(name, value)
        places = ["--to", str(tmp_path / "out"), "--to", netdisk.target, "--to", hub.target]
        assert main(["publish", str(release / "ChatGLM3_cpp.7z"), *places]) == 0
        assert netdisk.files == hub.files == contents(tmp_path / "out")
        assert isinstance(hub, GitHubHost)
        assert hub.releases[0]["draft"] is True and "# ChatGLM3_cpp 1.0.0" in hub.releases[0]["body"]
        output = capsys.readouterr().out
        assert f"mirror: {netdisk.url}/a/release/" in output
        assert "mirror: https://github.com/me/chat/releases/download/v1.0.0/" in output


def test_a_place_that_fails_does_not_keep_the_release_from_the_others(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dav").mkdir()
    with serving_webdav(tmp_path / "dav") as netdisk, serving(GitHubHost()) as hub:
        for name, value in {**netdisk.variables(), **hub.variables()}.items():
            monkeypatch.setenv(name, value)
        hub.faults.status = 401
        assert publish(release, hub.target, netdisk.target) == 8
        assert netdisk.files == contents(release)
        assert "does not let us in" in capsys.readouterr().err


def test_a_tag_that_was_not_pushed_is_said(
    release: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(GitHubHost()) as host:
        for name, value in host.variables().items():
            monkeypatch.setenv(name, value)
        assert publish(release, "github:me/chat@v9") == 2
        assert "has no tag v9" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("github:me/chat", "write it like github:OWNER/REPO@TAG"),
        ("hf:chat", "write it like hf:OWNER/NAME"),
        ("modelscope:a/b/c", "write it like modelscope:OWNER/NAME"),
        ("webdav:ftp://host/", "write it like webdav:https://HOST/FOLDER/"),
        ("githb:me/chat@v1", "did you mean 'github'?"),
        ("webdav:https://me:word@host/x/", "WEBDAV_USER and WEBDAV_PASSWORD"),
    ],
)
def test_a_wrong_target_is_said(release: Path, place: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert publish(release, place) == 2
    said = capsys.readouterr().err
    assert words in said and "word@" not in said


@pytest.mark.parametrize(
    ("place", "variable"),
    [
        ("github:me/chat@v1.0.0", "GITHUB_TOKEN or GH_TOKEN"),
        ("hf:me/chat", "HF_TOKEN"),
        ("modelscope:me/chat", "MODELSCOPE_API_TOKEN"),
        ("webdav:https://127.0.0.1/x/", "WEBDAV_USER"),
    ],
)
def test_a_missing_token_is_said_before_any_work(
    tmp_path: Path, place: str, variable: str, capsys: pytest.CaptureFixture[str]
) -> None:
    places = ["--to", str(tmp_path / "out"), "--to", place]
    assert main(["publish", str(tmp_path / "none.7z"), *places]) == 2
    assert f"the environment holds no {variable}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_file_too_large_for_a_place_is_said_before_anything_is_sent(
    release: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(github.GitHubStore, "largest_bytes", 1000)
    with serving(GitHubHost()) as host:
        for name, value in host.variables().items():
            monkeypatch.setenv(name, value)
        assert publish(release, host.target) == 2
        assert "--volume-size 1900m" in capsys.readouterr().err
        assert host.uploads == []


def test_a_folder_that_is_no_whole_release_is_not_uploaded(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    copy = tmp_path / "copy"
    make_release(release / "ChatGLM3_cpp.7z", copy, RECIPE)
    (copy / "index.html").write_text("changed")
    assert publish(copy, "hf:me/chat") == 4
    assert "index.html is not the file that was released" in capsys.readouterr().err
    (copy / "index.html").unlink()
    assert publish(copy, "hf:me/chat") == 2
    assert "it lacks index.html" in capsys.readouterr().err


def test_on_a_terminal_size_speed_and_time_left_are_shown(
    release: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = io.StringIO()
    shown.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", shown)
    with serving(GitHubHost()) as host:
        for name, value in host.variables().items():
            monkeypatch.setenv(name, value)
        assert publish(release, host.target) == 0
    bar = next(part for part in shown.getvalue().split("\r") if "ChatGLM3_cpp.7z: 100%" in part)
    assert "B/s" in bar and "<" in bar
