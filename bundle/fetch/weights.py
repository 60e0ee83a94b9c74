"""Fetching the original weights from ModelScope or Hugging Face, with the digests their listings give."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundle.errors import BundleError, DigestMismatch, SourceError, StorageError
from bundle.fetch.cache import default_cache_dir
from bundle.log import Log, human_bytes
from oneclick.files import move

if TYPE_CHECKING:
    import requests

    from oneclick.download import Progress, Source

ORGANISATIONS = ("THUDM", "zai-org", "ZhipuAI")
"""One organisation's names: old and new on Hugging Face, and on ModelScope."""

SMALL_FILES = ("config.json", "tokenizer.model", "tokenization_chatglm.py", "configuration.json")
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
RECORD = "hub.json"
LISTING_MAX_BYTES = 4 << 20
SMALL_MAX_BYTES = 16 << 20
TIMEOUT_S = 15.0


@dataclass(frozen=True)
class Hub:
    """A place that lists and serves repositories; ``kind`` is ``modelscope`` or ``huggingface``."""

    name: str
    kind: str
    endpoint: str
    organisation: str
    """Under which of ORGANISATIONS it keeps the weights."""
    revision: str


CHINA_FIRST = (
    Hub("ModelScope", "modelscope", "https://www.modelscope.cn", "ZhipuAI", "master"),
    Hub("hf-mirror", "huggingface", "https://hf-mirror.com", "THUDM", "main"),
    Hub("Hugging Face", "huggingface", "https://huggingface.co", "THUDM", "main"),
)


def hubs_in_order(hub_id: str, mirrors: str) -> Sequence[Hub]:
    """Return the hubs as ``--mirrors`` says: ``cn`` or ``global`` first, or (``auto``) as quickly as they answer."""
    if mirrors == "cn":
        return CHINA_FIRST
    if mirrors == "global":
        return CHINA_FIRST[::-1]
    from oneclick.download import order_by_answer

    asked = {hub.name: hub for hub in CHINA_FIRST}
    config = HubFile("config.json", 0)
    return [asked[source.name] for source in order_by_answer([_source(hub_id, config, hub) for hub in CHINA_FIRST])]


@dataclass(frozen=True)
class HubFile:
    """One file of a listing; exactly one of the digests is known, the git one (SHA-1 of a blob) for small files."""

    path: str
    size_bytes: int
    sha256: str = ""
    git_sha1: str = ""


def fetch_checkpoint(
    hub_id: str,
    downloads: Path | None,
    log: Log,
    *,
    mirrors: str = "auto",
    hubs: Sequence[Hub] | None = None,
) -> Path:
    """Return the folder that holds the original weights of ``hub_id``, downloading what is missing of them.

    mirrors: which hubs come first, see ``hubs_in_order``; ``hubs`` itself is that order when given. The first hub that
    answers says which files there are; sizes and digests are recorded in ``hub.json`` beside them and hold for every
    later run. Each file then comes from whichever hub serves these very bytes.
    Raises SourceError, DigestMismatch or StorageError; what arrived is kept.
    """
    from oneclick.download import make_session

    folder = (downloads or default_cache_dir() / "weights") / hub_id.replace("/", "--")
    folder.mkdir(parents=True, exist_ok=True)
    files = _recorded(folder)
    if files and all(_is_there(folder, file) for file in files):
        return folder
    hubs = hubs or hubs_in_order(hub_id, mirrors)
    session = make_session()
    try:
        files = files or _list_first(hub_id, hubs, session, folder, log)
        missing = [file for file in files if not _is_there(folder, file)]
        _check_room(folder, missing)
        for file in missing:
            if file.sha256:
                _fetch_large(hub_id, file, hubs, session, folder, log)
            else:
                _fetch_small(hub_id, file, hubs, session, folder)
    finally:
        session.close()
    return folder


def _repo(hub_id: str, hub: Hub) -> str:
    """Return what ``hub_id`` is called at ``hub``."""
    organisation, _, name = hub_id.partition("/")
    return f"{hub.organisation}/{name}" if organisation in ORGANISATIONS else hub_id


