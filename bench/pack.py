"""A full-size model packed into the archive, against ``7zz -mx=0`` on the same tree.

    python bench/pack.py                     3.51 GB of random bytes as the model; needs 12 GB of disk
    python bench/pack.py --quick             512 MB of them, one round
    python bench/pack.py --size 1g           another size
    python bench/pack.py --model FILE        a real one

One pass copies the model into the archive; then, unlike 7-Zip, ours reads the whole archive back, hashes it for
SHA256SUMS and compares the model in it with its pinned digest, as a build does. Measured as one file and as volumes of
2 GB. Goals: time ratio <= 2.0, memory <= 200 MB each.
Both write to the page cache; ``sync`` runs between the rounds so that no one pays for the other's writing.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "payload")]

from bench.result import Row, finish, not_measured  # noqa: E402
from bench.tools import Missing, program, timed  # noqa: E402
from oneclick.update.integrity import file_sha256  # noqa: E402

MODEL_BYTES = 3_514_297_136
QUICK_BYTES = 512 << 20
GOAL_TIME_RATIO, GOAL_MEMORY_MB = 2.0, 200
NAME = "chatglm3-ggml.bin"
OURS = """import resource, sys
from pathlib import Path
from bundle.archive.write import write_archive
volume = int(sys.argv[3]) or None
pinned = {"chatglm3-ggml.bin": sys.argv[4]}
write_archive(Path(sys.argv[1]), Path(sys.argv[2]), stored=list(pinned), digests=pinned, volume_size=volume)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@dataclass(frozen=True)
class Run:
    """One measured archive."""

    seconds: float
    cpu_s: float
    memory_mb: float | None = None


def main() -> int:
    """Measure, print a table, return 0 when the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="512 MB, one round")
    parser.add_argument("--size", help="bytes, or 1g")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--rounds", type=int, default=0, help="default 2, with --quick 1")
    parser.add_argument("--folder", type=Path, help="where to work; the system's temporary folder without it")
    options = parser.parse_args()
    size_bytes = parse_size(options.size) if options.size else QUICK_BYTES if options.quick else MODEL_BYTES
    try:
        seven_zip = program("7zz", "7zip", "7z")
    except Missing as error:
        return finish([not_measured("packing a model", "7zz -mx=0", str(error))])
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        tree = Path(scratch) / "ChatGLM3_cpp"
        tree.mkdir()
        if options.model:
            os.link(options.model, tree / NAME)
        else:
            write_noise(tree / NAME, size_bytes)
        (tree / "bundle.json").write_bytes(b"{}\n")
        target = Path(scratch) / "out" / "pack.7z"
        volume = str(2 << 30)
        sha256 = file_sha256(tree / NAME)
        commands = {
            "ours": [sys.executable, "-c", OURS, str(tree), str(target), "0", sha256],
            "7zz -mx=0": [seven_zip, "a", "-bd", "-mx=0", str(target), str(tree)],
            "ours, volumes": [sys.executable, "-c", OURS, str(tree), str(target), volume, sha256],
            "7zz -mx=0, volumes": [seven_zip, "a", "-bd", "-mx=0", f"-v{volume}b", str(target), str(tree)],
        }
        runs: dict[str, list[Run]] = {name: [] for name in commands}
        for _ in range(options.rounds or (1 if options.quick else 2)):
            for name, command in commands.items():
                runs[name].append(measure(command, target))
        packed_bytes = (tree / NAME).stat().st_size
    return report(runs, packed_bytes)


def parse_size(text: str) -> int:
    """``1g`` -> bytes."""
    found = re.fullmatch(r"(\d+)([kmg]?)", text.lower())
    if found is None:
        raise SystemExit(f"--size {text}: give bytes, or a number with k, m or g")
    return int(found[1]) << {"": 0, "k": 10, "m": 20, "g": 30}[found[2]]


def write_noise(path: Path, size_bytes: int) -> None:
    """Fill ``path`` with bytes that do not compress; one block is repeated with a counter, which is fast."""
    block = random.Random(1).randbytes(1 << 20)
    with path.open("wb") as file:
        for number in range(size_bytes >> 20):
            file.write(number.to_bytes(8, "little") + block[8:])
        file.write(block[: size_bytes & ((1 << 20) - 1)])


def measure(command: list[str], target: Path) -> Run:
    """Run ``command`` once into an empty folder and remove what it made."""
    shutil.rmtree(target.parent, ignore_errors=True)
    target.parent.mkdir()
    os.sync()
    run = timed(command)
    if run.done.returncode:
        raise SystemExit(f"{command[0]} failed: {run.done.stderr or run.done.stdout}")
    shutil.rmtree(target.parent)
    memory = float(run.done.stdout) if command[0] == sys.executable else None
    return Run(seconds=run.seconds, cpu_s=run.cpu_s, memory_mb=memory)


def report(runs: dict[str, list[Run]], size_bytes: int) -> int:
    """Print the table and judge it."""
    rows = []
    goal = f"<= {GOAL_TIME_RATIO}" if size_bytes > QUICK_BYTES else ""  # Starting Python is half of a small one.
    for kind in ("", ", volumes"):
        ours, theirs = runs[f"ours{kind}"], runs[f"7zz -mx=0{kind}"]
        what = f"packing a model of {size_bytes / 1e9:.2f} GB{kind}"
        seconds = [run.seconds for run in ours], [run.seconds for run in theirs]
        cpu = [run.cpu_s for run in ours], [run.cpu_s for run in theirs]
        memory = [run.memory_mb for run in ours if run.memory_mb is not None]
        rows.append(Row(what, "7zz -mx=0", "s", *seconds, goal))
        rows.append(Row(f"{what}, processor time", "7zz -mx=0", "s", *cpu))
        rows.append(Row(f"{what}, memory", "", "MB", memory, [], f"<= {GOAL_MEMORY_MB}"))
    return finish(rows)


if __name__ == "__main__":
    sys.exit(main())
