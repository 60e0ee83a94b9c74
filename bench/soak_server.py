"""Random requests with random disconnects for minutes: does anything pile up?

``python bench/soak_server.py [--quick] [--minutes 5] [--requests 200]``: a server with a tiny model on our engine,
clients that leave at any moment. Prints memory before and after in MB, its growth (at most 5 percent) and threads; exit
code 1 when something piled up.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "payload")]

import psutil  # noqa: E402
import requests  # noqa: E402

from bench.result import Row, finish  # noqa: E402
from bundle.model.random_model import write_random_model  # noqa: E402
from tests.support.native_engine import native_engine  # noqa: E402
from tests.support.server_processes import our_server  # noqa: E402

CLIENTS = 6


def one_client(port: int, seed: int) -> None:
    """Send one request and leave when it suits."""
    chance = random.Random(seed)
    body = json.dumps(
        {
            "messages": [{"role": "user", "content": f"问题 {chance.randrange(9)} " + "天气 " * chance.randrange(300)}],
            "max_tokens": chance.randrange(1, 400),
            "stream": chance.random() < 0.6,
        }
    ).encode()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
        connection.sendall(head + body)
        connection.settimeout(chance.uniform(0.01, 3))
        try:
            while connection.recv(4096) and chance.random() > 0.02:
                pass
        except OSError:
            return


def figures(url: str, pid: int) -> dict[str, Any]:
    """Return memory (MB) and threads of server and worker, and the queue."""
    status = requests.get(url + "/status", timeout=10).json()
    found: dict[str, Any] = {"queue": status["queue"], "worker_pid": status["worker"]["pid"]}
    for name, process in (("server", psutil.Process(pid)), ("worker", psutil.Process(found["worker_pid"]))):
        found[f"{name}_mb"] = round(process.memory_info().rss / 1e6, 1)
        found[f"{name}_threads"] = process.num_threads()
    return found


def rest(url: str) -> None:
    """Wait until nothing runs or waits."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        queue = requests.get(url + "/health", timeout=10).json()["queue"]
        if not any(queue.values()):
            return
        time.sleep(0.1)
    raise TimeoutError("the queue does not become empty")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="half a minute, 50 requests")
    parser.add_argument("--rounds", type=int, default=1, help="so many times the requests and minutes")
    options = parser.parse_args()
    minutes, requests_count = (0.5, 50) if options.quick else (options.minutes, options.requests)
    minutes, requests_count = minutes * options.rounds, requests_count * options.rounds
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "tiny.bin")
        write_random_model(model, "tiny")
        with our_server(model, native_engine(patched=True), threads=1) as (port, pid):
            url = f"http://127.0.0.1:{port}"
            pause_s = minutes * 60 / requests_count
            with ThreadPoolExecutor(CLIENTS) as pool:
                # Warm up: KV cache and scratch memory are touched once up to the longest request and the longest
                # chunk, which the engine chooses when it has seen how fast it is; pools and allocator fill.
                message = {"role": "user", "content": "天气 " * 600}
                longest = {"messages": [message], "max_tokens": 400, "cache_prompt": False}
                for _ in range(3):
                    requests.post(f"{url}/v1/chat/completions", json=longest, timeout=300).raise_for_status()
                warm = max(requests_count // 4, 25)
                list(pool.map(lambda seed: one_client(port, seed), range(warm)))
                rest(url)
                before = figures(url, pid)
                waiting = []
                for seed in range(warm, warm + requests_count):
                    waiting.append(pool.submit(one_client, port, seed))
                    time.sleep(pause_s)
                for future in waiting:
                    future.result()
            rest(url)
            after = figures(url, pid)
    rows = []
    for name in ("server", "worker"):
        memory = [before[f"{name}_mb"]], [after[f"{name}_mb"]]
        rows.append(Row(f"{name}'s memory before", "", "MB", memory[0], []))
        rows.append(Row(f"{name}'s memory after {requests_count} requests", "", "MB", memory[1], []))
        growth = 100 * (after[f"{name}_mb"] / before[f"{name}_mb"] - 1)
        rows.append(Row(f"{name}'s growth", "", "%", [max(growth, 0.0)], [], "<= 5"))
    kept = ("queue", "worker_pid", "server_threads", "worker_threads")
    changed = [name for name in kept if before[name] != after[name]]
    rows.append(Row("threads, queue and worker that changed", "", "", [len(changed)], [], "<= 0", ", ".join(changed)))
    return finish(rows, {"before": before, "after": after})


if __name__ == "__main__":
    sys.exit(main())
