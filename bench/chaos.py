"""Random faults against a running program: is every answer right, or an error in words, and does nothing pile up?

    python bench/chaos.py                an hour
    python bench/chaos.py --quick        a minute
    python bench/chaos.py --minutes N    so many

The whole program runs as a double-click starts it, natively, with a model whose right answer is known. Four clients
ask all the time, plain and streamed. Meanwhile connections are reset in bursts, left half open, fed with rubbish and
read slowly; clients leave in the middle; the worker is killed; the worker or the whole program is stopped for seconds,
as on a laptop that sleeps. Each answer is the right one, or says in words what happened; all else is unaccounted for.
Memory, open files and threads are compared after a warm-up and in the end. Not tried: a full disk, a clock that jumps,
Windows.
Exit code 1 when an answer is unaccounted for or something piled up.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import struct
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "payload")]

import psutil  # noqa: E402
import requests  # noqa: E402

from bench.result import Row, finish  # noqa: E402
from bundle.model.random_model import EOS_TOKEN_ID  # noqa: E402
from bundle.model.random_tokenizer import make_proto  # noqa: E402
from oneclick.server.chat.tokenizer import ChatTokenizer  # noqa: E402
from tests.support.native_bundle import MODEL_NAME, Program, make_native_bundle  # noqa: E402
from tests.support.scripted_model import write_scripted_model  # noqa: E402

CLIENTS, WORDS, TOKENS = 4, "我们可以，", 250
KILL_EVERY_S = 31.0
"""Three crashes within a minute would be given up, in words, for good."""
RIGHT, IN_WORDS, UNACCOUNTED = "right", "error in words", "unaccounted for"


class Chaos:
    """One program, its clients and its faults."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._address = ("127.0.0.1", program.port)
        self._stop = threading.Event()
        self._chance = random.Random(7)
        self._held: list[socket.socket] = []
        self._killed = time.monotonic()
        self._session = threading.local()
        self.answers: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.examples: list[str] = []

    def ask(self, stream: bool) -> str:
        """Ask once and return what became of it."""
        asked = {"messages": [{"role": "user", "content": "你好"}], "temperature": 0, "max_tokens": TOKENS}
        try:
            answer = requests.post(
                self._program.url + "/v1/chat/completions", json={**asked, "stream": stream}, timeout=120
            )
            text, error = _read(answer, stream)
        except (requests.RequestException, ValueError, KeyError) as problem:
            self.examples.append(f"{type(problem).__name__}: {problem}"[:200])
            return UNACCOUNTED
        if error:
            return IN_WORDS
        if text == (WORDS * TOKENS)[: len(text)] and len(text) == TOKENS:
            return RIGHT
        self.examples.append(f"{'streamed' if stream else 'plain'}, {len(text)} characters: …{text[-40:]}")
        return UNACCOUNTED

    def client(self, number: int) -> None:
        while not self._stop.is_set():
            self.answers[self.ask(number % 2 == 0)] += 1

    def run(self, seconds: float) -> None:
        """Ask and break things for so long."""
        clients = [threading.Thread(target=self.client, args=(number,)) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        faults = (self.reset, self.half_open, self.rubbish, self.slow_reader, self.leave, self.suspend, self.kill)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            fault: Callable[[], bool] = self._chance.choice(faults)
            if fault():
                self.faults[fault.__name__] += 1
            time.sleep(self._chance.uniform(0.1, 1.0))
        self._stop.set()
        for client in clients:
            client.join()
        for held in self._held:
            held.close()

    def _connect(self) -> socket.socket:
        return socket.create_connection(self._address, timeout=10)

    def reset(self) -> bool:
        for _ in range(self._chance.choice((1, 30))):
            connection = self._connect()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        return True

    def half_open(self) -> bool:
        connection = self._connect()
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: loc")
        self._held.append(connection)
        while len(self._held) > 40:
            self._held.pop(0).close()
        return True

    def rubbish(self) -> bool:
        with self._connect() as connection:
            connection.sendall(self._chance.randbytes(2000) + b"\r\n\r\n")
        return True

    def _post(self) -> socket.socket:
        body = json.dumps({"messages": [{"role": "user", "content": "你好"}], "stream": True}).encode()
        connection = self._connect()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
        connection.sendall(head + body)
        return connection

    def slow_reader(self) -> bool:
        self._held.append(self._post())
        return True

    def leave(self) -> bool:
        with self._post() as connection:
            connection.settimeout(self._chance.uniform(0.01, 0.5))
            try:
                connection.recv(100)
            except OSError:
                return True
        return True

    def _worker(self) -> psutil.Process | None:
        pid = requests.get(self._program.url + "/status", timeout=30).json()["worker"]["pid"]
        return psutil.Process(pid) if pid else None

    def suspend(self) -> bool:
        """Stop the worker, or all of it, for a while, as sleep and busy PCs do."""
        processes = [psutil.Process(self._program.process.pid)]
        worker = self._worker()
        if worker is not None:
            processes = [worker] if self._chance.random() < 0.5 else [*processes, worker]
        try:
            for process in processes:
                process.suspend()
            time.sleep(self._chance.uniform(0.2, 3))
        finally:
            for process in processes:
                process.resume()
        return True

    def kill(self) -> bool:
        worker = self._worker()
        if worker is None or time.monotonic() - self._killed < KILL_EVERY_S:
            return False
        self._killed = time.monotonic()
        worker.kill()
        return True

    def figures(self) -> dict[str, float]:
        """Return memory (MB), open files and threads of the program, once nothing runs."""
        for _ in range(600):
            health = requests.get(self._program.url + "/health", timeout=30)
            if health.status_code == 200 and not any(health.json()["queue"].values()):
                break
            time.sleep(0.1)
        time.sleep(35)  # what is idle is let go after 30 s
        process = psutil.Process(self._program.process.pid)
        return {
            "MB": process.memory_info().rss / 1e6,
            "open files": process.num_fds(),
            "threads": process.num_threads(),
        }


def _read(answer: requests.Response, stream: bool) -> tuple[str, str]:
    """Return an answer's text, or the words of its error."""
    if not stream or answer.status_code != 200:
        told = answer.json()
        if "error" in told:
            return "", str(told["error"]["message"])
        return str(told["choices"][0]["message"]["content"]), ""
    # By lines: a sign of life is the first line of the next event.
    events = [line[6:] for line in answer.text.split("\n") if line.startswith("data: {")]
    text = ""
    for event in map(json.loads, events):
        if "error" in event:
            return text, str(event["error"]["message"])
        text += "".join(choice["delta"].get("content") or "" for choice in event["choices"])
    return text, ""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--quick", action="store_true", help="one minute")
    parser.add_argument("--rounds", type=int, default=1, help="so many times the minutes")
    options = parser.parse_args()
    seconds = 60 * (1 if options.quick else options.minutes) * options.rounds
    with tempfile.TemporaryDirectory(prefix="bench-chaos-") as temporary:
        folder = make_native_bundle(Path(temporary) / "bundle")
        tokenizer = ChatTokenizer(make_proto(), EOS_TOKEN_ID)
        sentence = [token for letter in WORDS for token in tokenizer.encode(letter)[-1:]]
        write_scripted_model(folder / MODEL_NAME, sentence, tokenizer.assistant, again=True)
        program = Program(folder)
        try:
            program.wait_ready()
            chaos = Chaos(program)
            chaos.run(min(30.0, seconds / 4))  # pools, caches and the allocator fill
            before = chaos.figures()
            chaos = Chaos(program)
            chaos.run(seconds)
            after = chaos.figures()
        finally:
            program.kill()
    print(f"faults: {dict(chaos.faults)}; answers: {dict(chaos.answers)}")
    for example in chaos.examples[:5]:
        print("  " + example)
    rows = [
        Row("answers that were right", "", "", [chaos.answers[RIGHT]], [], ">= 1"),
        Row("errors in words", "", "", [chaos.answers[IN_WORDS]], []),
        Row("answers unaccounted for", "", "", [chaos.answers[UNACCOUNTED]], [], "<= 0"),
        Row("growth of memory", "", "%", [max(0.0, 100 * (after["MB"] / before["MB"] - 1))], [], "<= 5"),
        Row("more open files", "", "", [max(0.0, after["open files"] - before["open files"])], [], "<= 2"),
        Row("more threads", "", "", [max(0.0, after["threads"] - before["threads"])], [], "<= 2"),
    ]
    return finish(rows, {"before": before, "after": after, "faults": dict(chaos.faults)})


if __name__ == "__main__":
    sys.exit(main())
