"""A Windows to try the bundle in, on a machine that has none: one Wine prefix, driven through pipes.

The Windows Python needs pipes for standard input and output under Wine, otherwise it cannot initialise its streams.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from bundle.errors import BundleError

CODE_PAGES = {"zh_CN.UTF-8": 936, "en_US.UTF-8": 1252}
"""Unix locale -> ANSI code page of a prefix made with it."""
WINDOWS_VERSION = "win10"
"""As winecfg calls it; Wine 8's says that it is build 18362."""
CREATE_TIMEOUT_S = 180.0
END_TIMEOUT_S = 20.0
PATIENCE_S = 240.0
"""After so long a program is taken for hung; a slow machine must never reach it."""
WINESERVERS = ("/usr/lib/wine/wineserver64", "/usr/lib/wine/wineserver", "wineserver")


def usable_locale() -> str:
    """Return the locale of this machine to make a Windows with: Chinese where it is installed, else American."""
    done = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=False)
    installed = {name.replace("utf8", "UTF-8") for name in done.stdout.split()}
    for locale in CODE_PAGES:
        if locale in installed:
            return locale
    raise WineError(
        "no locale that a Windows can be made with",
        why=f"one of {', '.join(CODE_PAGES)} is needed, this machine has {', '.join(sorted(installed)) or 'none'}",
        do="add zh_CN.UTF-8 to /etc/locale.gen and run locale-gen",
    )


class WineError(BundleError):
    """Wine is missing or does not do what it should."""


class WindowsProgram:
    """A running Windows program whose output is collected line by line while it runs."""

    def __init__(self, process: subprocess.Popen[bytes], encoding: str) -> None:
        self.process = process
        self._encoding = encoding
        self._printed = b""
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, name="wine output", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert isinstance(self.process.stdout, io.BufferedReader)
        while chunk := self.process.stdout.read1(1 << 16):
            with self._changed:
                self._printed += chunk
                self._changed.notify_all()

    @property
    def output(self) -> str:
        """Everything printed so far; lines that are not UTF-8 (cmd.exe's own) are read in the prefix's code page."""
        with self._changed:
            lines = self._printed.split(b"\n")
        return "\n".join(self._decode(line) for line in lines).replace("\r\n", "\n")

    def _decode(self, line: bytes) -> str:
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError:
            return line.decode(self._encoding, "replace")

    def wait_for(self, text: str, timeout_s: float = PATIENCE_S) -> str:
        """Wait until ``text`` was printed; return all output. Raises WineError when it does not come."""
        give_up = time.monotonic() + timeout_s
        while True:
            ended = not self._reader.is_alive()
            output = self.output
            if text in output:
                return output
            if ended or time.monotonic() >= give_up:
                raise self._no_such_text(text, ended=ended)
            with self._changed:
                self._changed.wait(0.05)

    def _no_such_text(self, text: str, *, ended: bool) -> WineError:
        return WineError(
            f"the program {'ended' if ended else 'still runs'} without printing {text!r}",
            why=f"it printed:\n{self.output}",
            do="run the same .bat under Wine by hand and look",
        )

    def press_enter(self) -> None:
        """Answer a ``pause``: end the program's input."""
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Wait for the end and return the exit code (Unix sees its low byte)."""
        code = self.process.wait(timeout_s)
        self._reader.join(5)
        self.close()
        return code

    def close(self) -> None:
        """Let go of the program's streams, ending it if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.press_enter()
        self._reader.join(5)
        if self.process.stdout is not None and not self._reader.is_alive():
            self.process.stdout.close()


