"""What only Windows can be asked: version, processor, memory, drives, other programs. Import on Windows only."""

from __future__ import annotations

import ctypes
import ntpath
import platform
import struct
import sys

assert sys.platform == "win32", "oneclick.pc.windows needs Windows"

import winreg  # noqa: E402
from ctypes import wintypes  # noqa: E402

from oneclick.pc.tcp_table import IPV4, IPV6, pid_in_table  # noqa: E402

AF_INET, AF_INET6 = 2, 23
TCP_TABLE_OWNER_PID_LISTENER = 3
ERROR_INSUFFICIENT_BUFFER = 122
PROCESS_QUERY_LIMITED_INFORMATION = 0x1000
RELATION_PROCESSOR_CORE = 0
PROCESSOR_KEY = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
ANTIVIRUS_KEY = r"SOFTWARE\Microsoft\Security Center\Provider\Av"

kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
kernel32.OpenProcess.restype, kernel32.CloseHandle.argtypes = wintypes.HANDLE, (wintypes.HANDLE,)
kernel32.QueryFullProcessImageNameW.argtypes = (
    wintypes.HANDLE,
    wintypes.DWORD,
    wintypes.LPWSTR,
    ctypes.POINTER(wintypes.DWORD),
)


def pid_listening_on(port: int, *, only_ipv6: bool = False) -> int | None:
    """Return the id of the process that listens on TCP ``port``; None where there is none, 0 where it is not told."""
    on_ipv4 = None if only_ipv6 else pid_in_table(_listeners(AF_INET), IPV4, port)
    return pid_in_table(_listeners(AF_INET6), IPV6, port) if on_ipv4 is None else on_ipv4


def _listeners(family: int) -> bytes:
    get_table = ctypes.WinDLL("iphlpapi").GetExtendedTcpTable
    size = wintypes.DWORD(0)
    result = get_table(None, ctypes.byref(size), False, family, TCP_TABLE_OWNER_PID_LISTENER, 0)
    while result == ERROR_INSUFFICIENT_BUFFER:
        buffer = ctypes.create_string_buffer(size.value)
        result = get_table(buffer, ctypes.byref(size), False, family, TCP_TABLE_OWNER_PID_LISTENER, 0)
        if result == 0:
            return buffer.raw
    return b""


def program_of(pid: int) -> str:
    """Return the file name of the program with process id ``pid``; empty where Windows does not say."""
    process = kernel32.OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, False, pid)
    if not process:
        return ""
    try:
        buffer = ctypes.create_unicode_buffer(32768)
        size = wintypes.DWORD(len(buffer))
        found = kernel32.QueryFullProcessImageNameW(process, 0, buffer, ctypes.byref(size))
        return ntpath.basename(buffer.value) if found else ""
    finally:
        kernel32.CloseHandle(process)


class _OsVersionInfo(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_uint32),
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("build", ctypes.c_uint32),
        ("platform", ctypes.c_uint32),
        ("service_pack", ctypes.c_wchar * 128),
    )


def version() -> tuple[int, int, int]:
    """Return (major, minor, build).

    RtlGetVersion is asked because GetVersionEx tells a program without a manifest that it runs on Windows 8.
    """
    info = _OsVersionInfo(size=ctypes.sizeof(_OsVersionInfo))
    ctypes.windll.ntdll.RtlGetVersion(ctypes.byref(info))
    return info.major, info.minor, info.build


def processor_names() -> tuple[str, str, str]:
    """Return (name, identifier, vendor) as Windows wrote them at boot; empty where it did not."""
    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, PROCESSOR_KEY) as key:
            return (
                _text_of(key, "ProcessorNameString"),
                _text_of(key, "Identifier"),
                _text_of(key, "VendorIdentifier"),
            )
    except OSError:
        return platform.processor(), platform.processor(), ""


def _text_of(key: winreg.HKEYType, name: str) -> str:
    try:
        return str(winreg.QueryValueEx(key, name)[0]).strip()
    except OSError:
        return ""


