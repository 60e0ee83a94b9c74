"""What PC this is: Windows version, processor, cores, memory, disk.

Which instructions the CPU has is asked from Windows, never by running CPUID ourselves: Python would need memory that
is writable and executable for that, which is what antivirus programs watch for. Windows answers for AVX and AVX2 since
version 2004; before, the enabled register state tells AVX and the processor's family tells AVX2. FMA, F16C, BMI and the
rest of that level have no question of their own: every Intel and AMD processor with AVX2 has them, others are not
assumed to.
The last word has the engine itself: a worker that dies of an illegal instruction is started again one level lower.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from oneclick.pc.levels import FEATURES

PF_AVX = 39
PF_AVX2 = 40
XSTATE_MASK_AVX = 1 << 2
FIRST_BUILD_THAT_KNOWS_AVX2 = 19041
"""Windows 10 version 2004; older ones answer no to PF_AVX2 on every processor."""
MACHINE_ARM64 = 0xAA64
"""IMAGE_FILE_MACHINE_ARM64. Windows 11 there emulates x64: without AVX at first, with AVX, AVX2, BMI, FMA and F16C
since update KB5066835 of October 2025; IsProcessorFeaturePresent tells. Windows 10 on ARM runs no x64 program."""
MAKERS_WITH_FMA = ("GenuineIntel", "AuthenticAMD", "HygonGenuine")
"""Every AVX2 processor of theirs has all of that level; VIA's and Zhaoxin's first ones have AVX2 without FMA."""
DRIVE_TYPES = {2: "removable", 3: "fixed", 4: "network", 5: "cdrom", 6: "ramdisk"}


@dataclass(frozen=True)
class WindowsVersion:
    """A version of Windows; ``build`` tells Windows 10 (10240 and later) from 11 (22000 and later)."""

    major: int
    minor: int
    build: int

    @property
    def name(self) -> str:
        """The name people use."""
        if self.major == 10:
            return "Windows 11" if self.build >= 22000 else "Windows 10"
        return {(6, 1): "Windows 7", (6, 2): "Windows 8", (6, 3): "Windows 8.1"}.get(
            (self.major, self.minor), f"Windows {self.major}.{self.minor}"
        )


@dataclass(frozen=True)
class Cpu:
    """The processor; ``features`` are among those of ``levels.FEATURES``."""

    name: str
    physical_cores: int
    logical_cores: int
    features: frozenset[str]
    certain: bool = True
    """Whether a feature that is not in ``features`` is really missing."""
    is_arm: bool = False
    """Whether it is an ARM64 processor on which Windows emulates x64 for us."""


@dataclass(frozen=True)
class Memory:
    """Bytes of physical memory, and of memory that Windows will still promise (memory plus page file)."""

    total_bytes: int
    available_bytes: int
    commit_limit_bytes: int
    commit_available_bytes: int


@dataclass(frozen=True)
class Disk:
    """The drive of a folder."""

    free_bytes: int
    file_system: str
    """``NTFS``, ``FAT32``, ``exFAT`` ...; empty where it cannot be told."""
    kind: str
    """One of ``DRIVE_TYPES``' values; empty where it cannot be told."""


def windows_version() -> WindowsVersion | None:
    """Return the version of Windows, None elsewhere."""
    if sys.platform == "win32":
        from oneclick.pc import windows

        return WindowsVersion(*windows.version())
    return None


def cpu() -> Cpu:
    """Return what is known of this PC's processor."""
    if sys.platform == "win32":
        from oneclick.pc import windows

        name, identifier, vendor = windows.processor_names()
        knows_avx2 = windows.version()[2] >= FIRST_BUILD_THAT_KNOWS_AVX2
        is_arm = windows.native_machine() == MACHINE_ARM64
        features = conclude_features(
            has_avx=windows.has_feature(PF_AVX) or bool(windows.enabled_register_states() & XSTATE_MASK_AVX),
            has_avx2=windows.has_feature(PF_AVX2),
            knows_avx2=knows_avx2,
            identifier=identifier,
            vendor=vendor,
            is_arm=is_arm,
        )
        logical = os.cpu_count() or 1
        certain = "avx" not in features or (knows_avx2 and (is_arm or vendor in MAKERS_WITH_FMA))
        return Cpu(name, windows.physical_cores() or logical, logical, features, certain, is_arm)
    return _linux_cpu()


