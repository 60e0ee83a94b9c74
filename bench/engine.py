"""The engine against llama.cpp: prompt and decode speed of the Windows binaries on ChatGLM3-6B's shape.

    python bench/engine.py                       all 28 layers (two files of 3.5 GB), prompts of 64, 256 and 1024;
                                                 25 minutes, with --rounds 1 12
    python bench/engine.py --quick               two layers, one prompt; a minute
    python bench/engine.py --release-wheel FILE  the official chatglm_cpp wheel, where it cannot be downloaded

Weights are random. Ours is the compiled wheel in the bundle's Python (under Wine where this is not Windows), for both
CPU levels and without OpenBLAS; llama.cpp is a pinned xllamacpp wheel on a model of the same shape and q4_0. All are
loaded side by side (10 GB of memory) and take turns of a prompt or of eight tokens, A B C and then C B A, because the
speed of a machine drifts by more than the engines differ; the ratios are of medians. Prints a table; exit code 1 where
a goal is missed. Busy cores spoil the figures: the load before and after is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "payload")]

from bench.result import Row, finish, not_measured  # noqa: E402
from bench.tools import LLAMA_PACKAGES, PEERS, Missing, environment, need_windows  # noqa: E402
from bundle.engine.compile.pinned import our_engine  # noqa: E402
from bundle.engine.request import LEVELS  # noqa: E402
from bundle.engine.stage import stage_engine  # noqa: E402
from bundle.errors import BundleError  # noqa: E402
from bundle.fetch.cache import Cache, default_cache_dir  # noqa: E402
from bundle.fetch.sources import Sources  # noqa: E402
from bundle.log import Log  # noqa: E402
from bundle.model.random_model import SHAPES, write_random_model  # noqa: E402
from bundle.pin.engine import engine_request  # noqa: E402
from bundle.plan import resolve_plan  # noqa: E402
from bundle.stage.python import stage_python  # noqa: E402
from bundle.windows.wine import WindowsProgram, WinePrefix, usable_locale  # noqa: E402

MEASURE = PEERS / "measure_engine.py"
LLAMA = "llama.cpp"
OURS, RELEASE = "ours avx2", "release"
GOALS = {"decode": 1.0, "256": 1.2, "1024": 1.4}
"""Least ratio of ours to llama.cpp, for decoding and by prompt length."""
CHUNKS = (64, 128, 256, 512)
TURN_TOKENS = 8
TURNS = 6
"""Turns of decoding in a round."""
LOAD_S, TURN_S, END_S = 300, 600, 60
"""Seconds after which an engine that does not answer, or end, is given up."""

Process = subprocess.Popen[bytes] | WindowsProgram
Start = Callable[[int], Process]
"""Starts a process that connects to the port and obeys (peers/orders.py)."""
StartWindows = Callable[[Path, Sequence[str]], Process]
"""Starts a Windows Python with arguments."""


class Engine:
    """An engine in a process of its own, ready for orders."""

    def __init__(self, start: Start) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(LOAD_S)
            self._process = start(listener.getsockname()[1])
            self._link, _ = listener.accept()
        self._link.settimeout(TURN_S)
        self._lines = self._link.makefile("rw", encoding="utf-8")

    def order(self, name: str, *numbers: int) -> float | str | None:
        """What the process answers: a figure, the text of an error, or None for what it cannot tell."""
        self._lines.write(json.dumps([name, *numbers]) + "\n")
        self._lines.flush()
        answer = self._lines.readline()
        if not answer:
            raise RuntimeError(f"the engine's process ended at {name} {numbers}")
        result: float | str | None = json.loads(answer)
        return result

    def close(self) -> None:
        """End the process; only then can Windows delete the model."""
        self._lines.close()
        self._link.close()
        self._process.wait(END_S)


Speeds = dict[str, dict[str, list[float]]]
"""Engine -> figure (a prompt's length, or ``decode``) -> tokens per second, one value a turn."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two layers, one prompt length, one round")
    parser.add_argument("--rounds", type=int, default=0, help="default 3, with --quick 1")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--release-wheel", type=Path, help="an official chatglm_cpp wheel for the bundle's Python")
    parser.add_argument("--folder", type=Path, help="where the models are written (8 GB)")
    options = parser.parse_args()
    try:
        need_windows()
    except Missing as error:
        return finish([not_measured("prompts and decoding", LLAMA, str(error))])
    lengths = (256,) if options.quick else (64, 256, 1024)
    layers = 2 if options.quick else 28
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.folder, prefix="bench-engine-")))
        start_windows = stack.enter_context(windows())
        folders = prepare_engines(place, options.release_wheel, without_openblas=not options.quick, release=True)
        try:
            starts = {LLAMA: prepare_peer(place, layers, options.threads)}
        except Missing as error:
            return finish([not_measured("prompts and decoding", LLAMA, str(error))])
        model = place / "model.bin"
        SHAPES["bench"] = replace(SHAPES["full"], num_layers=layers)
        write_random_model(model, "bench")
        for name, folder in folders.items():
            starts[name] = our_start(start_windows, place, folder, model, options.threads)
        engines = {name: Engine(start) for name, start in starts.items()}
        for engine in engines.values():
            stack.callback(engine.close)
        print(f"{layers} layers, {options.threads} threads, load {os.getloadavg()[0]:.1f}", flush=True)
        speeds = take_turns(engines, lengths, options.rounds or (1 if options.quick else 3))
        memory = {name: engine.order("memory") for name, engine in engines.items()}
        chunks = try_chunks(engines[OURS], lengths, (128,) if options.quick else CHUNKS)
        print(f"load {os.getloadavg()[0]:.1f}")
    return report(speeds, memory, chunks, lengths, f"{layers} of 28 layers")


