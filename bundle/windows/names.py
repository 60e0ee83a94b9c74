"""Which member names an archive may carry: relative, inside the folder, and possible on Windows."""

from __future__ import annotations

import re
import unicodedata

MAX_PART_LENGTH = 255
"""UTF-16 units in one file name; NTFS allows no more."""
MAX_NAME_LENGTH = 1024
"""Characters in a whole member name; longer ones are an attack or a mistake."""

# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\..*)?$")
_FORBIDDEN = frozenset('<>:"|?*\\')


def member_problem(name: str) -> str | None:
    """What makes ``name`` (parts joined by ``/``) unusable as a member of an archive; None when it is fine."""
    if not name:
        return "it is empty"
    if len(name) > MAX_NAME_LENGTH:
        return f"it has {len(name)} characters, more than {MAX_NAME_LENGTH}"
    if name.startswith("/"):
        return "it is an absolute path"
    for part in name.split("/"):
        problem = _part_problem(part)
        if problem is not None:
            return problem
    return None


def _part_problem(part: str) -> str | None:
    """What makes one file or folder name unusable on Windows, or dangerous anywhere."""
    if part == "..":
        return "it leaves the folder (..)"
    if part in ("", "."):
        return "it has an empty part"
    for character in part:
        if ord(character) < 0x20 or character == "\x7f":
            return f"it has the control character U+{ord(character):04X}"
        if "\ud800" <= character <= "\udfff":
            return "its encoding is broken"
        if character in _FORBIDDEN:
            return f"Windows does not allow {character!r} in a name"
    if part[-1] in ". ":
        return "Windows drops a dot or space at the end of a name"
    if _RESERVED.match(part):
        return f"{part} is a device name on Windows"
    if len(part.encode("utf-16-le")) // 2 > MAX_PART_LENGTH:
        return f"a part of it is longer than {MAX_PART_LENGTH} characters"
    return None


def windows_key(name: str) -> str:
    """The same text for two names that are one file on Windows or macOS (case, composed accents)."""
    return unicodedata.normalize("NFC", name).upper()


class NameSet:
    """Names seen so far; says when a new one is the same file as, or lies inside, an earlier one."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}
        self._folders: dict[str, str] = {}

    def add(self, name: str, *, is_folder: bool = False) -> str | None:
        """Take ``name`` in; return what it clashes with as words, or None.

        A folder may be named any number of times. A file may be named once, and may not be a folder as well.
        """
        key = windows_key(name)
        if key in self._files:
            return f"{self._files[key]} is there already"
        if not is_folder and key in self._folders:
            return f"{self._folders[key]} is a folder"
        parents, names = key.split("/"), name.split("/")
        for depth in range(1, len(parents)):
            parent = "/".join(parents[:depth])
            if parent in self._files:
                return f"{self._files[parent]} is a file"
            self._folders.setdefault(parent, "/".join(names[:depth]))
        if is_folder:
            self._folders.setdefault(key, name)
        else:
            self._files[key] = name
        return None
