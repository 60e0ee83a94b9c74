"""Our wheel of the engine, written so that every machine writes the same bytes."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

from bundle.engine.request import PACKAGE
from bundle.engine.wheel import record_digest

_EPOCH = (1980, 1, 1, 0, 0, 0)


def write_wheel(
    folder: Path, *, version: str, tag: str, files: Mapping[str, bytes], metadata: str, level: str = ""
) -> Path:
    """Write ``chatglm_cpp-<version>[-1<level>]-<tag>-<tag>-win_amd64.whl`` into ``folder``.

    files: path inside the wheel -> content; METADATA, WHEEL and RECORD are added. level: the CPU level, which becomes
    the build tag, so that the wheels of all levels can lie in one folder. Times and order are fixed, and nothing is
    compressed: versions of zlib compress differently. The archive compresses better anyway.
    """
    info = f"{PACKAGE}-{version}.dist-info"
    build = f"1{level}" if level else ""
    lines = ["Wheel-Version: 1.0", "Generator: oneclick", "Root-Is-Purelib: false", f"Tag: {tag}-{tag}-win_amd64"]
    lines += [f"Build: {build}"] if build else []
    members = dict(sorted(files.items()))
    members |= {f"{info}/METADATA": metadata.encode(), f"{info}/WHEEL": ("\n".join(lines) + "\n").encode()}
    record = "".join(f"{name},sha256={record_digest(data)},{len(data)}\n" for name, data in members.items())
    members[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    target = folder / f"{'-'.join(filter(None, (PACKAGE, version, build, tag, tag)))}-win_amd64.whl"
    with zipfile.ZipFile(target, "w") as wheel:
        for name, data in members.items():
            member = zipfile.ZipInfo(name, _EPOCH)
            member.create_system = 3  # the same bytes from a Windows builder
            member.external_attr = 0o644 << 16
            wheel.writestr(member, data)
    return target