def our_start(start: StartWindows, place: Path, folder: Path, model: Path, threads: int) -> Start:
    """What starts our engine in ``folder`` on ``model``."""
    command = [str(MEASURE), str(folder), str(model), str(threads)]
    return lambda port: start(place / "python" / "python.exe", [*command, str(port)])


def take_turns(engines: Mapping[str, Engine], lengths: Sequence[int], rounds: int) -> Speeds:
    """Order each prompt once and ``TURNS`` times some tokens a round; what an engine refuses has no value."""
    speeds: Speeds = {name: {} for name in engines}
    orders = [("prompt", length, 0) for length in lengths] + [("decode", TURN_TOKENS)] * TURNS
    for engine in engines.values():
        engine.order("decode", TURN_TOKENS)
    for number, order in enumerate(orders * rounds):
        names = list(engines) if number % 2 else list(engines)[::-1]
        for name in names:
            speed = engines[name].order(*order)
            if isinstance(speed, float):
                figure = "decode" if order[0] == "decode" else str(order[1])
                speeds[name].setdefault(figure, []).append(speed)
    return speeds


def try_chunks(engine: Engine, lengths: Sequence[int], sizes: Sequence[int]) -> dict[str, dict[str, float]]:
    """Speed of each prompt by the size of the chunks it is evaluated in: length -> size, or ``all`` -> tokens/s."""
    found: dict[str, dict[str, float]] = {}
    for length in lengths:
        for size in (*(size for size in sizes if size < length), 0):
            speed = engine.order("prompt", length, size)
            if isinstance(speed, float):
                found.setdefault(str(length), {})[str(size or "all")] = speed
    return found


