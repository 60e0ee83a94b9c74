"""How many threads the engine computes with."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Callable, Sequence

from oneclick.pc.machine import Cpu
from oneclick.remembered import Remembered
from oneclick.settings import THREADS_AUTO

logger = logging.getLogger(__name__)

POLL_S = 0.1
TRIAL_LIMIT_S = 180.0
CLEARLY_FASTER = 0.97
"""More threads must be at least this much faster than fewer: the PC stays usable for other programs."""


def default_threads(cpu: Cpu) -> int:
    """One per core: a second thread on a core waits for the same memory."""
    return max(1, cpu.physical_cores)


def threads_to_try(cpu: Cpu) -> tuple[int, ...]:
    """Return two or three numbers worth measuring, fewest first.

    Half the cores: on processors with slow cores the fast ones alone may win. All logical ones: some like it.
    """
    physical = default_threads(cpu)
    return tuple(sorted({max(1, (physical + 1) // 2), physical, max(physical, cpu.logical_cores)}))


def fixed_threads(wanted: int | str, cpu: Cpu) -> int | None:
    """Return the number that the settings ask for, None where it has to be measured."""
    if isinstance(wanted, int):
        return wanted
    return None if wanted == THREADS_AUTO else default_threads(cpu)


def best_threads(seconds: dict[int, float]) -> int:
    """Return the number of threads with the shortest time; a nearly equal smaller number wins."""
    best = min(seconds)
    for threads in sorted(seconds):
        if seconds[threads] < seconds[best] * CLEARLY_FASTER:
            best = threads
    return best


def choose_threads(
    setting: str | int,
    cpu: Cpu,
    engine: tuple[Path, Path, Sequence[Path]],
    subject: str,
    remembered: Remembered,
    before_measuring: Callable[[], None],
    stopped: Callable[[], bool],
) -> int:
    """Return the number of threads: as set, one per core, or measured once and remembered under ``subject``.

    ``engine``: model file, folder of the engine, folders of its DLLs.
    """
    threads = fixed_threads(setting, cpu)
    if threads is not None:
        return threads
    known = remembered.get("threads", subject)
    if isinstance(known, int):
        return known
    before_measuring()
    seconds = measure(*engine, threads_to_try(cpu), stopped)
    if not seconds:
        return default_threads(cpu)
    logger.info("seconds per token by threads: %s", seconds)
    remembered.put("threads", subject, best_threads(seconds))
    return best_threads(seconds)


def measure(
    model: Path,
    engine_folder: Path,
    dll_folders: Sequence[Path],
    candidates: Sequence[int],
    stopped: Callable[[], bool],
) -> dict[int, float]:
    """Return threads -> seconds per token, empty where it could not be measured or ``stopped`` told so."""
    request = {
        "model": str(model),
        "engine": str(engine_folder),
        "dll_folders": [str(folder) for folder in dll_folders],
        "threads": list(candidates),
    }
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).absolute().parents[2])}
    try:
        answer = _ask(
            [sys.executable, "-X", "utf8", "-B", "-m", "oneclick.engine.trial"], request, environment, stopped
        )
        return {int(threads): float(seconds) for threads, seconds in json.loads(answer or "{}").items()}
    except (OSError, ValueError) as error:
        logger.warning("threads not measured: %s", error)
        return {}


def _ask(command: Sequence[str], request: object, environment: dict[str, str], stopped: Callable[[], bool]) -> str:
    """Run ``command`` with ``request`` as its input; return its output, empty when it was ended early."""
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    ) as process:
        data: bytes | None = json.dumps(request).encode()
        for _ in range(int(TRIAL_LIMIT_S / POLL_S)):
            try:
                return process.communicate(data, timeout=POLL_S)[0].decode()
            except subprocess.TimeoutExpired:
                data = None
                if stopped():
                    break
        process.kill()
        return ""
