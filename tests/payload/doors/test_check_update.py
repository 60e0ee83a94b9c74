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

from bundle.errors import UsageError
from bundle.release.patch import make_patch
from bundle.release.release import make_release
from bundle.release.sign import read_signer
from oneclick.console import Console
from oneclick.doors.check_update import run_check_update
from oneclick.errors import OneClickError
from oneclick.folder import BundleFolder
from tests.bundle.release.releases import RECIPE, archive_of
from tests.payload.update.test_signature import make_key
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
    new = archive_of(tmp_path, "new", version="1.1.0", page=site[1])
    patch = make_patch(old.path, new.path, tmp_path / "p").archive
    make_release(new.path, site[0], RECIPE, patches=[patch.path], message=("", "Faster"))
    said = asked(extract(old.path, tmp_path / "x"))
    assert "A new version: 1.1.0" in said and "  - Faster\n" in said
    assert (
        f"Small patch: {site[1]}{patch.path.name}" in said
        and f"its sha256: {patch.sha256}" in said
        and f"Download page: {site[1]}" in said
    )


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
    latest |= {"version": "2", "manifest_sha256": "0" * 64, "notes": {"zh": [], "en": ["\x1b]0;owned\x07 hello\r\n"]}}
    (site[0] / "latest.json").write_text(json.dumps(latest))
    said = asked(extract(old.path, tmp_path / "x"))
    assert "]0;owned hello" in said and "\x1b" not in said and "\r" not in said


@pytest.mark.parametrize("name", ["//evil.example/p.7z", "../p.7z", "a/b.7z", "http:p.7z", "a\\b.7z", "p.7z?x", ".p"])
def test_a_patch_that_lies_elsewhere_is_no_patch(tmp_path: Path, site: tuple[Path, str], name: str) -> None:
    old = archive_of(tmp_path, "old", page=site[1])
    make_release(archive_of(tmp_path, "new", version="2", page=site[1]).path, site[0], RECIPE)
    latest = json.loads((site[0] / "latest.json").read_bytes())
    one = {
        "name": name,
        "size_bytes": 1,
        "sha256": "0" * 64,
        "from_manifest_sha256": old.member_sha256["MANIFEST.json"],
    }
    (site[0] / "latest.json").write_text(json.dumps(latest | {"patches": [one]}))
    with pytest.raises(OneClickError) as told:
        asked(extract(old.path, tmp_path / "x"))
    assert told.value.key == "update.bad_answer"


@pytest.mark.parametrize("version", ["0.0.1", "1.0", "1.0.0"])
def test_what_is_not_newer_is_not_offered(tmp_path: Path, site: tuple[Path, str], version: str) -> None:
    old = archive_of(tmp_path, "old", page=site[1])
    make_release(archive_of(tmp_path, "new", {"a": b"1"}, version=version, page=site[1]).path, site[0], RECIPE)
    said = asked(extract(old.path, tmp_path / "x"))
    assert f"offers {version}, which is not newer than 1.0.0" in said and "A new version" not in said


def test_a_bundle_with_a_key_believes_only_what_its_owner_signed(tmp_path: Path, site: tuple[Path, str]) -> None:
    secret, _ = make_key(tmp_path / "own", "a.key")
    stranger, _ = make_key(tmp_path / "other", "b.key")
    signer = read_signer(secret, lambda: "")
    release = {"page": site[1], "public_key": signer.public_key}
    folder = extract(archive_of(tmp_path, "old", **release).path, tmp_path / "x")
    new = archive_of(tmp_path, "new", version="1.1.0", **release).path
    with pytest.raises(UsageError, match="has to be signed"):
        make_release(new, site[0], RECIPE)
    with pytest.raises(UsageError, match="not the one that users' bundles trust"):
        make_release(new, site[0], RECIPE, signer=read_signer(stranger, lambda: ""))
    make_release(new, site[0], RECIPE, signer=signer)
    said = asked(folder)
    assert "A new version: 1.1.0" in said and "no public key" not in said
    latest = site[0] / "latest.json"
    latest.write_bytes(latest.read_bytes().replace(b"1.1.0", b"1.2.0"))
    with pytest.raises(OneClickError) as told:
        asked(folder)
    assert told.value.key == "update.wrong_signature"
    (site[0] / "latest.json.minisig").unlink()
    with pytest.raises(OneClickError) as told:
        asked(folder)
    assert told.value.key == "update.not_signed"


def test_a_bundle_without_a_key_says_that_updates_are_unsigned(tmp_path: Path, site: tuple[Path, str]) -> None:
    old = archive_of(tmp_path, "old", page=site[1])
    make_release(old.path, site[0], RECIPE)
    assert "nobody can tell who made an update" in asked(extract(old.path, tmp_path / "x"))
