"""The engine against llama.cpp: prompt and decode speed of the Windows binaries on ChatGLM3-6B's shape.

    python bench/engine.py                       all 28 layers (two files of 3.5 GB), prompts of 64, 256 and 1024;
                                                 30 minutes, with --rounds 1 12
    python bench/engine.py --quick               two layers, one prompt; a minute
    python bench/engine.py --release-wheel FILE  the official chatglm_cpp wheel, where it cannot be downloaded

Weights are random. Ours is the compiled wheel in the bundle's Python (under Wine where this is not Windows), for both
CPU levels and without OpenBLAS; llama.cpp is a pinned xllamacpp wheel on a model of the same shape and q4_0. They take
turns (A B C A B C), each time in a process of its own; the ratios are of medians. Prints a table; exit code 1 where a
goal is missed. Busy cores spoil the figures: the load before and after is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "payload")]

from bench.result import MARK, Row, finish, not_measured  # noqa: E402
from bench.tools import LLAMA_PACKAGES, PEERS, Missing, environment, need_windows  # noqa: E402
from bundle.assemble import engine_request  # noqa: E402
from bundle.cache import Cache, default_cache_dir  # noqa: E402
from bundle.engine.build import build_engine  # noqa: E402
from bundle.engine.request import LEVELS  # noqa: E402
from bundle.engine.stage import stage_engine  # noqa: E402
from bundle.errors import BundleError  # noqa: E402
from bundle.log import Log  # noqa: E402
from bundle.plan import resolve_plan  # noqa: E402
from bundle.python_runtime import stage_python  # noqa: E402
from bundle.shape_test import SHAPES, write_random_model  # noqa: E402
from bundle.sources import Sources  # noqa: E402
from bundle.wine import WinePrefix, usable_locale  # noqa: E402

MEASURE = PEERS / "measure_engine.py"
LLAMA = "llama.cpp"
OURS, RELEASE = "ours avx2", "release"
GOALS = {"decode": 1.0, "256": 1.2, "1024": 1.4}
"""Least ratio of ours to llama.cpp, for decoding and by prompt length."""
CHUNKS = (64, 128, 256, 512)


Run = Callable[[Path, Sequence[str]], Mapping[str, Any]]
"""Runs a Windows Python with arguments and returns the measurement it printed."""


@dataclass
class Figures:
    """What one engine did in all rounds: name of a figure -> one value per round."""

    speeds: dict[str, list[float]] = field(default_factory=dict)
    memory_mb: list[float] = field(default_factory=list)

    def add(self, result: Mapping[str, Any]) -> None:
        for name, speed in {**result["prompts"], "decode": result["decode"]}.items():
            if isinstance(speed, (int, float)):
                self.speeds.setdefault(name.removesuffix(":0"), []).append(float(speed))
        if result["memory_mb"] is not None:
            self.memory_mb.append(float(result["memory_mb"]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two layers, one prompt length, one round")
    parser.add_argument("--rounds", type=int, default=0, help="default 3, with --quick 1")
    parser.add_argument("--decode", type=int, default=24, help="tokens to decode")
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
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="bench-engine-") as temporary, windows() as run:
        place = Path(temporary)
        engines = prepare_engines(place, options.release_wheel, without_openblas=not options.quick, release=True)
        try:
            peer = prepare_peer(place, layers)
        except Missing as error:
            return finish([not_measured("prompts and decoding", LLAMA, str(error))])
        model = place / "model.bin"
        SHAPES["bench"] = replace(SHAPES["full"], num_layers=layers)
        write_random_model(model, "bench")
        print(f"{layers} layers, {options.threads} threads, load {os.getloadavg()[0]:.1f}", flush=True)

        def ours(engine: Path, prompts: Sequence[str], decode: int) -> Mapping[str, Any]:
            arguments = [str(engine), str(model), ",".join(prompts), str(decode), str(options.threads)]
            return run(place / "python" / "python.exe", [str(MEASURE), *arguments])

        figures = {name: Figures() for name in (LLAMA, *engines)}
        for _ in range(options.rounds or (1 if options.quick else 3)):
            figures[LLAMA].add(peer(lengths, options.decode, options.threads))
            for name, engine in engines.items():
                figures[name].add(ours(engine, [f"{length}:0" for length in lengths], options.decode))
        sweep = Figures()
        chunks = (128,) if options.quick else CHUNKS
        sweep.add(ours(engines[OURS], [f"{length}:{c}" for length in lengths for c in (*chunks, 0) if c < length], 2))
        print(f"load {os.getloadavg()[0]:.1f}")
    return report(figures, sweep, lengths, f"{layers} of 28 layers")


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
    request = replace(engine_request(plan, place), levels=tuple(LEVELS))

    def stage(name: str, wheels: Sequence[Path], kind: str) -> Path:
        folder = place / name
        tag = "cp" + plan.python.replace(".", "")
        stage_engine(wheels, folder, python_tag=tag, python_dir=place / "python", kind=kind, fetch=sources.fetch)
        for package in (folder / "app" / "engine").glob("*/chatglm_cpp"):
            for dll in (folder / "app" / "engine").glob("shared/*.dll"):
                shutil.copy(dll, package)
        return folder / "app" / "engine"

    compiled = stage("ours", build_engine(request, sources.fetch, default_cache_dir(), log.line), "compile")
    engines = {f"ours {level}": compiled / level for level in LEVELS}
    if without_openblas:
        plain = replace(request, levels=("avx2",), openblas=False)
        wheels = build_engine(plain, sources.fetch, default_cache_dir(), log.line)
        engines["ours avx2, no OpenBLAS"] = stage("plain", wheels, "compile") / "avx2"
    if release and release_wheel is None:
        with suppress(BundleError):
            release_wheel = sources.fetch_any(f"release@{plan.python}")[1]
    if release_wheel is not None:
        engines[RELEASE] = next(stage("release", [release_wheel], "release").glob("avx*"))
    return engines


def prepare_peer(place: Path, layers: int) -> Callable[[Sequence[int], int, int], Mapping[str, Any]]:
    """Install llama.cpp, write its model, and return what measures it. Raises Missing."""
    python = environment("llama-cpp", LLAMA_PACKAGES)
    model, script = place / "model.gguf", str(PEERS / "llama_cpp.py")
    subprocess.run([str(python), script, "write", str(model), str(layers)], check=True)

    def measure(lengths: Sequence[int], decode: int, threads: int) -> Mapping[str, Any]:
        arguments = [str(model), ",".join(map(str, lengths)), str(decode), str(threads)]
        done = subprocess.run([str(python), script, "measure", *arguments], capture_output=True, text=True, check=True)
        return read_result(done.stdout)

    return measure


@contextmanager
def windows() -> Iterator[Run]:
    """Give what runs a Windows Python and returns its result: Windows itself, or Wine."""

    def on_windows(python: Path, arguments: Sequence[str]) -> Mapping[str, Any]:
        done = subprocess.run([str(python), *arguments], capture_output=True, text=True, check=True)
        return read_result(done.stdout)

    if os.name == "nt":
        yield on_windows
        return
    with WinePrefix.temporary(locale=usable_locale()) as prefix:
        prefix.start(["cmd", "/c", "pause"], cwd=prefix.folder)  # keeps Wine's server up

        def under_wine(python: Path, arguments: Sequence[str]) -> Mapping[str, Any]:
            program = prefix.start([str(python), "-X", "utf8", *arguments], cwd=python.parent)
            program.wait(1800)
            return read_result(program.output)

        yield under_wine


def read_result(output: str) -> Mapping[str, Any]:
    """The measurement in what a process printed."""
    lines = [line for line in output.splitlines() if line.startswith(MARK)]
    if not lines:
        raise RuntimeError(f"no result in:\n{output}")
    result: Mapping[str, Any] = json.loads(lines[-1].removeprefix(MARK))
    return result


def report(figures: Mapping[str, Figures], sweep: Figures, lengths: Sequence[int], shape: str) -> int:
    """Print all figures and ratios; 1 when a goal is missed."""
    rows, peer = [], figures[LLAMA]
    for name, own in figures.items():
        if name == LLAMA:
            continue
        build = "" if name == OURS else f", {name}"
        for figure in (*map(str, lengths), "decode"):
            what = "decoding" if figure == "decode" else f"prompt of {figure} tokens"
            goal = f">= {GOALS[figure]}" if name == OURS and figure in GOALS else ""
            speeds = own.speeds.get(figure, []), peer.speeds[figure]
            # The engine as released refuses what its fixed memory does not hold.
            note = "" if speeds[0] else "not measured: the engine refused"
            rows.append(Row(f"{what}, {shape}{build}", LLAMA, "tokens/s", *speeds, goal, note))
        rows.append(Row(f"memory besides the model, {shape}{build}", LLAMA, "MB", own.memory_mb, peer.memory_mb))
    if RELEASE not in figures:
        why = "the official wheel cannot be downloaded here; give --release-wheel FILE"
        rows.append(not_measured(f"prompts and decoding, {shape}, {RELEASE}", LLAMA, why))
    chunks: dict[str, dict[str, float]] = {}
    for name, (speed,) in sweep.speeds.items():
        length, _, size = name.partition(":")
        if length == "decode":
            continue
        chunks.setdefault(length, {})[size or "all"] = speed
    print("\nours avx2, by chunk size (tokens per second)")
    for length, sizes in chunks.items():
        print(f"  {length:>5} tokens: " + ", ".join(f"{size}: {speed:.1f}" for size, speed in sizes.items()))
    every = {name: own.speeds for name, own in figures.items()}
    return finish(rows, {"shape": shape, "speeds": every, "chunks": chunks})


if __name__ == "__main__":
    sys.exit(main())
