"""Whether this PC can run the bundle at all: Windows version and processor."""

from __future__ import annotations

from oneclick.bundle_info import Engine, EngineLevel
from oneclick.errors import OneClickError
from oneclick.pc.findings import ERROR, OK, WARNING, Finding
from oneclick.pc.machine import Cpu, WindowsVersion

OLDEST_MAJOR = 10


def check_windows(version: WindowsVersion | None) -> Finding:
    """Windows 10 and 11 are what the bundle is made for."""
    if version is None:
        return Finding(WARNING, "machine.not_windows")
    values = {"name": version.name, "build": version.build}
    if version.major < OLDEST_MAJOR:
        return Finding(WARNING, "machine.windows_old", values)
    return Finding(OK, "machine.windows_ok", values)


def check_cpu(cpu: Cpu, engine: Engine) -> Finding:
    """Compare what the processor can do with what each level of the engine needs."""
    levels = engine.usable_levels(cpu.features)
    values = {
        "name": cpu.name,
        "cores": cpu.physical_cores,
        "features": "、".join(sorted(cpu.features)) or "-",
        "missing": "、".join(name.upper() for name in missing_features(cpu, engine)),
    }
    if not levels:
        key = "machine.arm_without_avx" if cpu.is_arm else "machine.cpu_too_old"
        return Finding(ERROR if cpu.certain else WARNING, key, values)
    if cpu.is_arm:
        return Finding(WARNING, "machine.arm_emulated", {**values, "level": levels[0].name})
    if levels[0] != engine.levels[0]:
        return Finding(WARNING, "machine.cpu_lower_level", {**values, "level": levels[0].name})
    return Finding(OK, "machine.cpu_ok", values)


def missing_features(cpu: Cpu, engine: Engine) -> list[str]:
    """Return what the processor lacks for the least demanding level."""
    return [name for name in engine.levels[-1].requires if name not in cpu.features]


def levels_to_try(cpu: Cpu, engine: Engine) -> tuple[EngineLevel, ...]:
    """Return the engine's levels in the order to try them, best first.

    Where Windows cannot tell for certain what the processor lacks, the least demanding level is tried all the same:
    the worker's exit code tells the truth. Raises OneClickError when no level can run.
    """
    levels = engine.usable_levels(cpu.features)
    if levels:
        return levels
    if cpu.certain:
        finding = check_cpu(cpu, engine)
        raise OneClickError(finding.key, **finding.values)
    return engine.levels[-1:]
