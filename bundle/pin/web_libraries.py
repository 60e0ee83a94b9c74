"""The chat page's vendored libraries: fetched from npm by name, held to their pinned digests.

``python -m bundle.pin.web_libraries check``    compare the vendored files with the pinned packages
``python -m bundle.pin.web_libraries refresh``  write them again from the pinned packages
``python -m bundle.pin.web_libraries pin``      take the packages' digests into packages.json (after changing a version)

Runs the ordinary ``npm pack``, so that a maintainer's own registry setting is honoured. Without a network
``changed_files`` compares the files with the digests that packages.json holds of each.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bundle.errors import DigestMismatch, SourceError

VENDOR = Path(__file__).parents[2] / "payload" / "oneclick" / "web" / "vendor"
PINS = "packages.json"
README = "README.md"


@dataclass(frozen=True)
class Package:
    """One npm package and the files of it that the page ships."""

    name: str
    version: str
    licence: str
    integrity: str
    """npm's Subresource Integrity of the tarball: ``sha512-`` and base64."""
    use: str
    folder: str
    files: Mapping[str, str]
    """Path inside the package -> sha256 of the file; vendored as ``folder/<path>``."""


def read_pins(vendor: Path = VENDOR) -> list[Package]:
    """Return the packages of ``packages.json``."""
    entries = json.loads((vendor / PINS).read_text(encoding="utf-8"))["packages"]
    return [Package(**entry) for entry in entries]


def fetch_package(package: Package, folder: Path) -> bytes:
    """Return the package's tarball as npm delivers it."""
    command = ["npm", "pack", "--silent", "--ignore-scripts", f"{package.name}@{package.version}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SourceError(
            f"npm could not deliver {package.name} {package.version}",
            why=(done.stderr or done.stdout).strip()[-400:],
            do="check that npm is installed and reaches its registry",
        )
    return (folder / done.stdout.split()[-1]).read_bytes()


def integrity_of(tarball: bytes) -> str:
    """Return npm's integrity string of ``tarball``."""
    return "sha512-" + base64.b64encode(hashlib.sha512(tarball).digest()).decode("ascii")


def read_files(package: Package, tarball: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield (path below the vendor folder, content) of the files the page ships."""
    with tarfile.open(tarball) as archive:
        for name in package.files:
            member = archive.extractfile(f"package/{name}")
            if member is None:
                raise SourceError(
                    f"{package.name} {package.version} has no file {name}",
                    why="the package is laid out in another way than packages.json says",
                    do="look at the package and correct the list of files",
                )
            yield PurePosixPath(package.folder) / name, member.read()


def pinned_files(vendor: Path, packages: Sequence[Package]) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield what the vendor folder has to hold, checked against the pinned digests."""
    with tempfile.TemporaryDirectory() as folder:
        for package in packages:
            tarball = fetch_package(package, Path(folder))
            if integrity_of(tarball) != package.integrity:
                raise DigestMismatch(
                    f"{package.name} {package.version} is not the package that is pinned",
                    why=f"its integrity is {integrity_of(tarball)}, expected {package.integrity}",
                    do="find out why before anything else; never pin what you did not look at",
                )
            path = Path(folder) / "package.tgz"
            path.write_bytes(tarball)
            yield from read_files(package, path)
    yield PurePosixPath(README), render_readme(packages).encode("utf-8")


def render_readme(packages: Sequence[Package]) -> str:
    """Return the README that lies beside the vendored libraries."""
    lines = [
        "# Libraries of the chat page",
        "",
        "Unchanged files of these npm packages; each folder holds its licence. `packages.json` is the source of",
        "this table; `python -m bundle.pin.web_libraries check` compares every file with the package npm delivers.",
        "",
        "| package | version | licence | what for | npm integrity |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| {p.name} | {p.version} | {p.licence} | {p.use} | `{p.integrity}` |" for p in packages]
    return "\n".join(lines) + "\n"


def changed_files(vendor: Path = VENDOR) -> list[str]:
    """Return one sentence for each vendored file that is missing, changed or not listed."""
    packages = read_pins(vendor)
    wanted = {f"{package.folder}/{path}": sha256 for package in packages for path, sha256 in package.files.items()}
    wanted[README] = hashlib.sha256(render_readme(packages).encode("utf-8")).hexdigest()
    present = {
        file.relative_to(vendor).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in vendor.rglob("*")
        if file.is_file() and file.name != PINS
    }
    found = [f"{path} is missing" for path in sorted(wanted.keys() - present.keys())]
    found += [f"{path} belongs to no package" for path in sorted(present.keys() - wanted.keys())]
    return found + [f"{path} is changed" for path in sorted(wanted) if present.get(path, wanted[path]) != wanted[path]]


def pin(vendor: Path = VENDOR) -> None:
    """Write the digests of the named versions, and of each of their files, into ``packages.json``."""
    document = json.loads((vendor / PINS).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        for package, entry in zip(read_pins(vendor), document["packages"], strict=True):
            tarball = fetch_package(package, Path(folder))
            entry["integrity"] = integrity_of(tarball)
            (Path(folder) / "package.tgz").write_bytes(tarball)
            files = read_files(package, Path(folder) / "package.tgz")
            entry["files"] = {
                str(path.relative_to(package.folder)): hashlib.sha256(content).hexdigest() for path, content in files
            }
    (vendor / PINS).write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def refresh(vendor: Path = VENDOR) -> None:
    """Write every vendored file again."""
    for path, content in list(pinned_files(vendor, read_pins(vendor))):
        (vendor / path).parent.mkdir(parents=True, exist_ok=True)
        (vendor / path).write_bytes(content)


def check(vendor: Path = VENDOR) -> list[str]:
    """Return how the vendored files differ from their digests and from the packages npm delivers; empty: not at all."""
    fetched = dict(pinned_files(vendor, read_pins(vendor)))
    differing = [
        f"{path} differs from the package" for path, data in fetched.items() if not _holds(vendor / path, data)
    ]
    return changed_files(vendor) + differing


def _holds(file: Path, content: bytes) -> bool:
    return file.is_file() and file.read_bytes() == content


def main(arguments: Sequence[str]) -> int:
    """Run the command of the module's docstring; 1 when ``check`` found a difference."""
    command = arguments[0] if arguments else "check"
    if command == "pin":
        pin()
    if command in ("pin", "refresh"):
        refresh()
    found = check()
    sys.stdout.write("\n".join(found or ["vendored files are the pinned packages"]) + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
