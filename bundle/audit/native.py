"""Windows binaries: 64-bit x86, and every DLL they import is in the bundle or in every clean Windows 10.

The list of Windows' own DLLs is the one delvewheel keeps from Microsoft's installation discs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from posixpath import basename, dirname

from delvewheel._dll_list import ignore_names_x64  # type: ignore[import-untyped]

from bundle.audit.findings import AuditExpectations, Finding, Tree
from bundle.errors import BundleError
from bundle.windows.pe import read_imports

_SUFFIXES = (".exe", ".dll", ".pyd")
_API_SET = re.compile(r"(api|ext)-[a-z0-9-]+\.dll$")
_SINCE_WINDOWS_10 = {"ucrtbase.dll", "combase.dll"}
"""On every Windows 10; delvewheel leaves them out because Windows 7 has none, or an older one."""
_AMD64 = 0x8664


def check_machine(tree: Tree, _: AuditExpectations) -> Iterator[Finding]:
    """Every program and library is for x64, and programs have the names of programs."""
    for name in tree.files:
        machine = _machine(tree, name)
        is_binary = name.lower().endswith(_SUFFIXES)
        if is_binary and machine != _AMD64:
            what = "it is no Windows program" if machine is None else f"it is for machine 0x{machine:04X}, not x64"
            yield Finding(path=name, rule="native", what=what, do="stage the win_amd64 file")
        if machine is not None and not is_binary:
            what = "it is a Windows program under another name"
            yield Finding(path=name, rule="native", what=what, do="leave it out, or name it .exe, .dll or .pyd")


def _machine(tree: Tree, name: str) -> int | None:
    """The machine field of a PE file; None when it is none."""
    with tree.path(name).open("rb") as file:
        head = file.read(64)
        if len(head) < 64 or head[:2] != b"MZ":
            return None
        file.seek(int.from_bytes(head[60:64], "little"))
        header = file.read(6)
    return int.from_bytes(header[4:6], "little") if header[:4] == b"PE\0\0" else None


def check_imports(tree: Tree, expected: AuditExpectations) -> Iterator[Finding]:
    """Every imported DLL is where Windows will look: beside the importer, in a DLL folder, or in System32."""
    in_folder: dict[str, set[str]] = {}
    for name in tree.files:
        in_folder.setdefault(dirname(name).lower(), set()).add(basename(name).lower())
    searched = [folder.lower() for folder in expected.dll_folders]
    # Wheels repaired by delvewheel add their own "<package>.libs" folder to the search when imported.
    searched += [folder for folder in in_folder if re.fullmatch(r"app/packages/[^/]+\.libs", folder)]
    for name in tree.with_suffix(*_SUFFIXES):
        folders = [dirname(name).lower(), *searched]
        try:
            imports = read_imports(tree.path(name))
        except BundleError:
            continue  # check_machine names it
        for dll in imports:
            if not is_windows_dll(dll) and not any(dll in in_folder.get(folder, ()) for folder in folders):
                what = f"it imports {dll}, which neither the bundle nor a clean Windows 10 has"
                do = "put the DLL beside it, or into app/engine/shared"
                yield Finding(path=name, rule="imports", what=what, do=do)


def is_windows_dll(name: str) -> bool:
    """Whether every clean 64-bit Windows 10 and 11 has the DLL ``name``."""
    lower = name.lower()
    return lower in ignore_names_x64 or lower in _SINCE_WINDOWS_10 or bool(_API_SET.match(lower))
