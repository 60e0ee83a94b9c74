"""``一键运行.bat --check-update``: ask the release's ``latest.json`` whether there is a newer one; only when asked."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import sys
from dataclasses import dataclass
from typing import Any, Mapping
from urllib.parse import quote, urljoin

from oneclick.bundle_info import read_bundle_info
from oneclick.console import Console
from oneclick.errors import OneClickError
from oneclick.folder import BundleFolder
from oneclick.messages import current_language, say
from oneclick.sizes import in_words
from oneclick.update.signature import read_public_key, require_signed, version_key

logger = logging.getLogger(__name__)

LATEST = "latest.json"
TIMEOUT_S = 15.0
MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Latest:
    """What ``latest.json`` says, as far as this folder needs it."""

    version: str
    manifest_sha256: str
    notes: tuple[str, ...]
    """In the language of this run."""
    patch_name: str
    """Of the patch that fits this folder; empty without one."""
    patch_bytes: int
    patch_sha256: str


def run_check_update(folder: BundleFolder, console: Console) -> int:
    """Say whether there is a newer release and where; return 0. Raises OneClickError when it cannot be known."""
    info = read_bundle_info(folder.bundle_json)
    page = info.release.page
    if not page:
        raise OneClickError("update.no_page")
    present = hashlib.sha256(folder.manifest.read_bytes()).hexdigest() if folder.manifest.is_file() else ""
    address = urljoin(page, LATEST)
    console.line(say("update.asking", address=address))
    data = _ask(address, page)
    if info.release.public_key:
        _require_signed(data, info.release.public_key, page)
    else:
        console.bad(say("update.unsigned"))
    latest = parse_latest(data, present, page)
    if latest.manifest_sha256 == present:
        console.good(say("update.newest", version=info.version))
    elif not is_newer(latest.version, info.version, page):
        console.line(say("update.not_newer", version=latest.version, present=info.version))
    else:
        console.good(say("update.available", version=latest.version, present=info.version))
        for note in latest.notes:
            console.line(f"  - {note}")
        if latest.patch_name:
            where = urljoin(page, quote(latest.patch_name))
            console.line(say("update.patch_line", address=where, size=in_words(latest.patch_bytes)))
            console.line(say("update.patch_digest", sha256=latest.patch_sha256))
        console.line(say("update.page_line", page=page))
    if sys.stdin is not None and sys.stdin.isatty():
        input()  # The window of a shortcut would close before anybody read it.
    return 0


def _require_signed(data: bytes, key: str, page: str) -> None:
    """Raise OneClickError unless ``latest.json`` is by the owner of this bundle's ``key``, or of one after it."""

    def find(name: str) -> bytes | None:
        try:
            return _ask(urljoin(page, quote(name)), page)
        except OneClickError as error:
            logger.info("%s: %s", name, error.both()[1])
            return None

    require_signed(LATEST, data, read_public_key(key), find)


def is_newer(version: str, present: str, page: str) -> bool:
    """Tell whether ``version`` comes after ``present``. OneClickError for a version that has no place in an order."""
    try:
        return version_key(version) > version_key(present)
    except ValueError as error:
        raise OneClickError("update.bad_answer", page=page) from error


def _ask(address: str, page: str) -> bytes:
    from oneclick.download.faults import Fault
    from oneclick.download.transport import ask_small, make_session

    with make_session() as session:
        try:
            return ask_small(session, address, TIMEOUT_S, MAX_BYTES)
        except Fault as error:
            raise OneClickError("update.no_answer", reason=error.attempt(address).reason, page=page) from error


def parse_latest(data: bytes, present: str, page: str) -> Latest:
    """Read ``latest.json``; ``present`` is the digest of this folder's manifest, to find the patch that fits it."""
    try:
        value: Mapping[str, Any] = json.loads(data.decode("utf-8"))
        if value["format"] != 1:
            raise ValueError(f"format {value['format']}")
        patch: Mapping[str, Any] = next(
            (one for one in value["patches"] if one["from_manifest_sha256"] == present),
            {"name": "", "size_bytes": 0, "sha256": ""},
        )
        return Latest(
            version=printable(value["version"]),
            manifest_sha256=str(value["manifest_sha256"]),
            notes=tuple(printable(note) for note in value["notes"][current_language()]),
            patch_name=_file_name(patch["name"]),
            patch_bytes=int(patch["size_bytes"]),
            patch_sha256=_digest(patch["sha256"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise OneClickError("update.bad_answer", page=page) from error


def _file_name(name: str) -> str:
    """Return ``name`` if it is that of a file beside ``latest.json`` and nothing else; ValueError otherwise."""
    if not re.fullmatch(r"([\w\u4e00-\u9fff][\w.()+ -]{0,200})?", name) or ".." in name:
        raise ValueError(f"patch name {name!r}")
    return name


def _digest(text: str) -> str:
    if not re.fullmatch(r"([0-9a-f]{64})?", text):
        raise ValueError(f"digest {text!r}")
    return text


def printable(text: object) -> str:
    """Return ``text`` without characters that would move the cursor or colour the window."""
    if not isinstance(text, str):
        raise TypeError(type(text).__name__)
    return "".join(character for character in text if character.isprintable())[:500]