class WinePrefix:
    """One Windows installation in ``folder``; ``locale`` decides its code page and language.

    version: which Windows Wine plays, such as ``win7``. build: the number it gives out, 0 for Wine's own: programs that
    ask for the build, as ours do before they believe what Windows says of the processor, then take another path.
    """

    def __init__(
        self, folder: Path, *, locale: str = "zh_CN.UTF-8", version: str = WINDOWS_VERSION, build: int = 0
    ) -> None:
        self.folder = folder
        self.locale = locale
        self.version, self.build = version, build
        self.code_page = CODE_PAGES[locale]
        told = [version] if version != WINDOWS_VERSION else []
        told += [f"build {build}"] if build else []
        self.name = f"Wine ({', '.join([f'code page {self.code_page}', *told])})"
        self._programs: list[WindowsProgram] = []
        self._wine = shutil.which("wine") or shutil.which("wine64") or ""
        if not self._wine:
            raise WineError("Wine is not installed", why="no program named wine", do="install wine64")

    @classmethod
    @contextmanager
    def temporary(cls, *, locale: str = "zh_CN.UTF-8", build: int = 0) -> Iterator[WinePrefix]:
        """Give a fresh prefix that is removed afterwards, with everything that ran in it."""
        with (
            tempfile.TemporaryDirectory(prefix="wine-") as folder,
            cls(Path(folder) / "prefix", locale=locale, build=build) as prefix,
        ):
            yield prefix

    def __enter__(self) -> WinePrefix:
        self.create()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment Wine runs in: this prefix and locale, no menus, no mono, no gecko, no display."""
        dropped = ("DISPLAY", "WAYLAND_DISPLAY", "LANGUAGE", "LANG", "MODEL")
        kept = {
            key: value
            for key, value in os.environ.items()
            if key not in dropped and not key.startswith(("LC_", "PYTHON"))
        }
        return {
            **kept,
            "LC_ALL": self.locale,
            "WINEPREFIX": str(self.folder),
            "WINEARCH": "win64",
            "WINEDEBUG": "-all",
            "WINEDLLOVERRIDES": "mscoree,mshtml,winemenubuilder.exe=",
            **(more or {}),
        }

    def create(self) -> None:
        """Make the prefix unless it is there: the Windows and the code page that were asked for."""
        if (self.folder / "system.reg").is_file():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for command in (["wineboot", "--init"], ["winecfg", "-v", self.version]):
            self._run_to_end(command)
        for value in ("CurrentBuild", "CurrentBuildNumber") if self.build else ():
            key = r"HKLM\Software\Microsoft\Windows NT\CurrentVersion"
            self._run_to_end(["reg", "add", key, "/v", value, "/t", "REG_SZ", "/d", str(self.build), "/f"])
        self._check_code_page()

    def _run_to_end(self, command: Sequence[str]) -> str:
        done = subprocess.run(
            [self._wine, *command],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=CREATE_TIMEOUT_S,
            check=False,
        )
        output = done.stdout.decode("utf-8", "replace")
        if done.returncode:
            raise WineError(f"wine {' '.join(command)} failed", why=output.strip() or "no output", do="try it by hand")
        return output

    def _check_code_page(self) -> None:
        key = r"HKLM\System\CurrentControlSet\Control\Nls\CodePage"
        answer = self._run_to_end(["reg", "query", key, "/v", "ACP"])
        if str(self.code_page) not in answer:
            raise WineError(
                f"the Wine prefix does not have code page {self.code_page}",
                why=f"the locale {self.locale} is missing on this machine: {answer.strip()}",
                do=f"add {self.locale} to /etc/locale.gen and run locale-gen",
            )

    def start(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        environment: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
    ) -> WindowsProgram:
        """Start a Windows program; ``environment`` is added to ours, ``wrapper`` is a Unix command around it."""
        process = subprocess.Popen(
            [*wrapper, self._wine, *command],
            cwd=cwd,
            env=self.environment(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        program = WindowsProgram(process, f"cp{self.code_page}")
        self._programs.append(program)
        return program

    def double_click(self, bat: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> WindowsProgram:
        """Start ``bat`` as a double-click does; what it prints comes through a pipe."""
        return self.start(["cmd", "/c", bat.name, *arguments], cwd=bat.parent, environment=environment)

    def processes(self) -> dict[int, str]:
        """Return Unix process id -> command line of every program in this prefix, Wine's own services left out."""
        wanted = f"WINEPREFIX={self.folder}".encode()
        found = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            with suppress(OSError):
                if wanted not in (folder / "environ").read_bytes().split(b"\0"):
                    continue
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
                if command and not _is_wines_own(command):
                    found[int(folder.name)] = command
        return found

    def pids_of(self, text: str) -> list[int]:
        """Return the Windows processes of this prefix whose command line holds ``text``.

        One that Wine is still loading is not among them: killing it would fail its parent's CreateProcess.
        """
        return [pid for pid, command in self.processes().items() if text in command and not command.startswith("/usr/")]

    def press_ctrl_c(self, text: str = "-m oneclick") -> None:
        """Send Ctrl+C to the Python that runs ``text``: SIGINT arrives there as KeyboardInterrupt."""
        for pid in self.pids_of(text):
            if "python.exe" in self.processes().get(pid, "") and "engine.worker" not in self.processes().get(pid, ""):
                os.kill(pid, signal.SIGINT)

    def kill(self, text: str) -> None:
        """End the processes whose command line holds ``text`` as the task manager does."""
        for pid in self.pids_of(text):
            os.kill(pid, signal.SIGKILL)

    def files(self) -> set[str]:
        """Return every file of this Windows, to see afterwards what a program left behind.

        Registry files and Wine's own temporary folder are left out: Wine writes them at its own times.
        """
        own = ("system.reg", "user.reg", "userdef.reg", ".update-timestamp")
        return {
            str(path.relative_to(self.folder))
            for path in self.folder.rglob("*")
            if path.is_file() and not path.is_symlink() and path.name not in own
        }

    def end(self) -> None:
        """End everything that runs in this prefix."""
        server = next((path for path in map(shutil.which, WINESERVERS) if path), None)
        if server and self.folder.is_dir():
            subprocess.run([server, "-k"], env=self.environment(), check=False, timeout=END_TIMEOUT_S)
        for program in self._programs:
            program.close()
        self._programs.clear()
        give_up = time.monotonic() + END_TIMEOUT_S
        while self.processes() and time.monotonic() < give_up:
            time.sleep(0.1)


WINES_OWN = (
    "wineserver",
    "services.exe",
    "winedevice.exe",
    "plugplay.exe",
    "svchost.exe",
    "rpcss.exe",
    "explorer.exe",
    "conhost.exe",
    "wineboot",
    "tabtip.exe",
    "start.exe /exec",
)


def _is_wines_own(command: str) -> bool:
    return any(name in command.lower() for name in WINES_OWN)
