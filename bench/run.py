"""One entry to all benchmarks: ``python bench/run.py [NAMES] [--quick] [--rounds N] [--report]``.

Each benchmark is a program of its own in this folder; it runs ours and the real alternative in turn in one run and
prints its table. Here they run one after the other, never at once; the machine, the commit and the
exact commands stand above, and everything is also written to ``build/bench/<time>.md`` and ``.json``, after each
benchmark, so that a run may be broken off. ``--report`` then writes docs/PERFORMANCE.md and its charts from the newest
figures of each benchmark. Nothing here is a test. ``--quick`` takes under ten minutes on two cores once the builder's
cache is full; the first run also makes environments and compiles engines.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from bench.result import MARK  # noqa: E402

OUTPUT = ROOT / "build" / "bench"
MODULES = {"run", "report", "charts", "result", "tools"}
"""Files in this folder that are no benchmarks."""
FAILED = 2
QUIET_PERCENT = 10
VERDICTS = {0: "goals met", 1: "a goal is missed"}
"""Exit code of a benchmark -> what it means."""


def benchmark_python() -> str:
    """Return the Python of the tests' environment, which has what the benchmarks import; made on the first run."""
    spec = importlib.util.spec_from_file_location("tests_run", ROOT / "tests" / "run.py")
    assert spec is not None
    assert spec.loader is not None
    tests_run = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tests_run)
    return str(tests_run.prepare_environment())


def benchmarks() -> list[str]:
    """Names of all benchmarks."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in MODULES)


def main() -> int:
    """Run the chosen benchmarks; return 1 when one of them failed or missed its goals."""
    names = benchmarks()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; all without it")
    parser.add_argument("--quick", action="store_true", help="small sizes: ten minutes, not an hour and a half")
    parser.add_argument("--rounds", type=int, default=0, help="of each benchmark; 1 makes the full sizes faster")
    parser.add_argument("--report", action="store_true", help="also write docs/PERFORMANCE.md (installs matplotlib)")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(names))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(names)}")
    facts = machine()
    print("\n".join(f"{key}: {value}" for key, value in facts.items()))
    python = benchmark_python()
    arguments = [
        *(["--quick"] if options.quick else []),
        *(["--rounds", str(options.rounds)] if options.rounds else []),
    ]
    results: list[dict[str, Any]] = []
    stem = OUTPUT / datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d-%H%M%S")
    for name in options.names or names:
        results.append(run(python, name, arguments))
        write(stem, facts, results)
    print(f"\nwritten: {stem.with_suffix('.md')}")
    for result in results:
        print(f"{result['name']:<12}{result['seconds']:>8.0f} s  {VERDICTS.get(result['exit_code'], 'FAILED')}")
    if options.report:
        return subprocess.run([sys.executable, str(ROOT / "bench" / "report.py")], cwd=ROOT, check=False).returncode
    return 0 if all(result["exit_code"] == 0 for result in results) else 1


def machine() -> dict[str, str]:
    """Return what figures depend on: CPU, memory, system, Python, commit."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit.stdout.strip() or "unknown",
        "cpu": f"{_cpu_name()} ({os.cpu_count()} cores)",
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def busy_percent() -> float | None:
    """How busy the cores are with other things: over one second, before a benchmark begins. None where unknown."""

    def times() -> tuple[int, int]:
        fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
        return int(fields[3]) + int(fields[4]), sum(map(int, fields[:8]))

    if not Path("/proc/stat").is_file():
        return None
    idle, total = times()
    time.sleep(1)
    idle_later, total_later = times()
    return round(100 * (1 - (idle_later - idle) / max(total_later - total, 1)), 0)


def run(python: str, name: str, arguments: list[str]) -> dict[str, Any]:
    """Run one benchmark, show its output as it comes, and return it."""
    command = [python, f"bench/{name}.py", *arguments]
    shown = " ".join(["python", *command[1:]])
    busy = busy_percent()
    warning = " (others spoil the figures)" if busy and busy > QUIET_PERCENT else ""
    print(f"\n## {name}\n\n$ {shown}\n", flush=True)
    if busy is not None:
        print(f"the cores are {busy:.0f} % busy{warning}", flush=True)
    start, lines, figures = time.monotonic(), [], None
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(MARK):
                figures = json.loads(line[len(MARK) :])
                continue
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        print(f"(exit code {process.returncode}: failed, or a goal was missed)")
    # A benchmark without figures failed, whatever it returned.
    exit_code = process.returncode if figures or process.returncode > 1 else FAILED
    return {
        "name": name,
        "command": shown,
        "quick": "--quick" in arguments,
        "busy_percent": busy,
        "seconds": round(time.monotonic() - start, 1),
        "exit_code": exit_code,
        "output": "".join(lines),
        "figures": figures,
    }


def write(stem: Path, facts: dict[str, str], results: list[dict[str, Any]]) -> None:
    """Keep the run as Markdown for people and as JSON for programs."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    text = "\n".join(f"* {key}: {value}" for key, value in facts.items()) + "\n"
    for result in results:
        text += f"\n## {result['name']}\n\n    {result['command']}\n\n```\n{result['output']}```\n"
    stem.with_suffix(".md").write_text(text, encoding="utf-8")
    stem.with_suffix(".json").write_text(
        json.dumps({"machine": facts, "benchmarks": results}, indent=1), encoding="utf-8"
    )


if __name__ == "__main__":
    sys.exit(main())
