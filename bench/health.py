"""Does the server answer while the engine sits in one native call that nothing can interrupt?

``python bench/health.py [--quick] [--layers 4] [--rounds 1]``: our server on the engine as released, which evaluates a
prompt of 2000 tokens in one call and holds its interpreter's lock meanwhile; a model of ChatGLM3-6B's width, so that
the call lasts 20 s and more on two cores (--quick: a small model). From the moment the prompt has begun to its end,
/health, /v1/models and the page are asked in turn. Goal: every /health within 200 ms; exit code 1 where it is missed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "payload")]

import requests  # noqa: E402

from bench.result import Row, finish  # noqa: E402
from bundle.model.random_model import SHAPES, write_random_model  # noqa: E402
from tests.support.native_engine import native_engine  # noqa: E402
from tests.support.server_processes import our_server  # noqa: E402

PROMPT = "天" * 2000
GOAL_MS = 200
PATHS = ("/health", "/v1/models", "/")
PAUSE_S = 0.02


def ask_until_done(url: str) -> tuple[dict[str, list[float]], float]:
    """Send the prompt; return milliseconds of each answer meanwhile, by path, and seconds the call took."""
    taken: dict[str, list[float]] = {path: [] for path in PATHS}
    body = {"messages": [{"role": "user", "content": PROMPT}], "max_tokens": 1, "stream": True}
    headers = {"X-OneClick-Progress": "1"}
    with requests.post(f"{url}/v1/chat/completions", json=body, headers=headers, stream=True, timeout=600) as response:
        response.raise_for_status()
        lines = response.iter_lines()
        wait_for_line(lines, b'"prompt_progress":0')
        began = time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(wait_for_line, lines, b'"prompt_progress":1')
            while not done.done():
                for path in PATHS:
                    asked = time.monotonic()
                    answer = requests.get(url + path, timeout=600)
                    taken[path].append(1000 * (time.monotonic() - asked))
                    answer.raise_for_status()
                time.sleep(PAUSE_S)
            done.result()
        return taken, time.monotonic() - began


def wait_for_line(lines: Iterator[bytes], wanted: bytes) -> None:
    """Read the stream up to the first line that holds ``wanted``."""
    for line in lines:
        if wanted in line:
            return
    raise RuntimeError(f"the stream ended without {wanted!r}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small model: the call lasts a second or two")
    parser.add_argument("--layers", type=int, default=4, help="of ChatGLM3-6B's width")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "model.bin")
        SHAPES["bench"] = replace(SHAPES["full"], num_layers=options.layers)
        write_random_model(model, "small" if options.quick else "bench")
        with our_server(model, native_engine(patched=False), threads=1 if options.quick else 0) as (port, _):
            taken: dict[str, list[float]] = {path: [] for path in PATHS}
            calls: list[float] = []
            for _ in range(options.rounds):
                some, call_s = ask_until_done(f"http://127.0.0.1:{port}")
                calls.append(call_s)
                for path, times in some.items():
                    taken[path] += times
    rows = [Row("one native call that nothing interrupts", "", "s", calls, [])]
    for path, times in taken.items():
        rows.append(Row(f"{path} meanwhile", "", "ms", times, [], note=f"{len(times)} answers"))
    rows.append(Row("slowest /health meanwhile", "", "ms", [max(taken["/health"])], [], f"<= {GOAL_MS}"))
    return finish([summed_up(row) for row in rows])


def summed_up(row: Row) -> Row:
    """Hundreds of values as minimum, median and maximum: what every table shows of them."""
    if len(row.ours) < 4:
        return row
    return replace(row, ours=[min(row.ours), statistics.median(row.ours), max(row.ours)])


if __name__ == "__main__":
    sys.exit(main())
