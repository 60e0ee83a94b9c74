"""``环境诊断.bat``: look at everything a start depends on, on one screen and in ``诊断报告.txt``."""

from __future__ import annotations

import locale
import platform
import shutil
import sys
import time
from pathlib import Path
from typing import Callable, Iterator

from oneclick.bundle_info import BundleInfo, read_bundle_info
from oneclick.console import Console
from oneclick.engine.exit_codes import explain
from oneclick.engine.import_check import load_engine
from oneclick.errors import OneClickError
from oneclick.files import patiently
from oneclick.folder import BundleFolder
from oneclick.hashing import DigestMemory, digest_of
from oneclick.messages import say, windows_language
from oneclick.model.choice import Wish, catalogue_entry, choose_model, claims_to_be_known
from oneclick.model.memory import plan_memory
from oneclick.pc import antivirus, machine
from oneclick.pc.checks import check_cpu, check_windows, levels_to_try
from oneclick.pc.findings import ERROR, NOTE, OK, WARNING, Finding
from oneclick.pc.folder import check_folder, check_mark, check_online_only
from oneclick.pc.privacy import without_personal_data
from oneclick.port.network import check_port, check_proxy
from oneclick.settings import Settings, read_settings
from oneclick.sizes import in_words
from oneclick.update.integrity import PackedFile, compare, read_packed_files

MARKS = {NOTE: "      ", OK: "[ OK ]", WARNING: "[ !! ]", ERROR: "[ XX ]"}
LAST_ERRORS = 8
LOG_TAIL_BYTES = 64 << 10
NAMES_SHOWN = 8

Section = Callable[["Doctor"], Iterator[Finding]]


class Doctor:
    """One examination; findings come section by section."""

    def __init__(self, folder: BundleFolder, console: Console) -> None:
        self._folder = folder
        self._console = console
        self._settings: Settings = read_settings(folder.settings)
        self._cpu = machine.cpu()
        self._info: BundleInfo | None = None

    def findings(self) -> Iterator[tuple[str, Finding]]:
        """Yield (name of the section, finding)."""
        for name, look in SECTIONS:
            try:
                for finding in look(self):
                    yield name, finding
            except OneClickError as error:
                yield name, Finding(ERROR, error.key, error.values)
            except Exception as error:  # An examination goes on: the other sections may hold the cause.
                yield name, Finding(WARNING, "doctor.not_examined", {"reason": f"{type(error).__name__}: {error}"})

    def bundle(self) -> Iterator[Finding]:
        """What was extracted here, and what of it is missing or changed."""
        info = self._info = read_bundle_info(self._folder.bundle_json)
        engine = info.engine
        levels = "、".join(level.name for level in engine.levels)
        values = {"name": info.name, "version": info.version, "python": platform.python_version()}
        yield Finding(OK, "doctor.bundle", {**values, "engine": f"{engine.package} {engine.version}", "levels": levels})
        files = read_packed_files(self._folder.manifest)
        text = say("doctor.comparing", count=len(files))
        found = compare(self._folder.root, files, lambda fraction: self._console.progress(text, fraction))
        if found.missing:
            yield Finding(ERROR, "doctor.files_missing", _names(found.missing))
        if found.changed:
            yield Finding(ERROR, "doctor.files_changed", _names(found.changed))
        if found.unreadable:
            yield Finding(ERROR, "doctor.files_unreadable", _names(found.unreadable))
        if not found.any:
            yield Finding(OK, "doctor.files_whole", {"count": found.checked})
        yield from self._drop_module_cache()

    def _drop_module_cache(self) -> Iterator[Finding]:
        """Remove code that runs and that no manifest names: it may be of files that were damaged when it was made.

        The next start makes it again from what was just compared.
        """
        cache = self._folder.module_cache
        if not cache.exists():
            return
        try:
            patiently(lambda: shutil.rmtree(cache))
            yield Finding(OK, "doctor.cache_dropped")
        except OSError as error:
            yield Finding(WARNING, "doctor.cache_kept", {"reason": error.strerror or str(error)})

    def pc(self) -> Iterator[Finding]:
        """Windows, processor, memory, antivirus programs, languages."""
        yield check_windows(machine.windows_version())
        if self._info is not None:
            yield check_cpu(self._cpu, self._info.engine)
        ram = machine.memory()
        yield Finding(OK, "doctor.memory", _in_words_of(ram))
        programs = antivirus.installed()
        if programs is not None:
            yield antivirus.check_antivirus(programs)
        yield Finding(
            OK,
            "doctor.language",
            {
                "language": windows_language(),
                "code_page": locale.getpreferredencoding(False),
                "ansi": _ansi_code_page(),
            },
        )

    def folder(self) -> Iterator[Finding]:
        """The place it was extracted to."""
        root = self._folder.root
        yield from check_folder(root, machine.disk(root), max(map(len, self._packed_paths()), default=0))
        yield check_mark([root / "一键运行.bat", root / "python" / "python.exe"])
        for problem in self._settings.problems:
            yield Finding(WARNING, problem.key, {"line": problem.line, **problem.values})

    def engine(self) -> Iterator[Finding]:
        """Whether Windows can load the engine's DLLs."""
        if self._info is None:
            return
        shared = self._folder.root / "app" / "engine" / "shared"
        for level in levels_to_try(self._cpu, self._info.engine):
            test = load_engine(self._folder.root / level.folder, [shared] if shared.is_dir() else [])
            if test.exit_code == 0:
                yield Finding(OK, "doctor.engine_loads", {"level": level.name, "version": test.version})
                continue
            key, code = explain(test.exit_code)
            yield Finding(
                ERROR,
                "doctor.engine_fails",
                {"level": level.name, "why": say(key, code=code), "words": test.last_words},
            )

    def model(self) -> Iterator[Finding]:
        """The model in the folder, and whether this PC's memory holds it."""
        info = self._info
        if info is None:
            return
        wishes = [Wish("settings", self._settings.model)] if self._settings.model else []
        model, refused = choose_model(self._folder.root, info, wishes)
        for one in refused:
            yield Finding(ERROR if model is None else WARNING, one.error.key, one.error.values)
        if model is None:
            if not refused:
                yield Finding(ERROR, "doctor.no_model")
            return
        online_only = check_online_only(model.path)
        if online_only:
            yield online_only
        text = say("launcher.verifying")
        digest = digest_of(
            model.path,
            DigestMemory(self._folder.logs / "digests.json"),
            progress=lambda done, total: self._console.progress(text, done / max(total, 1)),
        )
        values = {"name": model.path.name, "dtype": model.header.dtype, "version": model.header.version}
        if catalogue_entry(info, digest):
            yield Finding(OK, "doctor.model_right", values)
        else:
            known = claims_to_be_known(model, info)
            key = "doctor.model_differs" if known else "doctor.model_unknown"
            yield Finding(WARNING if known else OK, key, {**values, "digest": digest})
        yield plan_memory(model.header, machine.memory(), self._settings.context).finding

    def network(self) -> Iterator[Finding]:
        """Port and proxies."""
        yield check_port(self._folder, self._settings)
        yield check_proxy()

    def errors(self) -> Iterator[Finding]:
        """The last errors in the log."""
        lines = last_errors(self._folder.logs / "oneclick.log")
        if not lines:
            yield Finding(OK, "doctor.no_errors")
        for line in lines:
            yield Finding(NOTE, "doctor.error_line", {"line": line})

    def _packed_paths(self) -> list[str]:
        try:
            files: tuple[PackedFile, ...] = read_packed_files(self._folder.manifest)
        except OneClickError:
            return []
        return [file.path for file in files]


