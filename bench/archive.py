"""Our archive against 7-Zip's on the same tree: size and time, one after the other.

    python bench/archive.py                  the tree of dist/ChatGLM3_cpp.7z
    python bench/archive.py FOLDER           another tree
    python bench/archive.py --rounds 5       more rounds; the best of each counts

Ours compresses, reads everything back, compares it with the tree and hashes the archive; ``7zz a`` only compresses.
``-mx=9 -mf=BCJ`` is 7-Zip's best that every tool can extract. ``-tzip``-less ``-t7z -mx=9 -mmt=on`` is what fspack, the
nearest peer, runs. Goals: size ratio <= 1.00, time ratio <= 1.0 on two cores. CPU seconds are shown because a busy
machine distorts the others. Needs 7zz (Debian: 7zip).
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "payload")]

GOAL_SIZE_RATIO, GOAL_TIME_RATIO = 1.0, 1.0
OURS = "import sys; from pathlib import Path; from bundle.archive import write_archive\n"
OURS += "write_archive(Path(sys.argv[1]), Path(sys.argv[2]))"


@dataclass(frozen=True)
class Run:
    """One measured archive."""

    seconds: float
    cpu_s: float
    memory_mb: float
    size_bytes: int


def main() -> int:
    """Measure, print a table, return 0 when the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tree", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    seven_zip = shutil.which("7zz") or shutil.which("7z")
    if seven_zip is None:
        print("7zz is needed: apt install 7zip", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as scratch:
        tree = options.tree or unpack(ROOT / "dist" / "ChatGLM3_cpp.7z", Path(scratch))
        target = Path(scratch) / "archive.7z"
        commands = {
            "ours": [sys.executable, "-c", OURS, str(tree), str(target)],
            "7zz -mx=9 -mf=BCJ": [seven_zip, "a", "-bd", "-mx=9", "-mf=BCJ", str(target), str(tree)],
            "fspack's 7zz -mx=9": [seven_zip, "a", "-bd", "-t7z", "-mx=9", "-mmt=on", str(target), str(tree)],
        }
        runs: dict[str, list[Run]] = {name: [] for name in commands}
        for _ in range(options.rounds):
            for name, command in commands.items():
                runs[name].append(measure(command, target))
    return report({name: best(measured) for name, measured in runs.items()})


def unpack(archive: Path, folder: Path) -> Path:
    """Extract the built archive; returns the bundle's folder."""
    import py7zr

    with archive.open("rb") as file, py7zr.SevenZipFile(file) as source:
        source.extractall(folder)
    return folder / "ChatGLM3_cpp"


def measure(command: list[str], target: Path) -> Run:
    """Run ``command`` once; the archive it makes is removed."""
    target.unlink(missing_ok=True)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed: {done.stderr or done.stdout}")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    size_bytes = target.stat().st_size
    target.unlink()
    return Run(seconds=seconds, cpu_s=cpu_s, memory_mb=after.ru_maxrss / 1024, size_bytes=size_bytes)


def best(runs: list[Run]) -> Run:
    return min(runs, key=lambda run: run.seconds)


def report(runs: dict[str, Run]) -> int:
    """Print the table; ru_maxrss of children only grows, so memory is the highest of all rounds so far."""
    ours, peer = runs["ours"], runs["7zz -mx=9 -mf=BCJ"]
    print(f"{'':24}{'bytes':>12}{'size':>8}{'seconds':>9}{'time':>7}{'CPU s':>8}")
    for name, run in runs.items():
        size, speed = run.size_bytes / peer.size_bytes, run.seconds / peer.seconds
        print(f"{name:24}{run.size_bytes:>12}{size:>8.4f}{run.seconds:>9.1f}{speed:>7.2f}{run.cpu_s:>8.1f}")
    met = ours.size_bytes <= GOAL_SIZE_RATIO * peer.size_bytes and ours.seconds <= GOAL_TIME_RATIO * peer.seconds
    print("goals met" if met else f"GOALS MISSED: size <= {GOAL_SIZE_RATIO}, time <= {GOAL_TIME_RATIO}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
