"""Our quantiser against upstream's convert.py, one after the other, on the same random checkpoint.

    python bench/quantize.py            ChatGLM3-6B's full shape: 12.5 GB of float16; 10 minutes, 20 GB of disk
    python bench/quantize.py --rounds 1 the same once; 6 minutes
    python bench/quantize.py --quick    the full width, two layers, one round: 1.9 GB; about a minute

Order A B A B. Time is that of the whole command, start of Python included. Memory is the highest anonymous memory of
the process: what it allocated, without the files it maps. Both results are compared byte for byte, which decides the
exit code too. Needs an environment of tests/requirements-convert.txt, which it makes itself (about a minute, kept).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "payload")]

from bench.result import Row, finish  # noqa: E402

GOAL_TIME_RATIO = 1.0
GOAL_MEMORY_RATIO = 0.15
GOAL_MEMORY_MB = 1536
CONVERT = "upstream's convert.py"


@dataclass(frozen=True)
class Run:
    """One measured conversion."""

    seconds: float
    cpu_s: float
    memory_mb: float


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("-t", "--type", default="q4_0", dest="dtype")
    parser.add_argument("--rounds", type=int, default=0, help="default 2, with --quick 1")
    parser.add_argument("--folder", type=Path, default=None, help="where the weights and results are written")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="bench-quantize-") as temporary:
        return compare(Path(temporary), options.quick, options.dtype, options.rounds or (1 if options.quick else 2))


def compare(folder: Path, quick: bool, dtype: str, rounds: int) -> int:
    """Measure both programs in ``folder`` and return 0 when every goal is met."""
    from tests.support.upstream import convert_python, convert_script

    weights = make_weights(folder, quick)
    size_bytes = sum(file.stat().st_size for file in weights.iterdir())
    print(f"weights: {size_bytes / 1e9:.2f} GB of float16, {os.cpu_count()} cores, type {dtype}")
    script = "import sys; from pathlib import Path; from bundle.model.quantize import quantize\n"
    script += "quantize(sys.argv[1], sys.argv[2], Path(sys.argv[3]))"
    ours = [sys.executable, "-c", script, str(weights), dtype, str(folder / "ours.bin")]
    upstream = [str(convert_python()), str(convert_script()), "-i", str(weights), "-t", dtype]
    upstream += ["-o", str(folder / "upstream.bin")]
    measured: dict[str, list[Run]] = {"ours": [], "upstream": []}
    for _ in range(rounds):
        for name, command in (("ours", ours), ("upstream", upstream)):
            (folder / f"{name}.bin").unlink(missing_ok=True)
            measured[name].append(run := measure(command, folder))
            print(f"  {name:<9}{run.seconds:7.1f} s  {run.cpu_s:7.1f} s CPU  {run.memory_mb:8.0f} MB", flush=True)
    same = subprocess.run(["cmp", str(folder / "ours.bin"), str(folder / "upstream.bin")], check=False).returncode == 0
    return report(measured, same, f"{size_bytes / 1e9:.1f} GB to {dtype}")


def make_weights(folder: Path, quick: bool) -> Path:
    """Write the random checkpoint with the code that upstream asks for, and return its folder."""
    from bundle.model import random_model
    from tests.bundle.model.quantize import checkpoints

    full = random_model.SHAPES["full"]
    random_model.SHAPES["quick"] = replace(full, num_layers=2)
    checkpoints.CASES["weights"] = {"shape": "quick" if quick else "full", "shards": 7}
    return checkpoints.write_case("weights", folder)


def measure(command: Sequence[str], folder: Path) -> Run:
    """Run ``command`` from a cold file cache as far as the system lets us, and return what it took."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'payload'}",
        "HF_MODULES_CACHE": str(folder / "modules"),
        "TRANSFORMERS_OFFLINE": "1",
    }
    if "convert.py" in command[1]:
        del environment["PYTHONPATH"]
    os.sync()
    started = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak_kb = 0
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        peak_kb = max(peak_kb, anonymous_kb(process.pid))
        time.sleep(0.05)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} failed with {process.returncode}")
    return Run(time.monotonic() - started, usage.ru_utime + usage.ru_stime, peak_kb / 1024)


def anonymous_kb(pid: int) -> int:
    """Return the anonymous memory of a process now, 0 when it is ending."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("RssAnon:")), 0)


def report(measured: dict[str, list[Run]], same: bool, what: str) -> int:
    """Print the rows and return 0 when every goal is met."""

    def both(figure: str) -> tuple[list[float], list[float]]:
        ours, theirs = ([float(getattr(run, figure)) for run in measured[name]] for name in ("ours", "upstream"))
        return ours, theirs

    rows = [
        Row(f"quantising {what}, time", CONVERT, "s", *both("seconds"), f"<= {GOAL_TIME_RATIO}"),
        Row(f"quantising {what}, processor time", CONVERT, "s", *both("cpu_s")),
        Row(f"quantising {what}, memory", CONVERT, "MB", *both("memory_mb"), f"<= {GOAL_MEMORY_RATIO}"),
        Row("quantising, memory", "", "MB", both("memory_mb")[0], [], f"<= {GOAL_MEMORY_MB}"),
    ]
    print(f"same bytes: {'yes' if same else 'NO'}")
    return finish(rows, {"same_bytes": same}) or (0 if same else 1)


if __name__ == "__main__":
    sys.exit(main())
