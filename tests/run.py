"""Prepare what the tests need, then run all of them: ``python3 tests/run.py [--fast | --lint | pytest options]``.

``--fast`` runs what needs no engine, archive, Wine or browser, in under a minute; ``--lint`` runs no test but looks at
the sources. When a whole run ends with failures, those tests run once more by themselves, and both results are told.
Only the standard library is used here. The tests' environment is .venv-tests beside .venv. On Debian and Ubuntu
as root the missing programs (Wine, 7-Zip, Chromium, locales, a Chinese font) are installed; elsewhere the one line
that installs them is shown, with the tests that are left out without them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv-tests"
REQUIREMENTS = [ROOT / "tests" / "requirements.txt"]
STAMP = VENV / "requirements.sha256"
PROGRAMS = {
    "wine": ("wine wine64", "double-clicks under Wine"),
    "7zz": ("7zip", "archives read by 7-Zip"),
    "bsdtar": ("libarchive-tools", "archives read by libarchive, as Windows Explorer does"),
    "chromium": ("chromium fonts-noto-cjk", "the chat page"),
    "osslsigncode": ("osslsigncode", "signatures of the embeddable Python"),
    "minisign": ("minisign", "signatures of releases, read by the program that made the format"),
    "objdump": ("binutils", "Windows binaries, read by another program"),
    "npm": ("nodejs npm", "JavaScript clients of the server"),
    "locale-gen": ("locales", "a Chinese Windows under Wine"),
}
"""Program -> Debian packages, and what is not tested without it."""
LOCALES = ("zh_CN.UTF-8", "en_US.UTF-8")


def main(arguments: list[str]) -> int:
    """Prepare, then lint or run pytest; return the exit code."""
    if arguments == ["--lint"]:
        return lint(prepare_environment())
    if arguments == ["--fast"]:
        return run_pytest(prepare_environment(), ["--fast", *in_parallel()])
    prepare_programs()
    python = prepare_environment()
    if arguments:
        return run_pytest(python, arguments)
    subprocess.run([sys.executable, ROOT / "build.py", "--no-smoke"], check=True)
    code = run_pytest(python, in_parallel())
    if code != TESTS_FAILED:
        return code
    # Real browsers, servers and Wine: what failed by the load of the machine passes alone; a real fault fails again.
    say("Tests failed. They run once more, one at a time; what passes now is flaky and named here:")
    return run_pytest(python, ["--last-failed", "--last-failed-no-failures", "none", "-rA", "--no-header", "-q"])


TESTS_FAILED = 1
"""pytest's exit code for it."""


def in_parallel() -> list[str]:
    """Whole files side by side: most tests wait for a server, a browser or Wine."""
    return ["--numprocesses", str(min(4, os.cpu_count() or 1)), "--dist", "loadfile"]


def run_pytest(python: str, options: list[str]) -> int:
    environment = {**os.environ, "PYTHONUTF8": "1"}
    return subprocess.run([python, "-m", "pytest", *options], cwd=ROOT, env=environment, check=False).returncode


def lint(python: str) -> int:
    """Look at the sources with each tool; return 0 when none complains."""
    workflows = ".github/workflows"
    commands = (
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        ["codespell"],
        ["zizmor", "--offline", "--quiet", workflows],
    )
    codes = []
    for name, *options in commands:
        say(f"{name} {' '.join(options)}")
        codes.append(subprocess.run([Path(python).with_name(name), *options], cwd=ROOT, check=False).returncode)
    return max(codes)


def prepare_programs() -> None:
    """Install missing programs where that is possible, else say what is missing."""
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing and os.name == "posix" and os.geteuid() == 0 and shutil.which("apt-get"):
        packages = [package for program in missing for package in PROGRAMS[program][0].split()]
        say(f"installing {' '.join(packages)}")
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
            subprocess.run(["apt-get", "-qq", *command], env=quiet, stdout=subprocess.DEVNULL, check=False)
        missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        packages = " ".join(PROGRAMS[program][0] for program in missing)
        say(f"to run all tests: sudo apt install {packages}")
        for program in missing:
            say(f"  left out without {program}: {PROGRAMS[program][1]}")
    prepare_locales()


def prepare_locales() -> None:
    """Generate the locales that a Chinese and an American Windows are made with."""
    generator, settings = shutil.which("locale-gen"), Path("/etc/locale.gen")
    if not generator or not settings.is_file() or os.geteuid() != 0:
        return
    installed = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=False).stdout
    wanted = [name for name in LOCALES if name.replace("UTF-8", "utf8") not in installed.split()]
    if wanted:
        with settings.open("a", encoding="utf-8") as out:
            out.writelines(f"{name} UTF-8\n" for name in wanted)
        subprocess.run([generator], stdout=subprocess.DEVNULL, check=False)


def prepare_environment() -> str:
    """Make .venv-tests current and return its Python."""
    python = str(VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in REQUIREMENTS)).hexdigest()
    if STAMP.is_file() and STAMP.read_text() == digest:
        return python
    say("making the tests' environment in .venv-tests")
    venv.create(VENV, clear=True, with_pip=True)
    # uv installs in seconds what takes pip a minute; its own version is pinned among the builder's requirements.
    pinned = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    uv = next(line.split()[0] for line in pinned if line.startswith("uv=="))
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, uv], check=True)
    install = [python, "-m", "uv", "pip", "install", "--quiet", "--python", python]
    for path in REQUIREMENTS:
        install += ["--requirement", str(path)]
    subprocess.run(install, check=True)
    STAMP.write_text(digest)
    return python


def say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
