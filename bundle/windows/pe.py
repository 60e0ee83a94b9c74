"""What Windows binaries import, and which of it Windows itself brings."""

from __future__ import annotations

from pathlib import Path

import pefile  # type: ignore[import-untyped]

from bundle.errors import UsageError

_WINDOWS = {
    *("advapi32", "bcrypt", "bcryptprimitives", "cabinet", "comctl32", "comdlg32", "crypt32", "dbghelp", "dnsapi"),
    *("gdi32", "imm32", "iphlpapi", "kernel32", "kernelbase", "mpr", "msvcrt", "mswsock", "ncrypt", "netapi32"),
    *("ntdll", "ole32", "oleaut32", "pdh", "powrprof", "propsys", "psapi", "rpcrt4", "secur32", "setupapi", "shell32"),
    *("shlwapi", "ucrtbase", "user32", "userenv", "version", "winmm", "winspool.drv", "ws2_32", "wtsapi32"),
}
"""DLLs of every Windows 10 and 11, without .dll."""


def read_imports(binary: Path) -> list[str]:
    """Names of the DLLs ``binary`` imports, in lower case and sorted, delay-loaded ones included."""
    try:
        # From bytes: closing a file that pefile opened collects all garbage, 0.3 s each time.
        pe = pefile.PE(data=binary.read_bytes(), fast_load=True)
        kinds = ("IMAGE_DIRECTORY_ENTRY_IMPORT", "IMAGE_DIRECTORY_ENTRY_DELAY_IMPORT")
        pe.parse_data_directories([pefile.DIRECTORY_ENTRY[kind] for kind in kinds])
        tables = (*getattr(pe, "DIRECTORY_ENTRY_IMPORT", ()), *getattr(pe, "DIRECTORY_ENTRY_DELAY_IMPORT", ()))
        return sorted({entry.dll.decode("ascii", "replace").lower() for entry in tables})
    except pefile.PEFormatError as error:
        raise UsageError(
            f"{binary.name} is not a Windows binary",
            why=f"its header cannot be read: {error}",
            do="take the file it came in again",
        ) from error


def is_windows_dll(name: str) -> bool:
    """Whether Windows 10 and 11 bring the DLL ``name`` (any case), the Universal C Runtime included."""
    lower = name.lower()
    return lower.startswith(("api-ms-", "ext-ms-")) or lower.removesuffix(".dll") in _WINDOWS
