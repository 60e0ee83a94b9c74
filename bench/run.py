"""One entry to all benchmarks: ``python bench/run.py [NAMES] [--quick]``.

Each benchmark is a program of its own in this folder; it runs ours and the real alternative in turn in one run and
prints its table. Here they run one after the other, never at once; the machine, the commit and the
exact commands stand above, and everything is also written to ``build/bench/<time>.md`` and ``.json``. Nothing here is
a test.
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

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "build" / "bench"
NOT_BENCHMARKS = {"run", "__init__"}


def benchmark_python() -> str:
    """Return the Python of the tests' environment, which has what the benchmarks import; made on the first run."""
    spec = importlib.util.spec_from_file_location("tests_run", ROOT / "tests" / "run.py")
    assert spec is not None
    assert spec.loader is not None
    tests_run = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tests_run)
    return str(tests_run.prepare_environment())


def main() -> int:
    """Run the chosen benchmarks; return 1 when one of them failed or missed its goals."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in NOT_BENCHMARKS)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; all without it")
    parser.add_argument("--quick", action="store_true", help="small sizes: minutes instead of an hour")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(names))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(names)}")
    facts = machine()
    print("\n".join(f"{key}: {value}" for key, value in facts.items()))
    python = benchmark_python()
    results = [run(python, name, options.quick) for name in options.names or names]
    write(facts, results)
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


def run(python: str, name: str, quick: bool) -> dict[str, object]:
    """Run one benchmark, show its output as it comes, and return it."""
    command = [python, str(Path("bench") / f"{name}.py"), *(["--quick"] if quick else [])]
    print(f"\n## {name}\n\n$ python {' '.join(command[1:])}\n", flush=True)
    start, lines = time.monotonic(), []
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        print(f"(exit code {process.returncode}: failed, or a goal was missed)")
    return {
        "name": name,
        "command": " ".join(["python", *command[1:]]),
        "seconds": round(time.monotonic() - start, 1),
        "exit_code": process.returncode,
        "output": "".join(lines),
    }


def write(facts: dict[str, str], results: list[dict[str, object]]) -> None:
    """Keep the run as Markdown for people and as JSON for programs."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    stem = OUTPUT / datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d-%H%M%S")
    text = "\n".join(f"* {key}: {value}" for key, value in facts.items()) + "\n"
    for result in results:
        text += f"\n## {result['name']}\n\n    {result['command']}\n\n```\n{result['output']}```\n"
    stem.with_suffix(".md").write_text(text, encoding="utf-8")
    stem.with_suffix(".json").write_text(
        json.dumps({"machine": facts, "benchmarks": results}, indent=1), encoding="utf-8"
    )
    print(f"\nwritten: {stem.with_suffix('.md')}")


if __name__ == "__main__":
    sys.exit(main())
