"""Our archive against 7-Zip's and fspack's on the same tree, one after the other; then who extracts it how fast.

    python bench/archive.py                  the tree of dist/ChatGLM3_cpp.7z, which is built first
    python bench/archive.py FOLDER           another tree
    python bench/archive.py --quick          one round
    python bench/archive.py --rounds 5       more rounds

Ours compresses, reads everything back, compares it with the tree and hashes the archive; ``7zz a`` only compresses.
``-mx=9 -mf=BCJ`` is 7-Zip's best that every tool can extract. ``-t7z -mx=9 -mmt=on`` is what fspack, the nearest peer,
runs. Goals: size ratio <= 1.00, time ratio <= 1.0 on two cores. CPU seconds are shown because a busy machine distorts
the others. Extraction is of our archive and of 7-Zip's, by 7zz, libarchive (Windows Explorer's) and py7zr.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "payload")]

from bench.result import Row, finish, not_measured  # noqa: E402
from bench.tools import Missing, finished_archive, program, timed  # noqa: E402
from tests.support.wine import extract  # noqa: E402

OURS = "import sys; from pathlib import Path; from bundle.archive.write import write_archive\n"
OURS += "write_archive(Path(sys.argv[1]), Path(sys.argv[2]))"
PY7ZR = "import sys, py7zr\nwith open(sys.argv[1], 'rb') as file, py7zr.SevenZipFile(file) as archive:\n"
PY7ZR += "    archive.extractall(sys.argv[2])"
PLAIN, FSPACK = "7zz -mx=9 -mf=BCJ", "7zz as fspack runs it"


@dataclass(frozen=True)
class Run:
    """One measured command."""

    seconds: float
    cpu_s: float
    size_bytes: int = 0


def main() -> int:
    """Measure, print a table, return 0 when the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tree", nargs="?", type=Path)
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--rounds", type=int, default=0, help="default 3, with --quick 1")
    options = parser.parse_args()
    rounds = options.rounds or (1 if options.quick else 3)
    try:
        seven_zip = program("7zz", "7zip", "7z")
    except Missing as error:
        return finish([not_measured("archive", PLAIN, str(error))])
    with tempfile.TemporaryDirectory(prefix="bench-archive-") as scratch:
        place = Path(scratch)
        tree = options.tree or extract(finished_archive(), place / "tree")
        ours, plain, fspack = (place / f"{name}.7z" for name in ("ours", "plain", "fspack"))
        commands = {
            "ours": (ours, [sys.executable, "-c", OURS, str(tree), str(ours)]),
            PLAIN: (plain, [seven_zip, "a", "-bd", "-mx=9", "-mf=BCJ", str(plain), str(tree)]),
            FSPACK: (fspack, [seven_zip, "a", "-bd", "-t7z", "-mx=9", "-mmt=on", str(fspack), str(tree)]),
        }
        runs: dict[str, list[Run]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, (target, command) in commands.items():
                target.unlink(missing_ok=True)
                run = measure(command)
                runs[name].append(Run(run.seconds, run.cpu_s, target.stat().st_size))
        rows = [*packing_rows(runs), *extraction_rows(place / "out", ours, plain, seven_zip, rounds)]
    return finish(rows)


def measure(command: list[str]) -> Run:
    """Run ``command`` once. Raises Missing with its last words when it fails."""
    run = timed(command)
    if run.done.returncode:
        last = (run.done.stderr.strip() or run.done.stdout.strip() or "no message").splitlines()[-1]
        raise Missing(f"it fails: {last[:160]}")
    return Run(run.seconds, run.cpu_s)


def packing_rows(runs: dict[str, list[Run]]) -> list[Row]:
    """Size, time and processor time of ours against each way of 7-Zip."""
    ours, rows = runs["ours"], []
    for name, goal in ((PLAIN, "<= 1.00"), (FSPACK, "")):
        theirs = runs[name]
        note = "" if goal else "its ARM64 and BCJ2 filters fail in py7zr and libarchive"
        sizes = [run.size_bytes / 1e6 for run in ours], [run.size_bytes / 1e6 for run in theirs]
        seconds = [run.seconds for run in ours], [run.seconds for run in theirs]
        rows.append(Row("archive, size", name, "MB", *sizes, goal, note))
        rows.append(Row("archive, time", name, "s", *seconds, goal))
        rows.append(
            Row("archive, processor time", name, "s", [run.cpu_s for run in ours], [run.cpu_s for run in theirs])
        )
    return rows


def extraction_rows(out: Path, ours: Path, plain: Path, seven_zip: str, rounds: int) -> list[Row]:
    """Seconds to extract our archive beside those for 7-Zip's, by program."""
    rows = []
    for name in ("7zz", "libarchive (bsdtar)", "py7zr"):
        what = f"extraction by {name}"
        times: dict[Path, list[float]] = {ours: [], plain: []}
        try:
            bsdtar = program("bsdtar", "libarchive-tools") if name.startswith("lib") else ""
            for _ in range(rounds):
                for archive, seconds in times.items():
                    out.mkdir()
                    command = {
                        "7zz": [seven_zip, "x", "-bd", f"-o{out}", str(archive)],
                        "py7zr": [sys.executable, "-c", PY7ZR, str(archive), str(out)],
                    }.get(name, [bsdtar, "-xf", str(archive), "-C", str(out)])
                    seconds.append(measure(command).seconds)
                    shutil.rmtree(out)
        except Missing as error:
            rows.append(not_measured(what, PLAIN, str(error)))
            continue
        rows.append(Row(what, f"archive of {PLAIN}", "s", times[ours], times[plain]))
    return rows


if __name__ == "__main__":
    sys.exit(main())