def prepare_engines(
    place: Path, release_wheel: Path | None = None, *, without_openblas: bool = False, release: bool = False
) -> dict[str, Path]:
    """The bundle's Python in ``place``/python, and a folder for sys.path per engine (name -> folder).

    ``release``: also the official wheel where it can be downloaded.
    """
    log = Log()
    plan = resolve_plan(wheel="compile", output=place / "dist")
    sources = Sources(plan.recipe, plan.lock, Cache(default_cache_dir()), log)
    stage_python(sources.fetch_any(f"python@{plan.python}")[1], plan.python, place / "python")
    dll = place / "python" / f"python{plan.python.replace('.', '')}.dll"
    request = replace(engine_request(plan.recipe, plan.python, dll), levels=tuple(LEVELS))

    def stage(name: str, wheels: Sequence[Path], kind: str) -> Path:
        folder = place / name
        tag = "cp" + plan.python.replace(".", "")
        stage_engine(wheels, folder, python_tag=tag, python_dir=place / "python", kind=kind, fetch=sources.fetch)
        for package in (folder / "app" / "engine").glob("*/chatglm_cpp"):
            for dll in (folder / "app" / "engine").glob("shared/*.dll"):
                shutil.copy(dll, package)
        return folder / "app" / "engine"

    compiled = stage("ours", our_engine(request, plan.lock, sources, log), "compile")
    engines = {f"ours {level}": compiled / level for level in LEVELS}
    if without_openblas:
        plain = replace(request, levels=("avx2",), openblas=False)
        wheels = our_engine(plain, plan.lock, sources, log)
        engines["ours avx2, no OpenBLAS"] = stage("plain", wheels, "compile") / "avx2"
    if release and release_wheel is None:
        with suppress(BundleError):
            release_wheel = sources.fetch_any(f"release@{plan.python}")[1]
    if release_wheel is not None:
        engines[RELEASE] = next(stage("release", [release_wheel], "release").glob("avx*"))
    return engines


def prepare_peer(place: Path, layers: int, threads: int) -> Start:
    """Install llama.cpp, write its model, and return what starts it. Raises Missing."""
    python = environment("llama-cpp", LLAMA_PACKAGES)
    model, script = place / "model.gguf", str(PEERS / "llama_cpp.py")
    subprocess.run([str(python), script, "write", str(model), str(layers)], check=True)

    def start(port: int) -> Process:
        command = [str(python), script, "measure", str(model), str(threads), str(port)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    return start


@contextmanager
def windows() -> Iterator[StartWindows]:
    """Give what starts a Windows Python: Windows itself, or Wine."""

    def on_windows(python: Path, arguments: Sequence[str]) -> Process:
        return subprocess.Popen([str(python), *arguments])

    if os.name == "nt":
        yield on_windows
        return
    with WinePrefix.temporary(locale=usable_locale()) as prefix:
        prefix.start(["cmd", "/c", "pause"], cwd=prefix.folder)  # keeps Wine's server up

        def under_wine(python: Path, arguments: Sequence[str]) -> Process:
            return prefix.start([str(python), "-X", "utf8", *arguments], cwd=python.parent)

        yield under_wine


def report(
    speeds: Speeds,
    memory: Mapping[str, float | str | None],
    chunks: Mapping[str, Mapping[str, float]],
    lengths: Sequence[int],
    shape: str,
) -> int:
    """Print all figures and ratios; 1 when a goal is missed."""
    rows, peer = [], speeds[LLAMA]
    for name, own in speeds.items():
        if name == LLAMA:
            continue
        build = "" if name == OURS else f", {name}"
        for figure in (*map(str, lengths), "decode"):
            what = "decoding" if figure == "decode" else f"prompt of {figure} tokens"
            goal = f">= {GOALS[figure]}" if name == OURS and figure in GOALS else ""
            # The engine as released refuses what its fixed memory does not hold.
            note = "" if figure in own else "not measured: the engine refused"
            rows.append(
                Row(f"{what}, {shape}{build}", LLAMA, "tokens/s", own.get(figure, []), peer[figure], goal, note)
            )
        both = [[value] if isinstance(value, float) else [] for value in (memory[name], memory[LLAMA])]
        rows.append(Row(f"memory besides the model, {shape}{build}", LLAMA, "MB", *both))
    if RELEASE not in speeds:
        why = "the official wheel cannot be downloaded here; give --release-wheel FILE"
        rows.append(not_measured(f"prompts and decoding, {shape}, {RELEASE}", LLAMA, why))
    print("\nours avx2, by chunk size (tokens per second)")
    for length, sizes in chunks.items():
        print(f"  {length:>5} tokens: " + ", ".join(f"{size}: {speed:.1f}" for size, speed in sizes.items()))
    return finish(rows, {"shape": shape, "speeds": speeds, "chunks": chunks})


if __name__ == "__main__":
    sys.exit(main())