def _linux_cpu() -> Cpu:
    """For development on Linux: the same answers from ``/proc/cpuinfo``."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    flags = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    name = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    names = {"abm": "lzcnt"}
    told = {names.get(flag, flag) for flag in (flags.group(1).split() if flags else ())}
    features = frozenset(told) & set(FEATURES["avx2"])
    cores = set(re.findall(r"^physical id\s*:\s*(\d+)(?:.|\n)*?^core id\s*:\s*(\d+)", text, re.MULTILINE))
    logical = os.cpu_count() or 1
    return Cpu(name.group(1) if name else platform.machine(), len(cores) or logical, logical, features)


def conclude_features(
    *, has_avx: bool, has_avx2: bool, knows_avx2: bool, identifier: str, vendor: str, is_arm: bool = False
) -> frozenset[str]:
    """Conclude the CPU's features from what Windows says.

    ``identifier`` is like ``Intel64 Family 6 Model 85 Stepping 7``, ``vendor`` like ``GenuineIntel``;
    ``knows_avx2`` tells whether a "no" of Windows to AVX2 means anything, ``is_arm`` whether Windows emulates it all.
    """
    has_avx2 = has_avx and (has_avx2 or (not knows_avx2 and _family_has_avx2(identifier)))
    features = {"avx"} if has_avx or has_avx2 else set()
    if has_avx2:
        features.add("avx2")
        if is_arm or vendor in MAKERS_WITH_FMA:
            features |= set(FEATURES["avx2"])
    return frozenset(features)


INTEL_FAMILY_6_WITH_AVX_ONLY = {42, 45, 58, 62}
"""Sandy Bridge, Sandy Bridge-E, Ivy Bridge, Ivy Bridge-E (62 is newer in number than Haswell's 60)."""
HASWELL = 60


def _family_has_avx2(identifier: str) -> bool:
    """Tell AVX2 from family and model of a processor that has AVX (so Atom, Pentium and Celeron are out already)."""
    match = re.search(r"Family (\d+) Model (\d+)", identifier)
    if not match:
        return False
    family, model = int(match.group(1)), int(match.group(2))
    if identifier.startswith("AMD64"):
        return family >= 23 or (family == 21 and model >= 0x60)
    return family == 6 and model >= HASWELL and model not in INTEL_FAMILY_6_WITH_AVX_ONLY


def memory() -> Memory:
    """Return this PC's memory at this moment."""
    if sys.platform == "win32":
        from oneclick.pc import windows

        return Memory(*windows.memory_status())
    return _linux_memory()


def _linux_memory() -> Memory:
    found = dict(re.findall(r"^(\w+):\s+(\d+) kB$", Path("/proc/meminfo").read_text(encoding="utf-8"), re.MULTILINE))
    kib = {name: int(value) * 1024 for name, value in found.items()}
    available = kib.get("MemAvailable", kib.get("MemFree", 0))
    swap, swap_free = kib.get("SwapTotal", 0), kib.get("SwapFree", 0)
    return Memory(kib.get("MemTotal", 0), available, kib.get("MemTotal", 0) + swap, available + swap_free)


def full_name(path: str) -> str:
    """Return ``path`` with the long names of its folders: Windows hands out %TEMP% as ``C:\\Users\\ZHANGS~1\\...``."""
    if sys.platform == "win32":
        from oneclick.pc import windows

        return windows.long_path(path)
    return path


def disk(folder: Path) -> Disk:
    """Return the drive that ``folder`` is on."""
    free_bytes = shutil.disk_usage(folder).free
    if sys.platform == "win32":
        from oneclick.pc import windows

        file_system, kind = windows.volume_of(str(folder))
        return Disk(free_bytes, file_system, DRIVE_TYPES.get(kind, ""))
    return Disk(free_bytes, "", "")