SECTIONS: tuple[tuple[str, Section], ...] = (
    ("doctor.section_bundle", Doctor.bundle),
    ("doctor.section_pc", Doctor.pc),
    ("doctor.section_folder", Doctor.folder),
    ("doctor.section_engine", Doctor.engine),
    ("doctor.section_model", Doctor.model),
    ("doctor.section_network", Doctor.network),
    ("doctor.section_errors", Doctor.errors),
)


def run_doctor(folder: BundleFolder, console: Console) -> int:
    """Print the findings and write them to ``诊断报告.txt``; return 1 when one of them prevents a start."""
    lines = [say("doctor.title", time=time.strftime("%Y-%m-%d %H:%M"))]
    console.line(lines[0])
    worst = OK
    section = ""
    for name, finding in Doctor(folder, console).findings():
        if name != section:
            section = name
            lines += ["", say(name)]
            console.line()
            console.line(say(name))
        text = without_personal_data(str(finding)).replace("\n", "\n" + " " * 9)
        line = f"  {MARKS[finding.severity]} {text}"
        lines.append(line)
        (console.line if finding.severity in (NOTE, OK) else console.bad)(line)
        worst = _worse(worst, finding.severity)
    verdict = say({OK: "doctor.all_well", WARNING: "doctor.some_warnings", ERROR: "doctor.some_errors"}[worst])
    lines += ["", verdict]
    console.line()
    (console.bad if worst == ERROR else console.good)(verdict)
    _write_report(folder.report, lines, console)
    return 1 if worst == ERROR else 0


def _write_report(file: Path, lines: list[str], console: Console) -> None:
    try:
        # With a byte order mark even an old Notepad reads it as UTF-8.
        file.write_text("\n".join(lines) + "\n", encoding="utf-8-sig", newline="\r\n")
    except OSError as error:
        console.bad(say("doctor.report_not_written", reason=error.strerror or error))
        return
    console.line(say("doctor.report_written", name=file.name))


def last_errors(log: Path) -> list[str]:
    """Return the last warnings and errors of ``log``, oldest first, without tracebacks."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - LOG_TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if " ERROR " in line or " WARNING " in line][-LAST_ERRORS:]


def _names(paths: tuple[str, ...]) -> dict[str, object]:
    more = f" … (+{len(paths) - NAMES_SHOWN})" if len(paths) > NAMES_SHOWN else ""
    return {"count": len(paths), "names": ", ".join(paths[:NAMES_SHOWN]) + more}


def _in_words_of(ram: machine.Memory) -> dict[str, object]:
    return {
        "total": in_words(ram.total_bytes),
        "available": in_words(ram.available_bytes),
        "commit": in_words(ram.commit_available_bytes),
    }


def _ansi_code_page() -> str:
    if sys.platform == "win32":
        import ctypes

        return str(ctypes.windll.kernel32.GetACP())
    return "-"


def _worse(one: str, other: str) -> str:
    order = (NOTE, OK, WARNING, ERROR)
    return max(one, other, key=order.index)
