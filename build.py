"""Maintainers' entry: makes its own environment on the first run, then hands over to bundle.cli.main.

Only the standard library is used here, so that any Python 3.10+ can start it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
REQUIREMENTS = ROOT / "requirements.txt"
UPLOAD_REQUIREMENTS = ROOT / "requirements-publish.txt"
"""Clients of the places that ``publish`` uploads to, and what signs; installed when first needed."""
UPLOAD = re.compile(r"(--to=)?(github|hf|modelscope|webdav):")
"""Argument of ``publish`` that names such a place."""
CHINA_INDEXES = ("https://pypi.tuna.tsinghua.edu.cn/simple/", "https://mirrors.ustc.edu.cn/pypi/simple/")
"""Asked after the maintainer's own index; every package's hash is pinned, so the place does not matter."""
GLIBC, HUGE_PAGES = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
USAGE, NO_SOURCE = 2, 3
"""Exit codes shared with bundle.errors, which cannot be imported yet."""


def main() -> int:
    """Run the builder inside its own environment and return its exit code."""
    if sys.version_info < (3, 10):  # noqa: UP036 (any Python may start this file)
        return fail("this Python is too old", f"it is {sys.version.split()[0]}", "use Python 3.10 or newer", USAGE)
    files = needed_requirements(sys.argv[1:])
    if inside_environment(files):
        if os.environ.get(GLIBC) == HUGE_PAGES:
            del os.environ[GLIBC]  # for this process alone: with it, Wine may fail to start
        sys.path.insert(1, str(ROOT / "payload"))
        from bundle.cli.main import main as run_cli

        return run_cli(sys.argv[1:])
    code = prepare_environment(files)
    return code or run_again()


def needed_requirements(arguments: list[str]) -> list[Path]:
    """Return the files of packages that the command line ``arguments`` needs."""
    uploads = "publish" in arguments and any(UPLOAD.match(word) for word in arguments)
    has_key = "SIGNING_KEY" in os.environ or any(word.startswith("--key") for word in arguments)
    signs = has_key and bool({"publish", "patch"} & set(arguments))
    return [REQUIREMENTS, UPLOAD_REQUIREMENTS] if uploads or signs else [REQUIREMENTS]


def prepare_environment(files: list[Path]) -> int:
    """Make .venv where it is missing or outdated, and add what it lacks of ``files``; return an exit code."""
    if not is_installed(REQUIREMENTS):
        code = make_environment()
        if code:
            return code
    for requirements in files:
        if not is_installed(requirements):
            say(f"Installing {requirements.name} into .venv")
            code = install(requirements)
            if code:
                return code
    return 0


def inside_environment(files: list[Path]) -> bool:
    """Tell whether this process runs in .venv and its packages are those of ``files``."""
    return Path(sys.prefix).resolve() == VENV.resolve() and all(map(is_installed, files))


def is_installed(requirements: Path) -> bool:
    """Tell whether .venv holds the packages of ``requirements`` as they are now, and its Python still exists."""
    known = stamp(requirements)
    return environment_python().is_file() and known.is_file() and known.read_text() == digest(requirements)


def stamp(requirements: Path) -> Path:
    """Return the file in .venv that says what was installed last from ``requirements``."""
    return VENV / f"{requirements.stem}.sha256"


def digest(requirements: Path) -> str:
    return hashlib.sha256(requirements.read_bytes()).hexdigest()


def environment_python() -> Path:
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def make_environment() -> int:
    """Create .venv and install requirements.txt into it.

    Debian's Python comes without ensurepip, so virtualenv and uv are tried too.
    """
    say("First run: making the builder's own environment in .venv (about a minute)")
    creators = [[sys.executable, "-m", "venv", "--clear", str(VENV)]]
    if importable("virtualenv"):
        creators.append([sys.executable, "-m", "virtualenv", "--clear", str(VENV)])
    if uv := shutil.which("uv"):
        creators.append([uv, "venv", "--seed", "--clear", "--python", sys.executable, str(VENV)])
    problems = []
    for creator in creators:
        shutil.rmtree(VENV, ignore_errors=True)
        done = subprocess.run(creator, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return install(REQUIREMENTS)
        problems.append((done.stderr or done.stdout).strip().splitlines()[-1:] or ["no message"])
    package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    why = "; ".join(line for lines in problems for line in lines)
    return fail(
        "the builder's environment cannot be made", why, f"install one package: apt install {package} (or: uv)", USAGE
    )


def importable(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None


def install(requirements: Path) -> int:
    """Install ``requirements`` from the maintainer's index, else from the mirrors in China; the stamp comes last."""
    command = [str(environment_python()), "-m", "pip", "install", "--require-hashes", "--only-binary", ":all:"]
    command += ["--quiet", "--disable-pip-version-check", "--requirement", str(requirements)]
    last = ""
    for index in (None, *CHINA_INDEXES):
        choice = ["--index-url", index] if index else []
        done = subprocess.run([*command, *choice], stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode == 0:
            stamp(requirements).write_text(digest(requirements))
            return 0
        last = done.stderr.strip()
        say(f"  {index or 'the index of your pip settings'} did not give all packages")
    return fail(
        "the builder's packages could not be installed", last[-800:], "check the network and run again", NO_SOURCE
    )


def run_again() -> int:
    """Run this file with the environment's Python and return its exit code."""
    command = [str(environment_python()), str(ROOT / "build.py"), *sys.argv[1:]]
    if os.name != "nt":
        sys.stdout.flush()
        os.execve(command[0], command, builder_environment())
    # On Windows exec would return to the prompt at once, with the builder still writing to it.
    process = subprocess.Popen(command)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue  # the builder got it too and is stopping


def builder_environment() -> dict[str, str]:
    """Return the variables the builder runs with: huge pages for large memory, where the C library is glibc 2.35+.

    A compressor looks up 100 MB of tables at random. With pages of 2 MiB packing takes a sixth less time, and glibc
    reads the setting only when a program starts.
    """
    return {GLIBC: HUGE_PAGES, **os.environ}


def say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def fail(what: str, why: str, do: str, code: int) -> int:
    say(f"error: {what}\n  why: {why}\n  do:  {do}")
    return code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
