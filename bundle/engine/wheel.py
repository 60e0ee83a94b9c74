"""The engine as a wheel: written so that two builds give the same bytes, checked before anything of it is used."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from bundle.archive.foreign import BadArchive
from bundle.archive.unpack import unpack_zip
from bundle.engine.request import PACKAGE
from bundle.errors import UsageError

_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class WheelInfo:
    """What a checked engine wheel says of itself."""

    path: Path
    version: str
    tag: str
    """Python tag such as ``cp310``."""


def write_wheel(folder: Path, *, version: str, tag: str, files: Mapping[str, bytes], metadata: str) -> Path:
    """Write ``chatglm_cpp-<version>-<tag>-<tag>-win_amd64.whl`` into ``folder``.

    files: path inside the wheel -> content; METADATA, WHEEL and RECORD are added. Times and order are fixed.
    """
    info = f"{PACKAGE}-{version}.dist-info"
    wheel_file = f"Wheel-Version: 1.0\nGenerator: oneclick\nRoot-Is-Purelib: false\nTag: {tag}-{tag}-win_amd64\n"
    members = dict(sorted(files.items()))
    members |= {f"{info}/METADATA": metadata.encode(), f"{info}/WHEEL": wheel_file.encode()}
    record = "".join(f"{name},sha256={_record_digest(data)},{len(data)}\n" for name, data in members.items())
    members[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    target = folder / f"{PACKAGE}-{version}-{tag}-{tag}-win_amd64.whl"
    with zipfile.ZipFile(target, "w") as wheel:
        for name, data in members.items():
            member = zipfile.ZipInfo(name, _EPOCH)
            member.create_system = 3  # the same bytes from a Windows builder
            member.external_attr = 0o644 << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            wheel.writestr(member, data, compresslevel=9)
    return target


def _record_digest(data: bytes) -> str:
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
        if not file.is_file() or digests.get(name) != f"sha256={_record_digest(file.read_bytes())}":
            raise BadArchive(path, f"{name} is not as its RECORD says")
