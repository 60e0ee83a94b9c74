"""What a build costs a maintainer: cold (empty cache), warm (no archive yet), and unchanged; then the peers'.

    python bench/build.py            also cold, which downloads about 250 MB and compiles the engine; 12 minutes
    python bench/build.py --quick    warm and no-change only, fspack once; a minute and a half

Warm and no-change are compared with fspack (7z) and pynsist (NSIS installer) on the same payload, all their downloads
in their caches (see peers/builders.py). Goals on two cores: cold at most 8 minutes, the builder's own memory at most
500 MB, no-change at most 2 s. Memory is the highest resident size of build.py's own process, without compilers and uv.
Options after -- go to build.py.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "payload")]

from bench.peers import builders  # noqa: E402
from bench.result import Row, finish, not_measured  # noqa: E402
from bench.tools import Missing  # noqa: E402

GOAL_COLD_S, GOAL_UNCHANGED_S, GOAL_MEMORY_MB = 480, 2, 500
ONLY_FULL = "takes minutes; only without --quick"


@dataclass(frozen=True)
class Run:
    """One measured build."""

    seconds: float
    memory_mb: float
    steps: dict[str, float]
    """Name -> seconds."""
    sha256: str
    size_bytes: int


@dataclass
class PeerRuns:
    """What another builder took; ``why`` where it could not be measured."""

    warm: list[float] = field(default_factory=list)
    unchanged: list[float] = field(default_factory=list)
    size_bytes: int = 0
    why: str = ""


def main() -> int:
    """Measure, print a table, and return 0 when every goal is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=0, help="warm and unchanged builds; default 3, with --quick 1")
    parser.add_argument("more", nargs="*", help="options for build.py, after --")
    options = parser.parse_args()
    rounds = options.rounds or (1 if options.quick else 3)
    with tempfile.TemporaryDirectory(prefix="bench-build-") as scratch:
        peers = measure_peers(Path(scratch), rounds, options.quick)
        runs = measure_ours(Path(scratch), rounds, options.quick, options.more)
    return report(runs, peers)


def measure_ours(scratch: Path, rounds: int, quick: bool, more: list[str]) -> dict[str, list[Run]]:
    """Ours: kind of build -> one run a round."""
    output = scratch / "dist"
    arguments = ["--no-smoke", "--output", str(output), *more]
    runs: dict[str, list[Run]] = {"cold": [], "warm": [], "unchanged": []}
    if not quick:
        arguments += ["--cache", str(scratch / "cache")]
        runs["cold"].append(measure(arguments, output))
    for _ in range(rounds):
        for made in output.glob("*.7z*"):
            made.unlink()
        runs["warm"].append(measure(arguments, output))
        runs["unchanged"].append(measure(arguments, output))
    return runs


def measure(arguments: list[str], output: Path) -> Run:
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
        printed, errors = process.communicate()
    seconds = time.monotonic() - start
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{errors}")
    digest = re.search(r"^sha256:\s+(\w+)", printed, re.MULTILINE)
    return Run(
        seconds=seconds,
        memory_mb=memory / 1e6,
        steps=read_steps(errors),
        sha256=digest[1] if digest else "",
        size_bytes=sum(file.stat().st_size for file in output.glob("*.7z*")),
    )


def read_steps(log: str) -> dict[str, float]:
    """Step -> seconds, from what build.py tells: a step's name, and below it, indented, ``done in 12 s``."""
    steps: dict[str, float] = {}
    last: dict[int, str] = {}
    for line in log.splitlines():
        indent = len(line) - len(line.lstrip())
        done = re.fullmatch(r"done in (?:(\d+) min )?([\d.]+) s", line.strip())
        if done and indent - 2 in last:
            name = last[indent - 2]
            steps[name] = steps.get(name, 0.0) + 60 * int(done[1] or 0) + float(done[2])
        else:
            last[indent] = line.strip()
    return steps


def measure_peers(scratch: Path, rounds: int, quick: bool) -> dict[str, PeerRuns]:
    """The other builders, name -> what they took. The first build, which fills their caches, counts only if quick."""
    peers = {"fspack": PeerRuns(), "pynsist": PeerRuns()}
    makers: dict[str, Callable[..., builders.Peer]] = {"fspack": builders.fspack, "pynsist": builders.pynsist}
    parts = builders.payload_parts(scratch)
    for name, runs in peers.items():
        if quick and name == "pynsist":
            runs.why = ONLY_FULL
            continue
        try:
            peer = makers[name](scratch, *parts)
            if not quick:
                peer.build(clean=True)
            for _ in range(rounds):
                for clean, seconds in ((True, runs.warm), (False, runs.unchanged))[: 1 if quick else 2]:
                    start = time.monotonic()
                    runs.size_bytes = peer.build(clean=clean).stat().st_size
                    seconds.append(time.monotonic() - start)
        except Missing as error:
            runs.why = str(error)
    return peers


def report(runs: dict[str, list[Run]], peers: dict[str, PeerRuns]) -> int:
    """Print what was measured; return 1 when a goal is missed or the bytes differ."""
    seconds = {name: [run.seconds for run in some] for name, some in runs.items()}
    every = [run for some in runs.values() for run in some]
    rows = [
        Row("cold build", "", "s", seconds["cold"], [], f"<= {GOAL_COLD_S}", "downloads 250 MB, compiles the engine")
        if seconds["cold"]
        else not_measured("cold build", "", ONLY_FULL)
    ]
    for name, peer in peers.items():
        if peer.why:
            rows.append(not_measured("warm build", name, peer.why))
            continue
        rows.append(Row("warm build", name, "s", seconds["warm"], peer.warm))
        if peer.unchanged:
            rows.append(Row("build, nothing changed", name, "s", seconds["unchanged"], peer.unchanged))
        else:
            rows.append(not_measured("build, nothing changed", name, ONLY_FULL))
        made = [every[-1].size_bytes / 1e6], [peer.size_bytes / 1e6]
        rows.append(Row("what it made", name, "MB", *made, note="ours holds two engines, licences and help"))
    rows.append(Row("build, nothing changed", "", "s", seconds["unchanged"], [], f"<= {GOAL_UNCHANGED_S}"))
    rows.append(Row("memory of the builder", "", "MB", [run.memory_mb for run in every], [], f"<= {GOAL_MEMORY_MB}"))
    same = len({run.sha256 for run in every}) == 1
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}; identical bytes: {'yes' if same else 'NO'}")
    steps = {name: some[-1].steps for name, some in runs.items() if some}
    for name, some in steps.items():
        print(f"{name}: " + ", ".join(f"{step} {seconds:.1f} s" for step, seconds in some.items()))
    return finish(rows, {"steps": steps, "same_bytes": same}) or (0 if same else 1)


if __name__ == "__main__":
    sys.exit(main())