def antivirus_programs() -> list[tuple[str, int]]:
    """Return (DISPLAYNAME, STATE) of each antivirus program that the Security Center's service wrote down."""
    found = []
    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, ANTIVIRUS_KEY) as products:
            for index in range(winreg.QueryInfoKey(products)[0]):
                with winreg.OpenKey(products, winreg.EnumKey(products, index)) as product:
                    name, state = _text_of(product, "DISPLAYNAME"), _text_of(product, "STATE")
                    if name:
                        found.append((name, int(state) if state.isdecimal() else 0))
    except OSError:
        pass  # A server has no Security Center; what was read so far is still true.
    return found


def has_feature(number: int) -> bool:
    """Ask IsProcessorFeaturePresent for one of its PF_ numbers."""
    return bool(kernel32.IsProcessorFeaturePresent(number))


def native_machine() -> int:
    """Return the IMAGE_FILE_MACHINE_ number of the processor itself, 0 where Windows does not tell (before 1709).

    https://learn.microsoft.com/windows/win32/api/wow64apiset/nf-wow64apiset-iswow64process2
    """
    try:
        ask = kernel32.IsWow64Process2
    except AttributeError:
        return 0
    ask.argtypes = (wintypes.HANDLE, ctypes.POINTER(wintypes.USHORT), ctypes.POINTER(wintypes.USHORT))
    ask.restype = wintypes.BOOL
    own, native = wintypes.USHORT(0), wintypes.USHORT(0)
    this_process = wintypes.HANDLE(-1)
    return native.value if ask(this_process, ctypes.byref(own), ctypes.byref(native)) else 0


def long_path(path: str) -> str:
    """Return ``path`` with long instead of 8.3 names, as it is where there is no such file.

    https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-getlongpathnamew
    """
    ask = kernel32.GetLongPathNameW
    ask.argtypes, ask.restype = (wintypes.LPCWSTR, wintypes.LPWSTR, wintypes.DWORD), wintypes.DWORD
    buffer = ctypes.create_unicode_buffer(32768)
    return buffer.value if 0 < ask(path, buffer, len(buffer)) < len(buffer) else path


def enabled_register_states() -> int:
    """Return the XSTATE mask of GetEnabledXStateFeatures, 0 where the call does not exist."""
    try:
        ask = kernel32.GetEnabledXStateFeatures
    except AttributeError:
        return 0
    ask.restype = ctypes.c_uint64
    return int(ask())


def physical_cores() -> int:
    """Return the number of cores (not threads) in all processor groups, 0 where Windows does not tell."""
    size = wintypes.DWORD(0)
    query = kernel32.GetLogicalProcessorInformationEx
    query(RELATION_PROCESSOR_CORE, None, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value + 1)
    if not query(RELATION_PROCESSOR_CORE, buffer, ctypes.byref(size)):
        return 0
    count = offset = 0
    while offset + 8 <= size.value:
        (record_size,) = struct.unpack_from("<I", buffer, offset + 4)
        if not record_size:
            break
        count, offset = count + 1, offset + record_size
    return count


class _MemoryStatusEx(ctypes.Structure):
    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("total_physical", ctypes.c_uint64),
        ("available_physical", ctypes.c_uint64),
        ("commit_limit", ctypes.c_uint64),
        ("commit_available", ctypes.c_uint64),
        ("total_virtual", ctypes.c_uint64),
        ("available_virtual", ctypes.c_uint64),
        ("available_extended", ctypes.c_uint64),
    )


def memory_status() -> tuple[int, int, int, int]:
    """Return bytes of (physical memory, of it available, commit limit, commit still available)."""
    status = _MemoryStatusEx(length=ctypes.sizeof(_MemoryStatusEx))
    kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
    return status.total_physical, status.available_physical, status.commit_limit, status.commit_available


def volume_of(path: str) -> tuple[str, int]:
    """Return (file system such as NTFS, GetDriveType's number) of the drive that ``path`` is on; ("", 0) unknown."""
    root = ctypes.create_unicode_buffer(1024)
    if not kernel32.GetVolumePathNameW(path, root, len(root)):
        return "", 0
    name = ctypes.create_unicode_buffer(64)
    told = kernel32.GetVolumeInformationW(root, None, 0, None, None, None, name, len(name))
    return (name.value if told else ""), int(kernel32.GetDriveTypeW(root))
