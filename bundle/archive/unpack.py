"""Unpack wheels, zips and sdists that may be damaged or hostile.

Nothing is written outside the target, which appears under its name only when it is whole; what a member may be called
and how much may come out of an archive is limited before it is written.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path

from bundle.archive.foreign import (
    MAX_BYTES,
    BadArchive,
    Limits,
    Member,
    damage_named,
    opened,
    tar_members,
    zip_members,
)
from bundle.disk import disk_named
from bundle.errors import StorageError
from bundle.windows.names import member_problem
from oneclick.files import move

Select = Callable[[str], bool]

_DISK_ADVICE = "free some space, or choose a folder you may write to with a shorter path"


def unpack_zip(path: Path, target: Path, *, select: Select | None = None, max_bytes: int = MAX_BYTES) -> list[str]:
    """Unpack the zip or wheel at ``path`` into the new folder ``target``; return the names written, sorted.

    select: names to take, all by default. Raises BadArchive, or StorageError when the disk does not take it.
    """
    with opened(path) as file:
        return _write(path, zip_members(path, file), target, select, max_bytes)


def unpack_tar(path: Path, target: Path, *, select: Select | None = None, max_bytes: int = MAX_BYTES) -> list[str]:
    """Unpack the tar at ``path`` (plain, gzip, bzip2 or xz) as unpack_zip does a zip.

    A link to another member is written as a copy of it. Permissions are not restored.
    """
    with opened(path) as file:
        return _write(path, tar_members(path, file, max_bytes), target, select, max_bytes)


def _write(
    path: Path, members: Generator[Member, None, None], target: Path, select: Select | None, max_bytes: int
) -> list[str]:
    """Write the wanted members to a folder beside ``target``, then give it that name."""
    # An OSError here means the disk: the readers' own were mapped before.
    with contextlib.ExitStack() as stack, disk_named(target, _DISK_ADVICE):
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise StorageError(f"{target} is not empty", why="unpacking makes a new folder", do="remove it first")
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        stack.callback(shutil.rmtree, temporary, ignore_errors=True)
        stack.callback(members.close)
        content = temporary / "content"
        content.mkdir()
        limits = Limits(path, path.stat().st_size, max_bytes)
        written: list[str] = []
        links: list[Member] = []
        for member in members:
            limits.check(member)
            if member.is_folder or (select is not None and not select(member.name)):
                continue
            written.append(member.name)
            if member.link is not None:
                links.append(member)
                continue
            _write_file(path, content / member.name, member, limits)
        _copy_links(path, content, links, limits)
        if target.exists():
            target.rmdir()
        move(content, target)
        return sorted(written)


def _write_file(path: Path, file: Path, member: Member, limits: Limits) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with file.open("xb") as out:
        for chunk in _read_by(path, member.data):
            size += len(chunk)
            limits.count(member, len(chunk))
            out.write(chunk)
    if size != member.size_bytes:
        raise BadArchive(path, f"{member.name} has {size} bytes, {member.size_bytes} were declared")


def _read_by(path: Path, data: Iterable[bytes]) -> Iterator[bytes]:
    """``data``, with the reader's errors told apart from the disk's."""
    iterator = iter(data)
    while True:
        with damage_named(path):
            chunk = next(iterator, b"")
        if not chunk:
            return
        yield chunk


def _copy_links(path: Path, content: Path, links: list[Member], limits: Limits) -> None:
    """Write each link as a copy of what it points to, following links to links."""
    targets = {member.name: member.link or "" for member in links}
    for member in links:
        name, steps = member.name, 0
        while name in targets and steps <= len(targets):
            name, steps = targets[name], steps + 1
        source = content / name
        if not name or member_problem(name) or not source.is_file():
            raise BadArchive(path, f"{member.name} is a link to {member.link!r}, which is no file unpacked here")
        limits.count(member, source.stat().st_size)
        copy = content / member.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
