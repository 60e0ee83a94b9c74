"""What a worker's exit code means, in words."""

from __future__ import annotations

import sys

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
    0xC000007B: "server.exit_dll",  # a DLL for another kind of Windows, or a damaged one
    0xC0000142: "server.exit_dll",  # its start routine failed
    0xC0000006: "server.exit_disk",  # a page of the model could not be read: a stick was pulled, a share is gone
    0xC0000428: "server.exit_blocked",  # invalid image hash
    0xC0E90002: "server.exit_blocked",  # STATUS_SYSTEM_INTEGRITY_POLICY_VIOLATION: Smart App Control, WDAC
    3: "server.exit_abort",  # abort() of the C runtime without a debugger
    # POSIX signals, as subprocess reports them.
    -4: "server.exit_illegal_instruction",
    -11: "server.exit_access_violation",
    -7: "server.exit_access_violation",
    -6: "server.exit_abort",
    -9: "server.exit_killed",
    12: "server.exit_memory",  # OUT_OF_MEMORY below
    1: "server.exit_python",
}


OUT_OF_MEMORY = 0xC0000017 - (1 << 32) if sys.platform == "win32" else 12
"""What the worker ends with when the engine says that memory is out (STATUS_NO_MEMORY)."""

_BLOCKED_ERRORS = {4551, 1260, 577, 225, 226}
"""Windows errors of a policy or a security program that keeps a file from being loaded or started (winerror.h):
SYSTEM_INTEGRITY_POLICY_VIOLATION, ACCESS_DISABLED_BY_POLICY, INVALID_IMAGE_HASH, VIRUS_INFECTED, VIRUS_DELETED."""
_BLOCKED_WORDS = (
    "应用程序控制策略",
    "Application Control",
    "系统集成",
    "System Integrity policy",
    "组策略",
    "group policy",
)


def key_of_refusal(error: BaseException) -> str | None:
    """Return the key of a sentence for an error that says who forbids loading or starting something; None otherwise.

    Python tells the number of an ImportError only in words, in the language of Windows.
    """
    number, text = getattr(error, "winerror", None), str(error)
    if number in _BLOCKED_ERRORS or any(word in text for word in _BLOCKED_WORDS):
        return "server.engine_blocked"
    return None


def meaning(code: int) -> str:
    """Return the message key that explains ``code``."""
    return _MEANINGS.get(code if code < 0 else code & 0xFFFFFFFF, "server.exit_other")


def shown(code: int) -> str:
    """Return ``code`` as people look it up: NTSTATUS values in hexadecimal."""
    return f"0x{code & 0xFFFFFFFF:08X}" if code > 0xFFFF else str(code)


def explain(code: int) -> tuple[str, str]:
    """Return (message key, shown code)."""
    return meaning(code), shown(code)
