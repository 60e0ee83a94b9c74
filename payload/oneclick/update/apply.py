"""``更新.bat``: turn this folder from the release A that it is into B, or leave it A.

Two steps, because Windows does not let a program replace its own Python:

1. ``update prepare``, run by the folder's own Python, changes nothing of A. It compares the whole folder with A's
   manifest and every new file with the patch, copies Python and this package to ``update/runner``, and as its last act
   writes ``update/journal.json``.
2. ``update apply``, run by the copy, moves each old file to ``update/old`` and each new one into its place, compares
   the folder with B's manifest and deletes the journal. Moves within a disk are atomic and each can be repeated, so
   after an interruption the same command goes on; every .bat calls it while the journal is there. When something cannot
   be moved or B is not whole, all moves are undone and the folder is A again.

The model, 设置.toml and ``logs`` are in no patch, and ``patch`` refuses one that names them.
"""

from __future__ import annotations

import json
import logging
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Iterator, Sequence

from oneclick.bundle_info import read_bundle_info
from oneclick.console import Console
from oneclick.errors import OneClickError
from oneclick.files import flush, move, patiently, write_whole
from oneclick.folder import BundleFolder
from oneclick.messages import say
from oneclick.port.instance import running
from oneclick.update.integrity import PackedFile, compare, file_sha256, read_packed_files
from oneclick.update.patch import (
    NEW_FOLDER,
    PATCH_FILE,
    PATCH_NAME,
    UPDATE_FOLDER,
    Patch,
    PatchFile,
    SignedPatch,
    is_older,
    may_touch,
    read_patch,
)
from oneclick.update.signature import SIGNED_SUFFIXES, read_public_key, require_signed

logger = logging.getLogger(__name__)

FORWARD, BACK = "forward", "back"
PLANTED = 44
"""Exit code of ``update recover``, known to the .bat: what would go on is not what was prepared here."""
RUNNER_PARTS = ("python", "app/oneclick", "app/packages/tomli")
"""What ``update apply`` is made of; ``tomli`` reads the settings on Python before 3.11."""


def run_update(folder: BundleFolder, arguments: Sequence[str], console: Console) -> int:
    """Do the step that ``更新.bat`` asks for; return 0. Raises OneClickError with A untouched, or restored."""
    update = Update(folder, console)
    if list(arguments) == ["prepare"]:
        update.prepare()
    elif list(arguments) == ["recover"]:
        return update.recover()
    elif list(arguments) == ["apply"]:
        update.apply()
    else:
        raise OneClickError("update.usage")
    return 0


