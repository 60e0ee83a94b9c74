"""The folder ``对话``: a file for each conversation, a trash beside them, no index.

The id at the end of a file's name decides which conversation it is; the title in front helps people. A revision is a
digest of the file, so what an editor or another PC changed counts as well. Who saves says which revision was read; when
the file is another one by now, nothing is written. Everything is written whole, under a lock that also holds between
PCs which share the folder.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Iterator

from oneclick.files import move, write_whole
from oneclick.server.api_errors import ApiError
from oneclick.server.chats.document import Chat, Json, NoChat, from_file, to_file

TRASH = "回收站"
LOCK = ".lock"
KEPT_S = 30 * 86_400
"""How long what was deleted stays in the trash."""
MAX_FILE_BYTES = 32 << 20
"""Larger ones cannot be ours: a request has at most a quarter of it."""
MOST_FOUND = 200
SHOWN_BEFORE, SHOWN = 40, 200
"""Characters of a text that are shown around what was searched."""
GONE = (0, 0)
LONGEST_NAME = 40
"""Characters of the title in a file's name."""
ID = re.compile(r"[0-9a-f]{24}")
_NAME = re.compile(r"(?:.* )?([0-9a-f]{24})\.md", re.DOTALL)
_UNSAFE = frozenset('\\/:*?"<>|.')
"""What Windows allows in no name, and the dot: ``con.x`` is a device."""


class ChatFolder:
    """The conversations in ``folder``, which is made with the first of them. Any OSError may come out of any method."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._trash = folder / TRASH
        self._seen: dict[str, tuple[tuple[int, int], Json | None]] = {}
        """File name -> (its time and size, what ``listed`` says of it; None: damaged)."""

    def listed(self) -> tuple[list[Json], list[str]]:
        """Return each conversation's head with its id and revision, and the names of files that are none."""
        heads: list[Json] = []
        damaged: list[str] = []
        seen = {}
        for chat_id, entry in self._entries().items():
            stamp = _stamp(entry)
            if stamp == GONE:
                continue
            known = self._seen.get(entry.name)
            head = known[1] if known and known[0] == stamp else self._head(chat_id, Path(entry.path))
            seen[entry.name] = (stamp, head)
            if head is None:
                damaged.append(entry.name)
            else:
                heads.append(head)
        self._seen = seen
        return heads, damaged

    def _head(self, chat_id: str, path: Path) -> Json | None:
        try:
            chat, revision = self._read(path)
        except (NoChat, OSError):
            return None
        return {**chat.conversation, "id": chat_id, "revision": revision}

    def read(self, chat_id: str) -> tuple[Chat, str]:
        """Return a conversation and its revision; ApiError 404 or 422."""
        path = self._path(chat_id)
        if path is None:
            raise ApiError(404, "chats.gone", code="no_such_chat")
        try:
            chat, revision = self._read(path)
        except NoChat as error:
            raise ApiError(422, "chats.damaged", code="damaged_chat", name=path.name) from error
        chat.conversation["id"] = chat_id
        for message in chat.messages:
            message["conversation"] = chat_id
        return chat, revision

    def save(self, chat_id: str, chat: Chat, revision: str | None) -> str:
        """Write a conversation in place of the one with ``revision`` (None: there is none yet); return the new one.

        ApiError 409, with nothing written, where the file is another by now.
        """
        self._folder.mkdir(exist_ok=True)
        with self._locked():
            path = self._path(chat_id)
            if (_revision(path.read_bytes()) if path else None) != revision:
                raise ApiError(409, "chats.changed", code="chat_changed")
            content = to_file(chat)
            named = self._folder / file_name(chat.conversation["title"], chat_id)
            write_whole(path or named, content)
            if path and path.name != named.name:
                with suppress(OSError):  # The old name serves until the next time, if an editor holds the file.
                    move(path, named, patience_s=0)
        return _revision(content)

    def delete(self, chat_id: str) -> None:
        """Move a conversation to the trash; one that is gone already is."""
        if self._path(chat_id) is None:
            return
        with self._locked():
            path = self._path(chat_id)
            if path is not None:
                self._trash.mkdir(exist_ok=True)
                os.utime(path)  # its 30 days begin now
                move(path, self._trash / path.name)

    def find(self, wanted: str) -> list[Json]:
        """Return id and surrounding text of the newest MOST_FOUND conversations in which ``wanted`` was said."""
        wanted = wanted.lower()
        entries = sorted(self._entries().items(), key=lambda item: _stamp(item[1]), reverse=True)
        found: list[Json] = []
        for chat_id, entry in entries:
            with suppress(NoChat, OSError):
                chat, _ = self._read(Path(entry.path), wanted)
                for text in (*chat.texts(), chat.conversation["title"]):
                    place = text.lower().find(wanted)
                    if place >= 0:
                        start = max(0, place - SHOWN_BEFORE)
                        found.append({"id": chat_id, "text": text[start : start + SHOWN + len(wanted)]})
                        break
            if len(found) == MOST_FOUND:
                break
        return found

    def empty_trash(self) -> None:
        """Remove for good what was deleted long ago, and halves that a power cut left."""
        before = time.time() - KEPT_S
        for path in (*self._trash.glob("*.md"), *self._folder.glob("*.part")):
            with suppress(OSError):
                if path.stat().st_mtime < before:
                    path.unlink()

    def _entries(self) -> dict[str, os.DirEntry[str]]:
        """Return id -> file. A copy made by hand or by a synchronising program has an id of its own."""
        try:
            with os.scandir(self._folder) as scan:
                entries = sorted((one for one in scan if one.name.endswith(".md")), key=lambda one: one.name)
        except FileNotFoundError:
            return {}
        found: dict[str, os.DirEntry[str]] = {}
        for entry in entries:
            match = _NAME.fullmatch(entry.name)
            if match and match.group(1) not in found:
                found[match.group(1)] = entry
            else:
                found[hashlib.sha256(entry.name.encode("utf-8", "replace")).hexdigest()[:24]] = entry
        return found

    def _path(self, chat_id: str) -> Path | None:
        entry = self._entries().get(chat_id)
        return Path(entry.path) if entry else None

    def _read(self, path: Path, wanted: str = "") -> tuple[Chat, str]:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise NoChat("too long")
        return from_file(content, wanted), _revision(content)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the folder against other programs, on this PC or another; a lock ends with who holds it."""
        with (self._folder / LOCK).open("ab") as file:
            _lock(file)
            try:
                yield
            finally:
                _unlock(file)


def file_name(title: str, chat_id: str) -> str:
    """Return a name that Windows allows, with the beginning of the title in it."""
    letters = (letter if letter.isprintable() and letter not in _UNSAFE else " " for letter in title)
    words = " ".join("".join(letters).split())[:LONGEST_NAME].rstrip()
    return f"{words} {chat_id}.md" if words else f"{chat_id}.md"


def _stamp(entry: os.DirEntry[str]) -> tuple[int, int]:
    """Return a file's time and size; GONE where another PC was faster."""
    try:
        about = entry.stat()
    except OSError:
        return GONE
    return about.st_mtime_ns, about.st_size


def _revision(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


if sys.platform == "win32":
    import msvcrt

    def _lock(file: BinaryIO) -> None:
        """Wait for the lock; OSError after ten seconds."""
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)

    def _unlock(file: BinaryIO) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(file: BinaryIO) -> None:
        """Wait for the lock."""
        fcntl.flock(file, fcntl.LOCK_EX)

    def _unlock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)
