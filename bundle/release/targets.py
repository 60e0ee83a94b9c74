"""What ``--to`` names: a folder here, or a place on the network.

github:OWNER/REPO@TAG       assets of the release of that tag (a draft is made where there is none)
hf:OWNER/NAME               a model repository on Hugging Face
modelscope:OWNER/NAME       a model repository on ModelScope
webdav:https://HOST/FOLDER/ a folder of a netdisk or web server
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bundle.errors import UsageError
from bundle.recipe.recipe import unknown

if TYPE_CHECKING:
    from bundle.log import Log
    from bundle.release.stores import Store

FORMS = {
    "github": (re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)@(?P<tag>\S+)"), "github:OWNER/REPO@TAG"),
    "hf": (re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)"), "hf:OWNER/NAME"),
    "modelscope": (re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)"), "modelscope:OWNER/NAME"),
    "webdav": (re.compile(r"(?P<url>https?://[^\s?#]+)"), "webdav:https://HOST/FOLDER/"),
}
"""Kind of place -> what follows the colon, and how to write it."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A place on the network that a release is uploaded to."""

    kind: str
    """A key of ``FORMS``."""
    repo: str = ""
    """``owner/name``; empty for WebDAV."""
    tag: str = ""
    """GitHub only."""
    url: str = ""
    """WebDAV only; ends in ``/``."""


def read_target(text: str) -> Target | Path:
    """Return what ``text``, an argument of ``--to``, names.

    Raises UsageError for a kind nobody knows, a form that is not the kind's, and a password inside an address.
    """
    kind, colon, rest = text.partition(":")
    if not colon or len(kind) < 2 or Path(text).is_dir():  # C:\release is a folder
        return Path(text)
    if kind not in FORMS:
        raise unknown("place to publish to", kind, list(FORMS), where="--to (without a colon it is a folder)")
    pattern, form = FORMS[kind]
    match = pattern.fullmatch(rest)
    if match is None:
        raise UsageError(f"--to {kind}: is not complete", why=f"got {_shown(rest)!r}", do=f"write it like {form}")
    found = match.groupdict()
    if "@" in urlsplit(found.get("url", "")).netloc:
        raise UsageError(
            "--to webdav: holds a password",
            why="command lines are kept in histories and logs",
            do="put it into the environment as WEBDAV_USER and WEBDAV_PASSWORD, and leave it out of the address",
        )
    if "url" in found:
        found["url"] = found["url"].rstrip("/") + "/"
    return Target(kind=kind, **found)


def _shown(rest: str) -> str:
    """``rest`` as errors may show it: without what stands before an ``@`` in an address."""
    return re.sub(r"(?<=//)[^/@]*@", "", rest)


def open_store(target: Target, folder: Path, log: Log) -> Store:
    """Return the client for ``target``, which will take the files of the release in ``folder``.

    Asks nothing of the network yet. Raises UsageError when the environment holds no token for it.
    """
    if target.kind == "github":
        from bundle.release.stores.github import GitHubStore

        return GitHubStore(target.repo, target.tag, folder, log)
    if target.kind == "hf":
        from bundle.release.stores.huggingface import HuggingFaceStore

        return HuggingFaceStore(target.repo, log)
    if target.kind == "modelscope":
        from bundle.release.stores.modelscope import ModelScopeStore

        return ModelScopeStore(target.repo, log)
    from bundle.release.stores.webdav import WebDavStore

    return WebDavStore(target.url, log)
