"""An import library for the bundle's own Python DLL, so that the engine links without CPython's libs folder."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pefile  # type: ignore[import-untyped]

from bundle.errors import UsageError

_EXECUTABLE = 0x20000000  # IMAGE_SCN_MEM_EXECUTE


def read_exports(dll: Path) -> list[tuple[str, bool]]:
    """Names ``dll`` exports, sorted, each with whether it is data (a variable such as PyExc_ValueError)."""
    try:
        with pefile.PE(str(dll), fast_load=True) as pe:
            pe.parse_data_directories([pefile.DIRECTORY_ENTRY["IMAGE_DIRECTORY_ENTRY_EXPORT"]])
            symbols = pe.DIRECTORY_ENTRY_EXPORT.symbols
            exports = []
            for symbol in symbols:
                section = pe.get_section_by_rva(symbol.address)
                code = section is not None and bool(section.Characteristics & _EXECUTABLE)
                if symbol.name is not None:
                    exports.append((symbol.name.decode("ascii"), not code))
    except (pefile.PEFormatError, AttributeError) as error:
        raise UsageError(
            f"{dll.name} is not a DLL that can be linked against",
            why=f"its export table cannot be read: {error}",
            do="take the embeddable Python again",
        ) from error
    return sorted(exports)


def write_import_library(dll: Path, target: Path, zig: Path) -> None:
    """Write ``target`` (a .lib of what ``dll`` exports) with zig's dlltool; the .def stays beside it."""
    lines = [f"LIBRARY {dll.name}", "EXPORTS"]
    lines += [f"    {name}{' DATA' if data else ''}" for name, data in read_exports(dll)]
    definition = target.with_suffix(".def")
    definition.write_text("\n".join(lines) + "\n", encoding="ascii")
    subprocess.run(
        [str(zig), "dlltool", "-m", "i386:x86-64", "-d", str(definition), "-l", str(target)],
        check=True,
        capture_output=True,
        text=True,
    )
