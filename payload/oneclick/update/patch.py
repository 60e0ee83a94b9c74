"""``update/patch.json``: what a patch changes, as the builder wrote it.

    {"format": 1, "name": "ChatGLM3_cpp",
     "from": {"version", "manifest_sha256"}, "to": {"version", "manifest_sha256"},
     "files": [{"path", "stored", "size_bytes", "sha256", "is_new"}, ...],    stored: name in update/new
     "removed": ["path", ...]}

The digest of MANIFEST.json says which files a folder has to have, so two digests name A and B exactly.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import asdict, dataclass
from typing import Any, Mapping

from oneclick.errors import OneClickError
from oneclick.folder import CHATS
from oneclick.update.integrity import USERS_OWN
from oneclick.update.signature import version_key

FORMAT = 1
UPDATE_FOLDER = "update"
PATCH_NAME = "patch.json"
PATCH_FILE = f"{UPDATE_FOLDER}/{PATCH_NAME}"
NEW_FOLDER = "update/new"
_STORED = re.compile(r"[0-9]{4,6}(\.[0-9A-Za-z]{1,8})?")
_FORBIDDEN_FOLDERS = ("logs", CHATS, UPDATE_FOLDER)


@dataclass(frozen=True)
class PatchFile:
    """One file of B that A lacks or has with another content."""

    path: str
    """Relative to the bundle's folder, with forward slashes."""
    stored: str
    """Its name in ``update/new``."""
    size_bytes: int
    sha256: str
    is_new: bool
    """Whether A has no such file."""


@dataclass(frozen=True)
class Patch:
    """The way from A to B."""

    name: str
    from_version: str
    from_manifest_sha256: str
    to_version: str
    to_manifest_sha256: str
    files: tuple[PatchFile, ...]
    removed: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The content of ``patch.json``."""
        return {
            "format": FORMAT,
            "name": self.name,
            "from": {"version": self.from_version, "manifest_sha256": self.from_manifest_sha256},
            "to": {"version": self.to_version, "manifest_sha256": self.to_manifest_sha256},
            "files": [asdict(file) for file in self.files],
            "removed": list(self.removed),
        }


@dataclass(frozen=True)
class SignedPatch:
    """``patch.json`` as it came, with the signatures beside it."""

    data: bytes
    beside: Mapping[str, bytes]
    """File name -> content: signatures and keys."""

    def to_json(self) -> dict[str, Any]:
        """What a journal keeps of it."""
        files = {name: base64.b64encode(content).decode() for name, content in self.beside.items()}
        return {"patch": base64.b64encode(self.data).decode(), "beside": files}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SignedPatch:
        """Read what ``to_json`` gave; KeyError, TypeError or ValueError where it is something else."""
        beside = {str(name): base64.b64decode(content) for name, content in data["beside"].items()}
        return cls(base64.b64decode(data["patch"]), beside)


def is_older(version: str, than: str) -> bool:
    """Tell whether ``version`` comes before ``than``; OneClickError for a version that has no place in an order."""
    try:
        return version_key(version) < version_key(than)
    except ValueError as error:
        raise OneClickError("update.damaged", reason=repr(error)) from error


def read_patch(data: bytes) -> Patch:
    """Read ``patch.json``. Raises OneClickError where it is damaged or names a path that no patch may touch."""
    try:
        return parse_patch(json.loads(data.decode("utf-8")))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise OneClickError("update.damaged", reason=repr(error)) from error


def parse_patch(data: Mapping[str, Any]) -> Patch:
    """Turn the JSON into a patch; KeyError, TypeError or ValueError where it is none."""
    if data["format"] != FORMAT:
        raise ValueError(f"format {data['format']}")
    files = tuple(_file(item) for item in data["files"])
    removed = tuple(_safe(path) for path in data["removed"])
    paths = [path.lower() for path in (*(file.path for file in files), *removed)]
    if len(set(paths)) != len(paths):
        raise ValueError("a path is named twice")
    before, after = data["from"], data["to"]
    return Patch(
        name=str(data["name"]),
        from_version=str(before["version"]),
        from_manifest_sha256=str(before["manifest_sha256"]),
        to_version=str(after["version"]),
        to_manifest_sha256=str(after["manifest_sha256"]),
        files=files,
        removed=removed,
    )


def _file(item: Mapping[str, Any]) -> PatchFile:
    stored = item["stored"]
    if not _STORED.fullmatch(stored):
        raise ValueError(f"stored name {stored!r}")
    if type(item["size_bytes"]) is not int or type(item["is_new"]) is not bool:
        raise TypeError(f"a file is broken: {item!r}")
    return PatchFile(_safe(item["path"]), stored, item["size_bytes"], str(item["sha256"]), item["is_new"])


def _safe(path: object) -> str:
    """Return ``path`` if it stays in the folder and is not the user's own; ValueError otherwise."""
    if not isinstance(path, str):
        raise TypeError(f"path {path!r}")
    parts = path.split("/")
    is_inside = not any(part in ("", ".", "..") for part in parts) and not re.search(r'[\\:*?"<>|\x00-\x1f]', path)
    if not is_inside or not may_touch(path):
        raise ValueError(f"path {path!r}")
    return path


def may_touch(path: str) -> bool:
    """Tell whether a patch may change ``path``: never the settings, a model beside the .bat, logs, chats, or itself."""
    lower = path.lower()
    is_model = "/" not in lower and lower.endswith(".bin")
    return lower not in USERS_OWN and not is_model and lower.split("/")[0] not in _FORBIDDEN_FOLDERS
