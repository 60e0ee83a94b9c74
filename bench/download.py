"""Our downloader against aria2c and curl, one after the other, from the same local server.

    python bench/download.py            the real size where the network is fast, 256 MB where it is slow; 8 minutes
    python bench/download.py --quick    small files, one round; about a minute
    python bench/download.py --kills 20 kill -9 a real-size download again and again, then count what came twice

Three networks: each connection limited to 2 MB/s; 30 ms before a connection and before each answer; no limit. Ours and
aria2c use four connections and check the sha256; curl has one connection, does not check, and runs once where it is
slow. Order A B C A B C. Ours also makes the file safe against a power cut (fsync) before it gets its name; how long
that takes after aria2c has its own row.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "payload")]

from bench.result import Row, finish, not_measured  # noqa: E402
from bench.tools import Missing, program  # noqa: E402
from oneclick.update.integrity import file_sha256  # noqa: E402

MODEL_BYTES = 3_514_297_136
CONNECTIONS = 4
GOAL_TIME_RATIO = 1.05
GOAL_MEMORY_MB = 120


@dataclass(frozen=True)
class Network:
    """How the server behaves."""

    name: str
    size_bytes: int
    rate_bytes_s: float | None = None
    latency_s: float = 0.0


@dataclass(frozen=True)
class Run:
    """One measured download."""

    seconds: float
    cpu_s: float
    memory_mb: float
    sync_s: float = 0.0


def networks(quick: bool) -> list[Network]:
    slow, fast = (32 << 20, 256 << 20) if quick else (256 << 20, MODEL_BYTES)
    return [
        Network("2 MB/s per connection", slow, rate_bytes_s=2_000_000),
        Network("30 ms latency", fast, latency_s=0.03),
        Network("unlimited", fast),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=0, help="default 2, with --quick 1")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where the files go (default: the system's temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        if options.kills:
            size = (256 << 20) if options.quick else MODEL_BYTES
            return kill_and_resume(Path(folder), size, options.kills)
        return compare(Path(folder), networks(options.quick), options.rounds or (1 if options.quick else 2))


def compare(folder: Path, cases: list[Network], rounds: int) -> int:
    """Measure every network, print the table, return 0 when the goals are met."""
    rows, why = [], {}
    for name, package in (("aria2c", "aria2"), ("curl", "curl")):
        try:
            program(name, package)
        except Missing as error:
            why[name] = str(error)
    memory: list[float] = []
    for network in cases:
        print(f"{network.name}: {network.size_bytes / 1e6:.0f} MB", flush=True)
        runs = measure(folder, network, rounds, [name for name in ("aria2c", "curl") if name not in why])
        what = f"download, {network.name}"
        seconds = {name: [run.seconds for run in some] for name, some in runs.items()}
        memory += [run.memory_mb for run in runs["ours"]]
        for name, goal in (("aria2c", f"<= {GOAL_TIME_RATIO}"), ("curl", "")):
            if name in why:
                rows.append(not_measured(what, name, why[name]))
                continue
            note = "one connection, nothing checked" if name == "curl" else ""
            rows.append(Row(what, name, "s", seconds["ours"], seconds[name], goal, note))
        if "aria2c" in runs:
            cpu = [run.cpu_s for run in runs["ours"]], [run.cpu_s for run in runs["aria2c"]]
            sync = [run.sync_s for run in runs["ours"]], [run.sync_s for run in runs["aria2c"]]
            rows.append(Row(f"{what}, processor time", "aria2c", "s", *cpu))
            rows.append(Row(f"{what}, fsync afterwards", "aria2c", "s", *sync))
    rows.append(Row("memory of the download", "", "MB", memory, [], f"<= {GOAL_MEMORY_MB}"))
    return finish(rows)


def measure(folder: Path, network: Network, rounds: int, peers: list[str]) -> dict[str, list[Run]]:
    """Let ours and the ``peers`` take turns; name -> runs."""
    source = folder / "source.bin"
    digest = make_file(source, network.size_bytes)
    runs: dict[str, list[Run]] = {name: [] for name in ("ours", *peers)}
    with Serving(source, network) as url:
        for number in range(rounds):
            for name, some in runs.items():
                if name == "curl" and number and network.rate_bytes_s:
                    continue
                some.append(RUNNERS[name](url, folder / f"{name}.bin", network.size_bytes, digest))
    source.unlink()
    return runs


def make_file(path: Path, size_bytes: int) -> str:
    """Write random bytes and return their digest.

    A process of its own does it: a child's peak memory starts with that of the process it was forked from.
    """
    command = [sys.executable, __file__, "make", str(path), str(size_bytes)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def make(path: str, size: str) -> None:
    """Write ``size`` random bytes to ``path`` and print their digest."""
    size_bytes, digest = int(size), hashlib.sha256()
    piece = random.Random(1).randbytes(1 << 24)
    with Path(path).open("wb") as out:
        for number in range(-(-size_bytes // len(piece))):
            turned = number % len(piece)
            data = (piece[turned:] + piece[:turned])[: size_bytes - number * len(piece)]
            digest.update(data)
            out.write(data)
    os.sync()
    print(digest.hexdigest())


class Serving:
    """A server in a process of its own, so that its work is not counted as anybody's."""

    def __init__(self, path: Path, network: Network) -> None:
        self._command = [
            sys.executable,
            __file__,
            "serve",
            str(path),
            repr(network.rate_bytes_s),
            str(network.latency_s),
        ]

    def __enter__(self) -> str:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def __exit__(self, *_: object) -> None:
        self.sent_bytes = int(self._process.communicate("\n")[0] or 0)


