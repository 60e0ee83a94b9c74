"""Where ModelScope and Hugging Face keep a file, and what they say about it before it is downloaded."""

from __future__ import annotations

import json
import urllib.parse
from typing import TYPE_CHECKING, Mapping

from oneclick.download.faults import HICCUP, Fault
from oneclick.download.files import Announced, Source
from oneclick.download.transport import ask_small, head

if TYPE_CHECKING:
    import requests

MODELSCOPE = "https://www.modelscope.cn"
HUGGING_FACE = "https://huggingface.co"
TIMEOUT_S = 10.0
LISTING_MAX_BYTES = 4 << 20


def source_of(entry: Mapping[str, str]) -> Source:
    """Return the source that a catalogue entry describes.

    ``kind`` is ``file`` (``url``), ``modelscope`` or ``huggingface`` (``repo``, ``revision``, ``path``, and
    ``endpoint`` for a mirror). Raises KeyError or ValueError for an entry that is none of these.
    """
    kind, name = entry["kind"], entry["name"]
    if kind == "file":
        return Source(name, entry["url"])
    if kind == "modelscope":
        return modelscope(
            name, entry["repo"], entry.get("revision") or "master", entry["path"], entry.get("endpoint") or MODELSCOPE
        )
    if kind == "huggingface":
        return hugging_face(
            name, entry["repo"], entry.get("revision") or "main", entry["path"], entry.get("endpoint") or HUGGING_FACE
        )
    raise ValueError(kind)


def modelscope(name: str, repo: str, revision: str, path: str, endpoint: str = MODELSCOPE) -> Source:
    """Return the source for ``path`` in a ModelScope repository; the listing gives size and sha256.

    Source: the modelscope_hub 0.5.1 package (list: ``Data.Files[]`` with Path, Type, Size, Sha256).
    """
    listing = (
        f"{endpoint}/api/v1/models/{repo}/repo/files?Revision={urllib.parse.quote(revision, safe='')}&Recursive=True"
    )

    def announce(session: requests.Session) -> Announced:
        text = ask_small(session, listing, TIMEOUT_S, LISTING_MAX_BYTES)
        try:
            files = json.loads(text)["Data"]["Files"]
            entry = next(file for file in files if file["Path"] == path)
            # Size 0 and an absent digest mean "not known" there.
            return Announced(int(entry.get("Size") or 0) or None, entry.get("Sha256") or None)
        except (ValueError, KeyError, TypeError, StopIteration) as error:
            raise Fault("no_listing", HICCUP) from error

    return Source(name, f"{endpoint}/models/{repo}/resolve/{_quoted(revision)}/{_quoted(path)}", announce)


def hugging_face(name: str, repo: str, revision: str, path: str, endpoint: str = HUGGING_FACE) -> Source:
    """Return the source for ``path`` in a Hugging Face repository (or its mirror at ``endpoint``).

    A HEAD without following the redirect gives X-Linked-Size and, for LFS files, the sha256 as X-Linked-Etag.
    Source: huggingface_hub 0.36.0, ``get_hf_file_metadata``.
    """
    url = f"{endpoint}/{repo}/resolve/{_quoted(revision)}/{_quoted(path)}"

    def announce(session: requests.Session) -> Announced:
        headers = head(session, url, TIMEOUT_S).headers
        size = headers.get("X-Linked-Size", "")
        digest = headers.get("X-Linked-Etag", "").strip('W/"')
        return Announced(int(size) if size.isdigit() else None, digest if len(digest) == 64 else None)

    return Source(name, url, announce)


def _quoted(path: str) -> str:
    return urllib.parse.quote(path, safe="/")
