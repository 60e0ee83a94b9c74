"""Secrets in every setting, written in every wrong way, are in no report, no log and no window."""

from __future__ import annotations

import io
import json
import logging
import re
import threading
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import settings as how
from hypothesis import strategies as st

from oneclick import logs
from oneclick.console import Console
from oneclick.doors import doctor
from oneclick.doors.run import Launcher
from oneclick.errors import OneClickError
from oneclick.folder import BundleFolder
from oneclick.masking import without_secrets
from oneclick.messages import set_language
from oneclick.model.catalogue import direct_links, remote_file
from oneclick.settings import CHECKS, read_settings
from tests.bundle.release.releases import bundle_json

SECRETS = st.from_regex(r"\A[a-z]{2}-?Sq7[A-Za-z0-9_/+.:-]{8,24}={0,2}\Z")
"""As keys and tokens look; ``Sq7`` is in nothing else."""
ALONE = (
    *("{key} = {0}", "{key} = '{0}'", "{key} = '{0}", '{key} = "{0}', "{key} = “{0}”", "{key} ＝ '{0}'", "{key}: {0}"),
    *("{key} = [ '{0}' ]", "{key} = [ '{0}'", "{key} = [\n'{0}'\n]", "[{key}]\nvalue = '{0}'", "{key}.x = '{0}'"),
    *("{key} = {{ a = '{0}' }}", "{key} = {{ a = 1, a = '{0}' }}", '{key} = "C:\\x{0}"', "{key}\n=\n{0}", "{0}"),
    *("{key} = '''\n{0}\n'''", "{key} = '''\n{0}", "{key} =\n{0}", "{key} = '1'\n{key} = '{0}'", "x = 1 {key} = {0}"),
    *("port = 8000 {key} = {0}", "{key} = '{0}' '{0}'", "'{0}' = '{key}'", '"{0}" = 1', "{0} = '{key}'", "{key} {0}"),
    *("{key} = 1{0}", "{key} = 0x{0}", "# {key}\n{0}", "{key} = '{0}' # {0}", "model = {0} {key}", "[{0}]\nx = 1"),
)
"""How people write a secret setting; ``{key}`` is its name, right or nearly."""
NAMES = ("api_key", "API_KEY", "apikey", "api-key", "key", "mirrors", "mirror", "Mirrors")
ADDRESSES = (
    *("https://me:{0}@h.example/m.bin", "https://{0}@h.example", "https://h.example/m.bin?token={0}", "me:{0}@h:80"),
    *("ftp://me:{0}@h.example", "http://h.example/#token={0}", "h.example/m.bin?token={0}", "http://[?x={0}"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BundleFolder]:
    """A bundle's folder whose log is the one of this process."""
    root = tmp_path_factory.mktemp("bundle")
    (root / "bundle.json").write_bytes(bundle_json())
    (root / "MANIFEST.json").write_text(json.dumps({"format": 1, "files": []}))
    logger = logging.getLogger()
    before = (list(logger.handlers), logger.level, logging.raiseExceptions, threading.excepthook)
    folder = BundleFolder(root)
    logs.start_logging(folder.logs)
    set_language("en")
    yield folder
    for handler in set(logger.handlers) - set(before[0]):
        handler.close()
    logger.handlers, logger.level, logging.raiseExceptions, threading.excepthook = before


def told(folder: BundleFolder, written: str) -> str:
    """Return all that window, log and report say of a 设置.toml that reads ``written``."""
    folder.settings.write_text(written, encoding="utf-8")
    screen = io.StringIO()
    console = Console(screen)
    try:
        Launcher(folder, [], console)._greet()
    except OneClickError as error:  # as __main__ tells it
        logging.getLogger("oneclick").error("stopped: %s", error.both()[1])
        console.bad(str(error))
    with pytest.MonkeyPatch.context() as patched:
        shown = ("doctor.section_folder", "doctor.section_errors", "doctor.section_network")
        patched.setattr(doctor, "SECTIONS", tuple(one for one in doctor.SECTIONS if one[0] in shown))
        patched.setattr(doctor, "check_port", lambda *_: doctor.Finding(doctor.OK, "doctor.port_free", {"port": 1}))
        doctor.run_doctor(folder, console)
    assert "1.0.0" in screen.getvalue()
    log = (folder.logs / "oneclick.log").read_text(encoding="utf-8")
    return "\n".join([screen.getvalue(), log, folder.report.read_text(encoding="utf-8-sig")])


def pieces(secret: str) -> set[str]:
    """The parts that would still tell it: TOML and addresses take secrets apart at their punctuation."""
    return {part for part in re.split(r"[^A-Za-z0-9]", secret) if "Sq7" in part}


@how(max_examples=400, deadline=None)
@given(SECRETS, st.sampled_from(ALONE), st.sampled_from(NAMES), st.sampled_from(("\n", "\r\n", "\nport = 'x'\n")))
@example("sk-Sq7abcdefgh==", "{key} =\n{0}", "api_key", "\n")
@example("9" * 5000 + "Sq7", "{key} = {0}", "api_key", "\n")
def test_a_secret_setting_is_never_shown(folder: BundleFolder, secret: str, form: str, key: str, end: str) -> None:
    said = told(folder, form.format(secret, key=key) + end)
    assert not [part for part in pieces(secret) if part in said], said


@how(max_examples=300, deadline=None)
@given(SECRETS, st.sampled_from(ADDRESSES), st.sampled_from(sorted(CHECKS)), st.sampled_from(("'{}'", "['{}']", "{}")))
def test_a_secret_in_an_address_is_never_shown_whatever_setting_it_is_in(
    folder: BundleFolder, secret: str, address: str, key: str, quotes: str
) -> None:
    secret = secret.replace("#", "").replace("=", "")
    said = told(folder, f"{key} = {quotes.format(address.format(secret))}\n")
    assert not [part for part in pieces(secret) if part in said], said


@given(SECRETS, st.sampled_from(ADDRESSES[:3]))
def test_a_mirror_is_called_by_its_host_alone(folder: BundleFolder, secret: str, address: str) -> None:
    from oneclick.bundle_info import read_bundle_info

    model = read_bundle_info(folder.bundle_json).models[0]
    mirror = address.format(secret.replace("/", "-"))
    names = [source.name for source in remote_file(model, [mirror]).sources]
    assert names[0] == "h.example"
    assert "Sq7" not in "".join(map("".join, direct_links(model, [mirror])))


@how(max_examples=100, deadline=None)
@given(SECRETS, st.sampled_from(("--api-key={}", "--key {}", "{}", "/key:{}", "api_key={}")))
def test_a_secret_on_the_command_line_is_not_shown(folder: BundleFolder, secret: str, form: str) -> None:
    with pytest.raises(OneClickError) as refused:
        Launcher(folder, form.format(secret).split(" "), Console(io.StringIO()))
    assert "Sq7" not in "".join(refused.value.both())


def test_what_logs_name_is_masked_in_tracebacks_too(folder: BundleFolder) -> None:
    try:
        raise OSError("no answer from https://me:Sq7@h.example/?a=Sq7")
    except OSError:
        logging.getLogger("oneclick").exception("asking http_proxy=me:Sq7@proxy:80")
    log = (folder.logs / "oneclick.log").read_text(encoding="utf-8")
    assert "h.example" in log and "proxy:80" in log and "Sq7" not in log


def test_what_is_no_secret_stays() -> None:
    for text in ("http://127.0.0.1:8000/v1", "C:\\a@b\\c: d", "12:30:01 INFO x: y", "a@b.example", "what? yes=no"):
        assert without_secrets(text) == text


def test_windows_and_doctor_still_name_the_mistake(folder: BundleFolder) -> None:
    assert read_settings(folder.settings) is not None
    said = told(folder, "prot = 1\nmirrors = 'C:\\x'\nmodel = D:\\x.bin\n")
    assert "Did you mean port" in said and "mirrors must be a list" in said and "model = 'D:\\x.bin'" in said