class Update:
    """One update of ``folder``."""

    def __init__(self, folder: BundleFolder, console: Console) -> None:
        self._folder = folder
        self._root = folder.root
        self._console = console
        self._work = folder.root / UPDATE_FOLDER
        self._old = self._work / "old"
        self._journal = self._work / "journal.json"
        self._runner = self._work / "runner"

    # -- step 1: nothing of A changes -----------------------------------------------------------------------------

    def prepare(self) -> None:
        """Check A and the patch, then write the journal. Raises OneClickError with the reason why not."""
        if self._journal.exists():
            return  # An interrupted update is finished first.
        signed = self._read_signed()
        patch = self._accept(signed, self._folder.bundle_json)
        self._console.line(say("update.title", before=patch.from_version, after=patch.to_version))
        if running(self._folder.running):
            raise OneClickError("update.running")
        self._require_a(patch)
        self._require_new_files(patch)
        self._make_runner()
        self._write_journal(FORWARD, signed)

    def _read_signed(self) -> SignedPatch:
        try:
            files = {path.name: path.read_bytes() for path in self._work.iterdir() if path.suffix in SIGNED_SUFFIXES}
            return SignedPatch((self._root / PATCH_FILE).read_bytes(), files)
        except OSError as error:
            raise OneClickError("update.no_patch") from error

    def _accept(self, signed: SignedPatch, bundle_json: Path) -> Patch:
        """Return the patch if it is for this bundle, leads forward, and its maker is who ``bundle_json`` says."""
        info = read_bundle_info(bundle_json)
        key = info.release.public_key
        if key:
            require_signed(PATCH_NAME, signed.data, read_public_key(key), signed.beside.get)
        else:
            self._console.bad(say("update.unsigned"))
        patch = read_patch(signed.data)
        if patch.name != info.name:
            raise OneClickError("update.other_name", other=patch.name, name=info.name)
        if is_older(patch.to_version, patch.from_version):
            raise OneClickError("update.downgrade", before=patch.from_version, after=patch.to_version)
        return patch

    def _require_a(self, patch: Patch) -> None:
        """Raise OneClickError unless this folder is exactly what the patch starts from."""
        have = self._manifest_digest()
        if have == patch.to_manifest_sha256:
            raise OneClickError("update.already", version=patch.to_version)
        if have != patch.from_manifest_sha256:
            raise OneClickError("update.other_release", version=patch.from_version)
        wrong = self._differences(say("update.checking"))
        wrong += [file.path for file in patch.files if file.is_new and (self._root / file.path).exists()]
        if wrong:
            raise OneClickError("update.changed_folder", names="、".join(wrong[:5]), count=len(wrong))

    def _differences(self, text: str) -> list[str]:
        """Files that are not what this folder's own manifest says; those of the user do not count."""
        files = tuple(file for file in read_packed_files(self._folder.manifest) if may_touch(file.path))
        found = compare(self._root, files, lambda fraction: self._console.progress(text, fraction))
        return sorted({*found.missing, *found.changed, *found.unreadable, *self._wrong_bins(files)})

    def _wrong_bins(self, files: Sequence[PackedFile]) -> list[str]:
        """``compare`` looks only at the size of .bin files, which may be models; ours elsewhere are small."""
        small = [file for file in files if file.path.endswith(".bin") and (self._root / file.path).is_file()]
        return [file.path for file in small if file_sha256(self._root / file.path) != file.sha256]

    def _require_new_files(self, patch: Patch) -> None:
        for file in patch.files:
            stored = self._stored(file)
            try:
                is_right = stored.stat().st_size == file.size_bytes and file_sha256(stored) == file.sha256
            except OSError:
                is_right = False
            if not is_right:
                raise OneClickError("update.incomplete", name=file.stored)

    def _make_runner(self) -> None:
        """Copy what step 2 runs on; only a whole copy gets the name ``runner``."""
        runner, unfinished = self._runner, self._work / "runner.part"
        try:
            for left in (self._old, runner, unfinished):
                if left.exists():  # An old file left there would be taken for one of this update's.
                    patiently(partial(shutil.rmtree, left))
            unneeded = shutil.ignore_patterns("web", "server")
            for part in RUNNER_PARTS:
                if (self._root / part).is_dir():
                    shutil.copytree(self._root / part, unfinished / part, ignore=unneeded)
            shutil.copy(self._folder.bundle_json, unfinished)
            for path in unfinished.rglob("*"):  # a journal that outlives a power cut must find a whole runner
                if path.is_file():
                    patiently(partial(flush, path))
            _move(unfinished, runner)
        except PermissionError as error:
            raise OneClickError("update.held", reason=str(error)) from error
        except OSError as error:
            raise OneClickError("update.no_space", reason=str(error)) from error

    # -- between them: somebody else's journal must not run somebody else's program ---------------------------------

    def recover(self) -> int:
        """Tell the .bat whether the runner may go on: PLANTED when it is not the copy of A that ``prepare`` made.

        Run by the folder's own Python, as far as an interrupted update left one. The patch is signed and names the
        digest of A's manifest, the manifest those of A's files.
        """
        journal = self._read_journal()
        if journal is None:
            return 0
        _, signed = journal
        key = read_bundle_info(self._folder.bundle_json).release.public_key
        patch = read_patch(signed.data)
        try:
            if key:
                require_signed(PATCH_NAME, signed.data, read_public_key(key), signed.beside.get)
            wanted = {file.path: file.sha256 for file in read_packed_files(self._manifest_of(patch))}
            found = (path for path in self._runner.rglob("*") if path.is_file())
            odd = [path for path in found if wanted.get(path.relative_to(self._runner).as_posix()) != file_sha256(path)]
        except OneClickError as error:
            self._console.bad(str(error))
            return PLANTED
        if odd:
            self._console.bad(say("update.planted", name=odd[0].relative_to(self._root).as_posix()))
        return PLANTED if odd else 0

    def _manifest_of(self, patch: Patch) -> Path:
        """Return where A's manifest lies now; OneClickError where it is nowhere."""
        for path in (self._folder.manifest, *sorted(self._old.glob("*"))):
            if path.is_file() and file_sha256(path) == patch.from_manifest_sha256:
                return path
        raise OneClickError("update.planted", name=self._folder.manifest.name)

    # -- step 2: forward, or all the way back ---------------------------------------------------------------------

    def apply(self) -> None:
        """Go on where the journal stands until the folder is B. Raises OneClickError when it had to become A again."""
        journal = self._read_journal()
        if journal is None:
            return
        phase, signed = journal
        patch = self._accept(signed, self._runner / self._folder.bundle_json.name)
        failure: OneClickError | None = None
        if phase == FORWARD:
            try:
                self._forward(patch)
                patiently(self._journal.unlink)
            except OSError as error:
                logger.exception("update undone")
                failure = OneClickError("update.undone", reason=str(error), version=patch.from_version)
            except OneClickError as error:
                logger.error("update undone: %s", error.both()[1])
                failure = OneClickError("update.undone", reason=str(error), version=patch.from_version)
            else:
                self._clear()
                self._console.good(say("update.done", version=patch.to_version))
                return
        try:
            self._write_journal(BACK, signed)
            self._back(patch)
            patiently(self._journal.unlink)
        except OSError as error:
            raise OneClickError("update.stuck", reason=str(error)) from error
        self._clear()
        raise failure or OneClickError("update.undone", reason=say("update.interrupted"), version=patch.from_version)

    def _forward(self, patch: Patch) -> None:
        text = say("update.applying")
        for number, (path, file) in enumerate(_steps(patch)):
            self._console.progress(text, number / (len(patch.files) + len(patch.removed)))
            self._replace(self._root / path, self._old / f"{number:06d}", file)
        for path in patch.removed:
            self._remove_empty_folders(path)
        wrong = self._differences(say("update.checking_result"))
        if wrong or self._manifest_digest() != patch.to_manifest_sha256:
            raise OneClickError("update.not_whole", names="、".join(wrong[:5]))
        for file in patch.files:  # the journal must not be gone before they are on the disk
            patiently(partial(flush, self._root / file.path))

    def _replace(self, target: Path, old: Path, file: PatchFile | None) -> None:
        """Put ``target`` aside to ``old`` and the new file (None: no file) in its place; what is done is skipped."""
        waits = file is not None and self._stored(file).exists()
        if (waits or file is None) and target.exists() and not old.exists():
            _move(target, old)
        if file is not None and waits:
            _move(self._stored(file), target)

    def _back(self, patch: Patch) -> None:
        """Undo every move. An error leaves the journal, so that the next start goes on undoing."""
        steps = list(enumerate(_steps(patch)))
        for number, (path, file) in reversed(steps):
            old, target = self._old / f"{number:06d}", self._root / path
            if old.exists():
                _move(old, target)
            elif file is not None and file.is_new and target.exists():
                patiently(target.unlink)
            if file is not None and file.is_new:
                self._remove_empty_folders(path)
        wrong = self._differences(say("update.checking_result"))
        if wrong or self._manifest_digest() != patch.from_manifest_sha256:
            raise OneClickError("update.broken", names="、".join(wrong[:5]))

    def _remove_empty_folders(self, path: str) -> None:
        for parent in (self._root / path).parents:
            if parent == self._root:
                return
            try:
                parent.rmdir()
            except OSError:
                return

    def _clear(self) -> None:
        """Remove what lies in ``update`` once the journal is gone: the folder is what it is, and nothing may raise.

        The module cache goes, too: no manifest names it, and it holds code of the release that was.
        """
        for left in (self._old, self._root / NEW_FOLDER, self._folder.module_cache):
            shutil.rmtree(left, ignore_errors=True)
        with suppress(OSError):
            patiently(lambda: (self._root / PATCH_FILE).unlink(missing_ok=True))

    # -- files ----------------------------------------------------------------------------------------------------

    def _stored(self, file: PatchFile) -> Path:
        return self._root / NEW_FOLDER / file.stored

    def _manifest_digest(self) -> str:
        try:
            return file_sha256(self._folder.manifest)
        except OSError:
            return ""

    def _write_journal(self, phase: str, signed: SignedPatch) -> None:
        """Write the journal so that it is whole or not there, also after the power went."""
        write_whole(self._journal, json.dumps({"phase": phase, **signed.to_json()}).encode())

    def _read_journal(self) -> tuple[str, SignedPatch] | None:
        """Return the phase and the patch of an update under way; the patch beside it may be another one by now."""
        try:
            data: dict[str, Any] = json.loads(self._journal.read_text(encoding="utf-8"))
            return str(data["phase"]), SignedPatch.from_json(data)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise OneClickError("update.damaged", reason=repr(error)) from error


def _steps(patch: Patch) -> Iterator[tuple[str, PatchFile | None]]:
    """Yield (path, its new file or None) in a fixed order."""
    for file in patch.files:
        yield file.path, file
    for path in patch.removed:
        yield path, None


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    move(source, target)
