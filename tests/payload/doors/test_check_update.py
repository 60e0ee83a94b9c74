"""--check-update: asks the release's latest.json only when told to, and is not fooled by what it answers."""

from __future__ import annotations

import http.server
import io
import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from bundle.release.patch import make_patch
from bundle.release.release import make_release
from oneclick.console import Console
from oneclick.doors.check_update import run_check_update
from oneclick.errors import OneClickError
from oneclick.folder import BundleFolder
from tests.bundle.release.releases import RECIPE, archive_of, bundle_json
from tests.support.language import english  # noqa: F401 - a fixture of all tests here
from tests.support.wine import extract


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address at which a static host serves it."""
    folder = tmp_path / "site"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def asked(folder: Path) -> str:
    stream = io.StringIO()
    assert run_check_update(BundleFolder(folder), Console(stream)) == 0
    return stream.getvalue()


def test_a_newer_release_is_told_with_its_notes_and_the_patch_that_fits(tmp_path: Path, site: tuple[Path, str]) -> None:
    old = archive_of(tmp_path, "old", page=site[1])
    new_json = bundle_json(page=site[1]).replace(b'"version": "1.0.0"', b'"version": "1.1.0"')
    new = archive_of(tmp_path, "new", {"bundle.json": new_json})
    patch = make_patch(old.path, new.path, tmp_path / "p").archive
    make_release(new.path, site[0], RECIPE, patches=[patch.path], message=("", "Faster"))
    said = asked(extract(old.path, tmp_path / "x"))
    assert "A new version: 1.0.0" in said and "  - Faster\n" in said
    assert f"Small patch: {site[1]}{patch.path.name}" in said and f"Download page: {site[1]}" in said


def test_the_newest_release_says_so(tmp_path: Path, site: tuple[Path, str]) -> None:
    old = archive_of(tmp_path, "old", page=site[1])
    make_release(old.path, site[0], RECIPE)
    assert "1.0.0 is the newest version." in asked(extract(old.path, tmp_path / "x"))


@pytest.mark.parametrize(
    "answer",
    [b"<html>", b"[]", b'{"format": 2}', b"[" * 100_000, b'{"format": 1, "patches": [1]}', b"\xff"],
)
def test_an_answer_that_makes_no_sense_is_said(tmp_path: Path, site: tuple[Path, str], answer: bytes) -> None:
    (site[0] / "latest.json").write_bytes(answer)
    folder = extract(archive_of(tmp_path, "old", page=site[1]).path, tmp_path / "x")
    with pytest.raises(OneClickError) as told:
        asked(folder)
    assert told.value.key == "update.bad_answer"


def test_no_answer_and_no_page_are_said_in_words(tmp_path: Path, site: tuple[Path, str]) -> None:
    folder = extract(archive_of(tmp_path, "old", page=site[1]).path, tmp_path / "x")
    with pytest.raises(OneClickError) as told:
        asked(folder)
    assert "404" in str(told.value) and site[1] in str(told.value)
    with pytest.raises(OneClickError) as told:
        asked(extract(archive_of(tmp_path, "none").path, tmp_path / "y"))
    assert told.value.key == "update.no_page"


def test_control_characters_of_a_release_do_not_reach_the_window(tmp_path: Path, site: tuple[Path, str]) -> None:
    old = archive_of(tmp_path, "old", page=site[1])
    make_release(old.path, site[0], RECIPE)
    latest = json.loads((site[0] / "latest.json").read_bytes())
    latest |= {"manifest_sha256": "0" * 64, "notes": {"zh": [], "en": ["\x1b]0;owned\x07 hello\r\n"]}}
    (site[0] / "latest.json").write_text(json.dumps(latest))
    said = asked(extract(old.path, tmp_path / "x"))
    assert "]0;owned hello" in said and "\x1b" not in said and "\r" not in said