def serve(path: str, rate: str, latency: str) -> None:
    """Be the server until a line comes in; then tell how many bytes were sent."""
    from tests.support.bad_server import BadServer, ok

    rate_bytes_s = None if rate == "None" else float(rate)
    with BadServer(connect_latency_s=float(latency)) as server:
        url = server.page("/model.bin", Path(path), ok(rate_bytes_s=rate_bytes_s, latency_s=float(latency)))
        print(url, flush=True)
        sys.stdin.readline()
        print(server.sent_bytes(), flush=True)


def run_ours(url: str, target: Path, size_bytes: int, digest: str) -> Run:
    return timed(
        [
            sys.executable,
            str(ROOT / "tests/payload/download/child.py"),
            url,
            str(target),
            str(size_bytes),
            digest,
            "{}",
        ],
        target,
    )


def run_aria2c(url: str, target: Path, size_bytes: int, digest: str) -> Run:
    command = ["aria2c", "--quiet", f"--max-connection-per-server={CONNECTIONS}", f"--split={CONNECTIONS}"]
    command += ["--min-split-size=1M", "--file-allocation=none", "--allow-overwrite=true", "--check-integrity=true"]
    command += [f"--checksum=sha-256={digest}", f"--dir={target.parent}", f"--out={target.name}", url]
    return timed(command, target)


def run_curl(url: str, target: Path, size_bytes: int, digest: str) -> Run:
    return timed(["curl", "--silent", "--show-error", "--fail", "--output", str(target), url], target)


RUNNERS = {"ours": run_ours, "aria2c": run_aria2c, "curl": run_curl}


def timed(command: list[str], target: Path) -> Run:
    """Run ``command``, which must make ``target``; remove it afterwards."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "payload"), "NO_PROXY": "127.0.0.1"}
    began = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, code, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    process.returncode = code
    if code:
        raise SystemExit(f"{command[0]} failed ({code})")
    began = time.monotonic()
    with target.open("rb") as written:
        os.fsync(written.fileno())
    sync_s = time.monotonic() - began
    target.unlink()
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, sync_s)


def kill_and_resume(folder: Path, size_bytes: int, kills: int) -> int:
    """Kill the download ``kills`` times at random moments, let it finish, and count the bytes that came twice."""
    source, target = folder / "source.bin", folder / "ours.bin"
    digest = make_file(source, size_bytes)
    command = [sys.executable, str(ROOT / "tests/payload/download/child.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "payload"), "NO_PROXY": "127.0.0.1"}
    moments = random.Random()
    server = Serving(source, Network("", size_bytes, rate_bytes_s=size_bytes / kills / 8))
    with server as url:
        command += [url, str(target), str(size_bytes), digest, "{}"]
        for number in range(kills):
            process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
            time.sleep(moments.uniform(0.5, 3.0))
            alive = process.poll() is None
            process.kill()
            process.wait()
            if not alive:
                print(f"finished before kill {number + 1}")
                break
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    twice = server.sent_bytes - size_bytes
    right = file_sha256(target) == digest
    print(
        f"{kills} kills, {size_bytes} bytes, digest right: {right}, sent twice: {twice / 2**20:.1f} MiB in all, "
        f"{twice / kills / 2**20:.1f} MiB per kill (a block has 64 MiB)"
    )
    return 0 if right and twice <= kills * (64 << 20) else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(*sys.argv[2:])
    elif sys.argv[1:2] == ["make"]:
        make(*sys.argv[2:])
    else:
        sys.exit(main())
