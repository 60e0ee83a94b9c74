"""An engine's wheel, checked before anything of it is used."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from bundle.archive.foreign import BadArchive
from bundle.archive.unpack import unpack_zip
from bundle.engine.request import PACKAGE
from bundle.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class WheelInfo:
    """What a checked engine wheel says of itself."""

    path: Path
    version: str
    tag: str
    """Python tag such as ``cp310``."""


def record_digest(data: bytes) -> str:
    """The sha256 of ``data`` as RECORD writes it."""
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def check_wheel(path: Path, python_tag: str, target: Path) -> WheelInfo:
    """Unpack the engine's wheel ``path`` into the new folder ``target`` and make sure it is what it should be.

    That is: an undamaged chatglm_cpp wheel for ``python_tag`` (such as ``cp310``) on 64-bit Windows, each file as
    its RECORD says. Anything else is a UsageError.
    """
    version = _check_name(path, python_tag)
    names = unpack_zip(path, target)
    _check_record(path, target, names)
    metadata = sorted(target.glob("*.dist-info/METADATA"))
    declared = HeaderParser().parsestr(metadata[0].read_text(encoding="utf-8"))["Name"] if metadata else None
    module = f"{PACKAGE}/_C.{python_tag}-win_amd64.pyd"
    if declared is None or canonicalize_name(declared) != canonicalize_name(PACKAGE) or module not in names:
        raise UsageError(
            f"{path.name} is not the engine it is named after",
            why=f"its metadata names {declared}, and {module} is {'' if module in names else 'not '}in it",
            do="take the wheel again from where it is published",
        )
    return WheelInfo(path=path, version=version, tag=python_tag)


def _check_name(path: Path, python_tag: str) -> str:
    """Version in the file name ``path``, once its package, Python and platform are the wanted ones."""
    try:
        name, version, _build, tags = parse_wheel_filename(path.name)
    except InvalidWheelFilename as error:
        raise UsageError(
            f"{path.name} is not a wheel",
            why=str(error),
            do="give a file with its original name, like chatglm_cpp-0.3.0-cp310-cp310-win_amd64.whl",
        ) from error
    if name != canonicalize_name(PACKAGE):
        raise UsageError(
            f"{path.name} is not the engine",
            why=f"it holds the package {name}, the engine is {canonicalize_name(PACKAGE)}",
            do=f"give a {PACKAGE} wheel",
        )
    wanted = Tag(python_tag, python_tag, "win_amd64")
    if wanted not in tags:
        raise UsageError(
            f"{path.name} does not fit this bundle",
            why=f"it is for {', '.join(sorted(map(str, tags)))}; the bundle takes {wanted}",
            do="give a wheel for this Python on 64-bit Windows, or choose another Python with --python",
        )
    return str(version)


def _check_record(path: Path, folder: Path, names: Iterable[str]) -> None:
    """Every unpacked file is in RECORD with its digest; what RECORD names beyond that is missing."""
    records = sorted(folder.glob("*.dist-info/RECORD"))
    if len(records) != 1:
        raise BadArchive(path, f"it holds {len(records)} RECORD files instead of one")
    rows = list(csv.reader(io.StringIO(records[0].read_text(encoding="utf-8"))))
    digests = {row[0]: row[1] for row in rows if len(row) == 3}
    unsigned = {records[0].relative_to(folder).as_posix() + ending for ending in ("", ".jws", ".p7s")}
    for name in sorted(set(names) | set(digests)):
        file = folder / name
        if name in unsigned:
            continue
        if not file.is_file() or digests.get(name) != f"sha256={record_digest(file.read_bytes())}":
            raise BadArchive(path, f"{name} is not as its RECORD says")
