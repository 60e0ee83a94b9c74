"""What a build costs a maintainer: cold (empty cache), warm (archive removed), and with nothing changed.

    python bench/build.py            all three; a cold build downloads about 250 MB and compiles the engine
    python bench/build.py --quick    warm and no-change only, with the maintainer's own cache

Goals on two cores: cold at most 8 minutes, the builder's own memory at most 500 MB, no-change at most 5 s. Memory is
the highest resident size of build.py's own process; compilers and uv are not in it. Options after -- go to build.py.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
GOAL_COLD_S, GOAL_UNCHANGED_S, GOAL_MEMORY_MB = 480.0, 5.0, 500.0


@dataclass(frozen=True)
class Run:
    """One measured build."""

    seconds: float
    memory_mb: float
    steps: str
    sha256: str


def main() -> int:
    """Measure, print a table, and return 0 when every goal is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("more", nargs="*", help="options for build.py, after --")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "dist"
        more = ["--no-smoke", "--output", str(output), *options.more]
        runs: dict[str, Run] = {}
        if not options.quick:
            more += ["--cache", str(Path(scratch) / "cache")]
            runs["cold"] = measure(more)
        else:
            measure(more)
        for archive in output.glob("*.7z*"):
            archive.unlink()
        runs["warm"] = measure(more)
        runs["unchanged"] = measure(more)
    return report(runs)


def measure(arguments: list[str]) -> Run:
    """Run build.py once and return its cost."""
    start = time.monotonic()
    command = [sys.executable, str(ROOT / "build.py"), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        watched, memory = psutil.Process(process.pid), 0
        while process.poll() is None:
            try:
                memory = max(memory, watched.memory_info().rss)
            except psutil.NoSuchProcess:
                break
            time.sleep(0.05)
        output, errors = process.communicate()
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{errors}")
    steps = re.search(r"total time: [^(]*\((.*)\)", errors)
    digest = re.search(r"^sha256:\s+(\w+)", output, re.MULTILINE)
    return Run(
        seconds=time.monotonic() - start,
        memory_mb=memory / 1e6,
        steps=steps[1] if steps else "",
        sha256=digest[1] if digest else "",
    )


def report(runs: dict[str, Run]) -> int:
    """Print what was measured; return 1 when a goal is missed or the bytes differ."""
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}")
    print(f"{'build':<12}{'seconds':>9}{'memory MB':>11}  longest steps")
    for name, run in runs.items():
        print(f"{name:<12}{run.seconds:>9.1f}{run.memory_mb:>11.0f}  {run.steps}")
    same = len({run.sha256 for run in runs.values()}) == 1
    print(f"identical bytes: {'yes' if same else 'NO'}")
    goals = [
        ("cold", "seconds", GOAL_COLD_S),
        ("unchanged", "seconds", GOAL_UNCHANGED_S),
        *((name, "memory_mb", GOAL_MEMORY_MB) for name in runs),
    ]
    missed = [f"{name} {what}" for name, what, goal in goals if name in runs and getattr(runs[name], what) > goal]
    print(f"goals missed: {', '.join(missed) or 'none'}")
    return 0 if same and not missed else 1


if __name__ == "__main__":
    sys.exit(main())
