"""Our downloader against aria2c, one after the other, from the same local server.

    python bench/download.py            the real size where the network is fast, 512 MB where it is slow; 10 minutes
    python bench/download.py --quick    small files; about 2 minutes
    python bench/download.py --kills 20 kill -9 a real-size download again and again, then count what came twice

Three networks: each connection limited to 2 MB/s; 30 ms before a connection and before each answer; no limit. Both
programs use four connections and check the sha256. Order A B A B; the best of each counts. Ours also makes the file
safe against a power cut (fsync) before it gets its name; the time ``sync`` takes after aria2c is shown beside it.
Needs aria2c on the PATH (Debian: aria2).
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
    slow, fast = (96 << 20, 1 << 30) if quick else (512 << 20, MODEL_BYTES)
    return [
        Network("2 MB/s per connection", slow, rate_bytes_s=2_000_000),
        Network("30 ms latency", fast, latency_s=0.03),
        Network("unlimited", fast),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where the files go (default: the system's temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        if options.kills:
            size = (256 << 20) if options.quick else MODEL_BYTES
            return kill_and_resume(Path(folder), size, options.kills)
        return compare(Path(folder), networks(options.quick), options.rounds)


def compare(folder: Path, cases: list[Network], rounds: int) -> int:
    print(
        f"{'network':<24}{'size MB':>8}{'ours s':>9}{'aria2c s':>10}{'ratio':>7}{'+sync s':>9}"
        f"{'CPU s':>12}{'memory MB':>14}"
    )
    missed = False
    for network in cases:
        ours, theirs = measure(folder, network, rounds)
        ratio = ours.seconds / theirs.seconds
        missed = missed or ratio > GOAL_TIME_RATIO or ours.memory_mb > GOAL_MEMORY_MB
        seconds = f"{ours.seconds:>9.2f}{theirs.seconds:>10.2f}{ratio:>7.2f}{theirs.sync_s:>9.2f}"
        load = f"{ours.cpu_s:>6.1f}/{theirs.cpu_s:<5.1f}{ours.memory_mb:>7.0f}/{theirs.memory_mb:<6.0f}"
        print(f"{network.name:<24}{network.size_bytes / 1e6:>8.0f}{seconds}{load}", flush=True)
    print(f"goals: ratio <= {GOAL_TIME_RATIO}, memory <= {GOAL_MEMORY_MB} MB: {'missed' if missed else 'met'}")
    return 1 if missed else 0


def measure(folder: Path, network: Network, rounds: int) -> tuple[Run, Run]:
    """Return the best run of ours and of aria2c; they take turns."""
    source = folder / "source.bin"
    digest = make_file(source, network.size_bytes)
    ours, theirs = [], []
    with Serving(source, network) as url:
        for _ in range(rounds):
            ours.append(run_ours(url, folder / "ours.bin", network.size_bytes, digest))
            theirs.append(run_aria2c(url, folder / "theirs.bin", digest))
    source.unlink()
    return min(ours, key=lambda run: run.seconds), min(theirs, key=lambda run: run.seconds)


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


def digest_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while data := stream.read(1 << 20):
            digest.update(data)
    return digest.hexdigest()


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
        [sys.executable, str(ROOT / "tests/download/child.py"), url, str(target), str(size_bytes), digest, "{}"], target
    )


def run_aria2c(url: str, target: Path, digest: str) -> Run:
    command = ["aria2c", "--quiet", f"--max-connection-per-server={CONNECTIONS}", f"--split={CONNECTIONS}"]
    command += ["--file-allocation=none", "--allow-overwrite=true", "--check-integrity=true"]
    command += [f"--checksum=sha-256={digest}", f"--dir={target.parent}", f"--out={target.name}", url]
    return timed(command, target)


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
    command = [sys.executable, str(ROOT / "tests/download/child.py")]
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
    right = digest_of(target) == digest
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
