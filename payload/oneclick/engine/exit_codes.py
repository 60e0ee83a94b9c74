"""What a worker's exit code means, in words."""

from __future__ import annotations

_MEANINGS = {
    # Windows NTSTATUS values, https://learn.microsoft.com/openspecs/windows_protocols/ms-erref
    0xC000001D: "server.exit_illegal_instruction",
    0xC0000005: "server.exit_access_violation",
    0xC0000409: "server.exit_abort",  # abort() and failed security checks
    0xC0000374: "server.exit_heap",
    0xC00000FD: "server.exit_stack",
    0xC0000017: "server.exit_memory",
    0xC000012D: "server.exit_memory",  # commitment limit
    0xC0000135: "server.exit_dll",
    0xC0000139: "server.exit_dll",
    3: "server.exit_abort",  # abort() of the C runtime without a debugger
    # POSIX signals, as subprocess reports them.
    -4: "server.exit_illegal_instruction",
    -11: "server.exit_access_violation",
    -7: "server.exit_access_violation",
    -6: "server.exit_abort",
    -9: "server.exit_killed",
    1: "server.exit_python",
}


def meaning(code: int) -> str:
    """Return the message key that explains ``code``."""
    return _MEANINGS.get(code if code < 0 else code & 0xFFFFFFFF, "server.exit_other")


def shown(code: int) -> str:
    """Return ``code`` as people look it up: NTSTATUS values in hexadecimal."""
    return f"0x{code & 0xFFFFFFFF:08X}" if code > 0xFFFF else str(code)


def explain(code: int) -> tuple[str, str]:
    """Return (message key, shown code)."""
    return meaning(code), shown(code)
