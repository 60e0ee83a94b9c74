"""The models that ``bundle.json`` knows: found by name, turned into downloads, measured against this PC."""

from __future__ import annotations

import difflib
import logging
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Sequence

from oneclick.bundle_info import BundleInfo, CatalogueModel
from oneclick.errors import OneClickError
from oneclick.masking import without_secrets
from oneclick.messages import say
from oneclick.model.header import ModelHeader, parse_header
from oneclick.model.memory import memory_need, plan_memory
from oneclick.pc.machine import Memory

if TYPE_CHECKING:
    from oneclick.download import RemoteFile, Source

logger = logging.getLogger(__name__)

CATALOGUE_HEADER_BYTES = 40
"""Magic, architecture, version and the seven figures that ``header_hex`` pins."""
REST_OF_HEADER = struct.pack("<6i", 1, 2, 0, 0, 2, 1_018_370)
"""bos, eos, pad, sep, key/value heads and tokenizer length of every ChatGLM3-6B, as convert.py writes them."""


def find_model(info: BundleInfo, name: str = "") -> CatalogueModel:
    """Return the catalogue's model called ``name`` (an id or a file name), the default one for an empty name.

    Raises OneClickError that names the nearest id.
    """
    wanted = name.strip().lower() or info.default_model
    for model in info.models:
        if wanted in (model.id.lower(), model.file_name.lower()):
            return model
    ids = [model.id for model in info.models]
    near = difflib.get_close_matches(wanted, ids, n=1, cutoff=0.0)
    raise OneClickError("download.unknown_model", name=name, near=near[0] if near else "-", known=", ".join(ids))


def remote_file(model: CatalogueModel, mirrors: Sequence[str] = ()) -> RemoteFile:
    """Return ``model`` as something to download, ``mirrors`` (addresses of the file itself) before its own sources.

    Raises OneClickError when no source is left.
    """
    from oneclick.download import BLOCK_BYTES, RemoteFile

    sources = sources_of(model, mirrors)
    if not sources:
        raise OneClickError("download.no_sources", name=model.id)
    header = bytes.fromhex(model.header_hex)
    blocks = model.block_sha256
    if len(blocks) != -(-model.size_bytes // BLOCK_BYTES):
        blocks = ()  # The digest of the whole decides alone.
    return RemoteFile(model.file_name, model.size_bytes, model.sha256, sources, header=header, block_sha256=blocks)


def sources_of(model: CatalogueModel, mirrors: Sequence[str] = ()) -> list[Source]:
    """Return where ``model`` can come from; an entry that makes no sense is logged and left out."""
    from oneclick.download import Source
    from oneclick.download.hubs import source_of

    sources = [Source(_host(address), address) for address in mirrors]
    for entry in model.sources:
        try:
            sources.append(source_of(entry))
        except (KeyError, ValueError):
            logger.warning("%s", say("download.bad_source", model=model.id, source=entry.get("name", entry)))
    return _with_names_of_their_own(sources)


def _with_names_of_their_own(sources: list[Source]) -> list[Source]:
    """Number the sources that share a name: shares and failures are counted by name."""
    from dataclasses import replace

    seen: dict[str, int] = {}
    unique = []
    for source in sources:
        seen[source.name] = seen.get(source.name, 0) + 1
        count = seen[source.name]
        unique.append(source if count == 1 else replace(source, name=f"{source.name} {count}"))
    return unique


def _host(address: str) -> str:
    """Return the name that people see: without user and password, path and query."""
    from urllib.parse import urlsplit

    return urlsplit(address).netloc.rpartition("@")[2]


def direct_links(model: CatalogueModel, mirrors: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Return (name, address) of every source, for people who download by hand; mirrors without their secrets."""
    shown = [without_secrets(address) for address in mirrors]
    return [(source.name, source.address()) for source in sources_of(model, shown)]


def header_of(model: CatalogueModel) -> ModelHeader:
    """Return the model's header, completed with the figures that all ChatGLM3-6B share."""
    head = bytes.fromhex(model.header_hex)[:CATALOGUE_HEADER_BYTES]
    return parse_header(head + REST_OF_HEADER + bytes(16), model.file_name)


@dataclass(frozen=True)
class Fit:
    """Whether a model runs on a PC, and with which context; ``context`` is 0 when it does not."""

    need_bytes: int
    context: int
    full: bool
    """True when the context is all that the engine is proven for."""


def fit(model: CatalogueModel, memory: Memory) -> Fit:
    """Return how ``model`` fits into ``memory``; see ``memory_plan`` for the rules."""
    header = header_of(model)
    need_bytes = model.memory_bytes or memory_need(header, SHORTEST_CONTEXT).total_bytes
    try:
        plan = plan_memory(header, memory)
    except OneClickError:
        return Fit(need_bytes, 0, full=False)
    return Fit(need_bytes, plan.context, full=plan.context >= min(FULL_CONTEXT, header.sequence_length))


SHORTEST_CONTEXT = 1024
FULL_CONTEXT = 8192