def _recorded(folder: Path) -> list[HubFile]:
    """Return the files of an earlier listing, none when there was no listing."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return [HubFile(**entry) for entry in record["files"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _list_first(hub_id: str, hubs: Sequence[Hub], session: requests.Session, folder: Path, log: Log) -> list[HubFile]:
    """Return the needed files as the first answering hub lists them, and record them in ``folder``."""
    from oneclick.download.faults import Fault

    reasons = []
    for hub in hubs:
        try:
            listed = _LISTINGS[hub.kind](hub, _repo(hub_id, hub), session)
            files = _needed(listed)
        except Fault as fault:
            reasons.append(f"{hub.name}: {fault.attempt(hub.name).reason}")
        except (ValueError, KeyError, TypeError, OSError) as error:
            reasons.append(f"{hub.name}: {error}")
        else:
            log.line(f"{hub.name} lists {_repo(hub_id, hub)}: {human_bytes(sum(file.size_bytes for file in files))}")
            record = {"id": hub_id, "hub": hub.name, "files": [asdict(file) for file in files]}
            (folder / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
            return files
    raise SourceError(
        f"{hub_id} could not be found",
        why="\n".join(reasons),
        do="check the id and the network, or download the files by hand and give their folder",
    )


def _list_modelscope(hub: Hub, repo: str, session: requests.Session) -> list[HubFile]:
    from oneclick.download.transport import ask_small

    url = f"{hub.endpoint}/api/v1/models/{repo}/repo/files?Revision={hub.revision}&Recursive=True"
    entries = json.loads(ask_small(session, url, TIMEOUT_S, LISTING_MAX_BYTES))["Data"]["Files"]
    blobs = [entry for entry in entries if entry.get("Type", "blob") == "blob"]
    return [HubFile(entry["Path"], int(entry.get("Size") or 0), sha256=entry.get("Sha256") or "") for entry in blobs]


def _list_hugging_face(hub: Hub, repo: str, session: requests.Session) -> list[HubFile]:
    from oneclick.download.transport import ask_small

    url = f"{hub.endpoint}/api/models/{repo}/tree/{hub.revision}?recursive=true"
    entries = json.loads(ask_small(session, url, TIMEOUT_S, LISTING_MAX_BYTES))
    files = []
    for entry in entries:
        if entry.get("type") == "file" and "lfs" in entry:
            files.append(HubFile(entry["path"], int(entry["lfs"]["size"]), sha256=entry["lfs"]["oid"]))
        elif entry.get("type") == "file":
            files.append(HubFile(entry["path"], int(entry["size"]), git_sha1=entry["oid"]))
    return files


_LISTINGS: dict[str, Callable[[Hub, str, Any], list[HubFile]]] = {
    "modelscope": _list_modelscope,
    "huggingface": _list_hugging_face,
}


def _needed(listed: Iterable[HubFile]) -> list[HubFile]:
    """Return the files of ``listed`` that quantising reads: safetensors where there are both kinds of weights.

    Raises ValueError when a needed file is missing or has no digest: nothing unpinned is ever taken.
    """
    by_path = {file.path: file for file in listed if "/" not in file.path and "\\" not in file.path}
    for whole in WEIGHTS:
        stem, dot, suffix = whole.partition(".")
        shards = [p for p in by_path if p == whole or (p.startswith(f"{stem}-") and p.endswith(dot + suffix))]
        if shards:
            break
    else:
        raise ValueError("it has no weights (model*.safetensors or pytorch_model*.bin)")
    names = [*SMALL_FILES, f"{whole}.index.json", *sorted(shards)]
    files = [by_path[name] for name in names if name in by_path]
    lacking = [name for name in ("config.json", "tokenizer.model") if name not in by_path]
    if lacking:
        raise ValueError(f"it has no {' and no '.join(lacking)}: not the original weights of ChatGLM3")
    unpinned = [file.path for file in files if not file.sha256 and not file.git_sha1]
    if unpinned:
        raise ValueError(f"its listing gives no digest of {', '.join(unpinned)}")
    return files


def _is_there(folder: Path, file: HubFile) -> bool:
    """True when ``file`` was fetched before: its name is given only to verified bytes."""
    path = folder / file.path
    return path.is_file() and (not file.size_bytes or path.stat().st_size == file.size_bytes)


def _check_room(folder: Path, missing: Sequence[HubFile]) -> None:
    needed_bytes = sum(file.size_bytes for file in missing)
    free_bytes = shutil.disk_usage(folder).free
    if needed_bytes > free_bytes:
        raise StorageError(
            "no room for the original weights",
            why=f"{human_bytes(needed_bytes)} are needed in {folder}, {human_bytes(free_bytes)} are free",
            do=f"free {human_bytes(needed_bytes - free_bytes)}, or choose another --cache DIR",
        )


def _source(hub_id: str, file: HubFile, hub: Hub) -> Source:
    from oneclick.download.hubs import hugging_face, modelscope

    make = modelscope if hub.kind == "modelscope" else hugging_face
    return make(hub.name, _repo(hub_id, hub), hub.revision, file.path, hub.endpoint)


def _fetch_large(
    hub_id: str, file: HubFile, hubs: Sequence[Hub], session: requests.Session, folder: Path, log: Log
) -> None:
    """Download ``file``, whose sha256 is known, from whichever hub has it; resumed by the next call."""
    from oneclick.download import AllSourcesFailed, Cancelled, DigestDiffers, DownloadError, RemoteFile, download

    sources = [_source(hub_id, file, hub) for hub in hubs]
    remote = RemoteFile(file.path, file.size_bytes or None, file.sha256, sources)
    log.line(f"download {file.path} ({human_bytes(file.size_bytes)})")
    try:
        with log.bar(file.path, file.size_bytes) as bar:

            def show(progress: Progress) -> None:
                bar.at(progress.done_bytes, progress.total_bytes)

            download(remote, folder / file.path, progress=show, session=session)
    except AllSourcesFailed as error:
        raise _no_source(file, [f"{name}: {reason}" for name, reason in error.reasons()]) from error
    except DigestDiffers as error:
        raise DigestMismatch(
            f"{file.path} is not the file its hub lists",
            why=f"its sha256 is {error.got}, listed is {error.expected}; kept as {error.kept}",
            do=f"run again; if it repeats the hub changed it: delete {folder / RECORD} to ask for a new listing",
        ) from error
    except Cancelled as error:
        raise KeyboardInterrupt from error
    except DownloadError as error:
        raise StorageError(
            f"{file.path} cannot be stored", why=str(error), do="make room, or choose --cache DIR"
        ) from error


def _no_source(file: HubFile, reasons: Sequence[str]) -> BundleError:
    return SourceError(
        f"{file.path} could not be downloaded",
        why="\n".join(reasons),
        do="run again: what arrived is kept; or download the files by hand and give their folder",
    )


def _fetch_small(hub_id: str, file: HubFile, hubs: Sequence[Hub], session: requests.Session, folder: Path) -> None:
    """Download a small file that is known by git's digest: SHA-1 of ``blob SIZE\\0`` and the bytes."""
    from oneclick.download.faults import Fault
    from oneclick.download.transport import ask_small

    reasons = []
    for hub in hubs:
        address = _source(hub_id, file, hub).address()
        try:
            data = ask_small(session, address, TIMEOUT_S, SMALL_MAX_BYTES)
        except Fault as fault:
            reasons.append(f"{hub.name}: {fault.attempt(hub.name).reason}")
            continue
        if hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == file.git_sha1:
            part = folder / (file.path + ".part")
            part.write_bytes(data)
            move(part, folder / file.path)
            return
        reasons.append(f"{hub.name}: other bytes than listed")
    raise _no_source(file, reasons)
