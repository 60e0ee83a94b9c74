"""``下载模型.bat``: choose a model, look whether it is here already, download it, use it from now on."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Callable, NoReturn, Sequence

from oneclick import files
from oneclick.bundle_info import BundleInfo, CatalogueModel, read_bundle_info
from oneclick.console import Console
from oneclick.download.part import replace_patiently
from oneclick.errors import OneClickError
from oneclick.folder import BundleFolder
from oneclick.hashing import DigestMemory, digest_of
from oneclick.messages import current_language, say
from oneclick.model.catalogue import direct_links, find_model, fit, remote_file
from oneclick.model.choice import inspect_model
from oneclick.model.download import PATIENCE_S
from oneclick.model.dropped_files import candidates, in_downloads_folder, unfinished
from oneclick.pc.machine import Memory, memory
from oneclick.settings import read_settings
from oneclick.settings_file import set_value
from oneclick.sizes import in_words


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise OneClickError("launcher.bad_argument", reason=message, usage=say("download.usage"))


def run_download_command(
    bundle_dir: Path, args: Sequence[str], console: Console | None = None, ask: Callable[[str], str] | None = None
) -> int:
    """Do what 下载模型.bat was asked for; return 0, or 1 after telling what went wrong.

    Without a name the catalogue is listed and, where somebody can answer, a number asked for.
    """
    parser = _Parser(prog="download", usage=say("download.usage"), allow_abbrev=False)
    parser.add_argument("model", nargs="?", default="")
    parser.add_argument("--list", action="store_true")
    asked = parser.parse_args(list(args))
    command = DownloadCommand(BundleFolder(bundle_dir), console or Console(), ask or _asker())
    return command.run(asked.model, only_list=asked.list)


def _asker() -> Callable[[str], str] | None:
    """Return ``input`` where a person sits before the window, None where a script runs it."""
    return input if sys.stdin is not None and sys.stdin.isatty() else None


class DownloadCommand:
    """One run of ``下载模型.bat``."""

    def __init__(self, folder: BundleFolder, console: Console, ask: Callable[[str], str] | None) -> None:
        self._folder = folder
        self._console = console
        self._ask = ask
        self._info = read_bundle_info(folder.bundle_json)
        self._settings = read_settings(folder.settings)
        self._digests = DigestMemory(folder.logs / "digests.json")

    def run(self, name: str, *, only_list: bool) -> int:
        """Return 0 when the model is here and right, 1 when the user has to do something."""
        self._console.line(say("download.title"))
        if not name or only_list:
            self._list()
        if only_list:
            return 0
        model = find_model(self._info, name) if name else self._choose()
        if not self._is_here(model) and not self._adopt(model):
            self._say_other_ways(model)
            self._set_aside_what_is_in_the_way(model)
            self._download(model)
        self._use(model, chosen=bool(name) or self._ask is not None)
        return 0

    # -- choosing ---------------------------------------------------------------------------------------------

    def _list(self) -> None:
        pc = memory()
        self._console.line(
            say("download.pc_memory", total=in_words(pc.total_bytes), available=in_words(pc.available_bytes))
        )
        for number, model in enumerate(self._info.models, 1):
            self._console.line(self._list_line(number, model, pc))

    def _list_line(self, number: int, model: CatalogueModel, pc: Memory) -> str:
        fits = fit(model, pc)
        if fits.full:
            words = say("download.fits")
        else:
            words = say("download.fits_short", context=fits.context) if fits.context else say("download.fits_not")
        path = self._folder.root / model.file_name
        here = path.exists() and path.stat().st_size == model.size_bytes
        return say(
            "download.list_line",
            number=number,
            mark=say("download.present") if here else "",
            id=model.id,
            size=in_words(model.size_bytes),
            memory=in_words(fits.need_bytes),
            fit=words,
            title=model.title.get(current_language(), model.id),
        )

    def _choose(self) -> CatalogueModel:
        """Ask for a number until there is one; the default model where nobody can answer."""
        default = find_model(self._info, self._settings.model if self._is_listed(self._settings.model) else "")
        while self._ask is not None:
            try:
                answer = self._ask(say("download.ask", default=default.id)).strip()
            except EOFError:
                break
            if not answer:
                break
            if answer.isdigit() and 1 <= int(answer) <= len(self._info.models):
                return self._info.models[int(answer) - 1]
            try:
                return find_model(self._info, answer)
            except OneClickError as error:
                self._console.bad(str(error))
        return default

    def _is_listed(self, name: str) -> bool:
        return any(name == model.id for model in self._info.models)

    def _use(self, model: CatalogueModel, *, chosen: bool) -> None:
        """Write a choice into 设置.toml; the default model needs no line there."""
        now = self._settings.model
        if now == model.id or (not now and (model.id == self._info.default_model or not chosen)):
            return
        set_value(self._folder.settings, "model", model.id)
        self._console.line(say("download.chosen", id=model.id))

    # -- what is here already ---------------------------------------------------------------------------------

    def _is_here(self, model: CatalogueModel) -> bool:
        path = self._folder.root / model.file_name
        if not path.is_file() or path.stat().st_size != model.size_bytes or not self._is_right(path, model):
            return False
        self._console.good(say("download.here_already", name=model.file_name))
        return True

    def _is_right(self, path: Path, model: CatalogueModel) -> bool:
        text = say("download.checking_file", name=path.name)
        digest = digest_of(
            path, self._digests, progress=lambda done, total: self._console.progress(text, done / max(1, total))
        )
        return digest == model.sha256

    def _adopt(self, model: CatalogueModel) -> bool:
        """Use a file that somebody put here under another name; True when there was one."""
        target = self._folder.root / model.file_name
        if target.exists():
            return False
        for path in candidates(self._folder.root, model):
            if self._is_right(path, model):
                replace_patiently(path, target, files.PATIENCE_S)
                self._digests.remember(target, model.sha256)
                self._console.good(say("download.adopted", found=path.name, name=target.name))
                return True
        return False

    def _set_aside_what_is_in_the_way(self, model: CatalogueModel) -> None:
        """Keep a wrong file of the model's name: it may be somebody's own model, or tell what went wrong."""
        target = self._folder.root / model.file_name
        if not target.exists():
            return
        try:
            inspect_model(target, self._info)
            reason = say("download.another_model")
        except OneClickError as error:
            reason = str(error).splitlines()[0]
        number, kept = 1, target.with_name(target.name + ".old")
        while kept.exists():
            number += 1
            kept = target.with_name(f"{target.name}.old{number}")
        files.move(target, kept)
        self._console.bad(say("download.set_aside", name=target.name, kept=kept.name, reason=reason))

    # -- downloading ------------------------------------------------------------------------------------------

    def _say_other_ways(self, model: CatalogueModel) -> None:
        for path in unfinished(self._folder.root, model):
            self._console.line(say("download.unfinished", name=path.name))
        found = in_downloads_folder(model)
        if found is not None:
            self._console.line(say("download.found_elsewhere", path=found))
        links = "\n".join(f"  {address}" for _, address in direct_links(model, self._settings.mirrors))
        self._console.line(say("download.by_hand", links=links))
        for line in other_places(self._info):
            self._console.line(line)
        self._console.line()

    def _download(self, model: CatalogueModel) -> None:
        from oneclick.download import Tuning, download
        from oneclick.download.show import ProgressView

        target = self._folder.root / model.file_name
        with ProgressView() as view:
            result = download(
                remote_file(model, self._settings.mirrors),
                target,
                progress=view.progress,
                on_event=view.event,
                tuning=Tuning(patience_s=PATIENCE_S),
            )
        self._digests.remember(target, model.sha256)
        self._console.good(say("download.finished", name=target.name, source=result.source))


def other_places(info: BundleInfo) -> list[str]:
    """Return the lines about net disk and download page that the maintainer filled in, if any."""
    release = info.release
    lines = []
    if release.netdisk:
        key = "download.netdisk" if release.netdisk_code else "download.netdisk_no_code"
        lines.append(say(key, address=release.netdisk, code=release.netdisk_code))
    if release.page:
        lines.append(say("download.page", address=release.page))
    return lines
