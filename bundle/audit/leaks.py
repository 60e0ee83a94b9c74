"""Traces of the machine that built the bundle: its paths, its user, its name."""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from bundle.audit.findings import AuditExpectations, Finding, Tree

_COMMON_WORDS = {"root", "user", "users", "admin", "administrator", "runner", "build", "builder", "python", "localhost"}
_SHORTEST_NAME = 5
"""Characters; a shorter user or host name is in too many words to say anything."""
_CHUNK = 8 << 20

# Only for binaries compiled here: what others compiled elsewhere may name their folders.
_BUILD_FOLDERS = (b"/home/", b"/Users/", b"/root/", b"/tmp/", b"/var/folders/", b":\\Users\\")
_FOLDER_NAME = re.compile(rb"[\w.@+-]{2,}[\\/]")


def names_of_this_machine(*folders: Path) -> list[str]:
    """Texts that would tell where a bundle was built: ``folders`` (repository, cache, output), home, user, host."""
    # /home/name and C:\Users\name tell something; "/root", "/tmp" or "/app" alone are in texts of others.
    places = [str(folder) for folder in (Path.home(), *(f.resolve() for f in folders)) if len(folder.parts) > 2]
    names = [_user_name(), socket.gethostname().split(".")[0]]
    return sorted({*places, *(name for name in names if _is_telling(name))})


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user id without a name
        return ""


def _is_telling(name: str) -> bool:
    return len(name) >= _SHORTEST_NAME and name.lower() not in _COMMON_WORDS


def check_leaks(tree: Tree, expected: AuditExpectations) -> Iterator[Finding]:
    """Search every file, text and binary alike, for the machine's names in UTF-8 and UTF-16."""
    needles = _needles(expected.machine_names)
    compiled = tuple(f"{folder}/" for folder in expected.compiled_folders)
    for name in sorted(set(tree.files) - set(expected.models)):
        made_here = name.startswith(compiled) and name.lower().endswith((".pyd", ".dll", ".exe"))
        found = _search(tree.path(name), needles, made_here=made_here)
        if found is not None:
            do = "build it with the path mapped (-ffile-prefix-map), or leave the file out"
            yield Finding(path=name, rule="leaks", what=f"it names this machine: {found}", do=do)


def _needles(names: Sequence[str]) -> list[tuple[bytes, str, bool]]:
    """(bytes to look for, name they stand for, whether only as a whole word): both slashes, UTF-8 and UTF-16."""
    needles: set[tuple[bytes, str, bool]] = set()
    for name in names:
        is_word = not re.search(r"[\\/]", name)
        for spelling in {name, name.replace("\\", "/"), name.replace("/", "\\"), name.replace("\\", "\\\\")}:
            needles.add((spelling.encode(), name, is_word))
            needles.add((spelling.encode("utf-16-le"), name, False))
    return sorted(needles)


def _search(path: Path, needles: Sequence[tuple[bytes, str, bool]], *, made_here: bool) -> str | None:
    """The first trace of this machine in ``path``, read in pieces that overlap."""
    overlap = b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            text = overlap + chunk
            for needle, name, is_word in needles:
                if _has(text, needle, is_word):
                    return name
            if made_here and (folder := _build_folder(text)):
                return folder
            overlap = chunk[-1024:]
    return None


def _build_folder(text: bytes) -> str | None:
    """A path of the kind compilers leave in binaries."""
    for start in _BUILD_FOLDERS:
        at = text.find(start)
        while at >= 0:
            if name := _FOLDER_NAME.match(text, at + len(start)):
                return (start + name.group()).decode("utf-8", "replace")
            at = text.find(start, at + 1)
    return None


def _has(text: bytes, needle: bytes, is_word: bool) -> bool:
    at = text.find(needle)
    while at >= 0:
        around = text[max(0, at - 1) : at] + text[at + len(needle) : at + len(needle) + 1]
        if not is_word or not re.search(rb"\w", around):
            return True
        at = text.find(needle, at + 1)
    return False
