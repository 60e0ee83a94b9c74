"""The engine against llama.cpp: prompt and decode speed of the Windows binaries on ChatGLM3-6B's shape.

    python bench/engine.py                       all 28 layers (two files of 3.5 GB), prompts of 64, 256 and 1024
    python bench/engine.py --quick               two layers, one prompt; a minute or two
    python bench/engine.py --release-wheel FILE  also the official chatglm_cpp wheel for this Python

Weights are random. Ours is the compiled wheel in the bundle's Python (under Wine where this is not Windows), for both
CPU levels and without OpenBLAS; llama.cpp is a pinned xllamacpp wheel on a model of the same shape and q4_0. They take
turns (A B C A B C), each time in a process of its own; the ratios are of medians. Prints a table and JSON; exit
code 1 where a goal is missed. Busy cores spoil the figures: the load before and after is printed.
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
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "payload")]

from bundle.assemble import engine_request  # noqa: E402
from bundle.cache import Cache, default_cache_dir  # noqa: E402
from bundle.engine.build import build_engine  # noqa: E402
from bundle.engine.request import LEVELS  # noqa: E402
from bundle.engine.stage import stage_engine  # noqa: E402
from bundle.log import Log  # noqa: E402
from bundle.plan import resolve_plan  # noqa: E402
from bundle.python_runtime import stage_python  # noqa: E402
from bundle.shape_test import SHAPES, write_random_model  # noqa: E402
from bundle.sources import Sources  # noqa: E402
from bundle.wine import WinePrefix, usable_locale  # noqa: E402

PEERS = Path(__file__).with_name("peers")
PEER_PACKAGES = ("xllamacpp==2026.10.11549", "gguf==0.19.0")
LLAMA = "llama.cpp"
OURS = "ours avx2"
GOALS = {"decode": 1.0, "256": 1.2, "1024": 1.4}
"""Least ratio of ours to llama.cpp, for decoding and by prompt length."""
CHUNKS = (64, 128, 256, 512)


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
    lengths = (256,) if options.quick else (64, 256, 1024)
    layers = 2 if options.quick else 28
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="bench-engine-") as temporary, windows() as run:
        place = Path(temporary)
        engines = prepare_engines(place, options.release_wheel, without_openblas=not options.quick)
        peer = prepare_peer(place, layers)
        model = place / "model.bin"
        SHAPES["bench"] = replace(SHAPES["full"], num_layers=layers)
        write_random_model(model, "bench")
        print(f"{layers} layers, {options.threads} threads, load {os.getloadavg()[0]:.1f}", flush=True)

        def ours(engine: Path, prompts: Sequence[str], decode: int) -> Mapping[str, Any]:
            arguments = [str(engine), str(model), ",".join(prompts), str(decode), str(options.threads)]
            return run(place / "python" / "python.exe", [str(PEERS / "measure_engine.py"), *arguments])

        figures = {name: Figures() for name in (LLAMA, *engines)}
        for _ in range(options.rounds or (1 if options.quick else 3)):
            figures[LLAMA].add(peer(lengths, options.decode, options.threads))
            for name, engine in engines.items():
                figures[name].add(ours(engine, [f"{length}:0" for length in lengths], options.decode))
        sweep = Figures()
        chunks = (128,) if options.quick else CHUNKS
        sweep.add(ours(engines[OURS], [f"{length}:{c}" for length in lengths for c in (*chunks, 0) if c < length], 2))
        print(f"load {os.getloadavg()[0]:.1f}")
    return report(figures, sweep, lengths)


def prepare_engines(place: Path, release_wheel: Path | None, *, without_openblas: bool) -> dict[str, Path]:
    """The bundle's Python in ``place``/python, and a folder for sys.path per engine (name -> folder)."""
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
    if release_wheel is not None:
        engines["release"] = next(stage("release", [release_wheel], "release").glob("avx*"))
    else:
        print("release: not measured (no --release-wheel)")
    return engines


def prepare_peer(place: Path, layers: int) -> Callable[[Sequence[int], int, int], Mapping[str, Any]]:
    """Install llama.cpp, write its model, and return what measures it."""
    environment = default_cache_dir() / "bench-llama-cpp"
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    uv = [sys.executable, "-m", "uv"]
    if not python.is_file():
        subprocess.run([*uv, "venv", "-q", "--python", sys.executable, str(environment)], check=True)
    subprocess.run([*uv, "pip", "install", "-q", "--python", str(python), *PEER_PACKAGES], check=True)
    model, script = place / "model.gguf", str(PEERS / "llama_cpp.py")
    subprocess.run([str(python), script, "write", str(model), str(layers)], check=True)

    def measure(lengths: Sequence[int], decode: int, threads: int) -> Mapping[str, Any]:
        arguments = [str(model), ",".join(map(str, lengths)), str(decode), str(threads)]
        done = subprocess.run([str(python), script, "measure", *arguments], capture_output=True, text=True, check=True)
        return read_result(done.stdout)

    return measure


@contextmanager
def windows() -> Iterator[Callable[[Path, Sequence[str]], Mapping[str, Any]]]:
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
    lines = [line for line in output.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise RuntimeError(f"no result in:\n{output}")
    result: Mapping[str, Any] = json.loads(lines[-1].removeprefix("RESULT "))
    return result


def report(figures: Mapping[str, Figures], sweep: Figures, lengths: Sequence[int]) -> int:
    """Print all figures and ratios; 1 when a goal is missed."""
    names = [*map(str, lengths), "decode"]
    print(f"\ntokens per second: minimum / median / maximum\n{'':24}" + "".join(f"{name:>22}" for name in names))
    for engine, own in figures.items():
        cells = [own.speeds.get(name, []) for name in names]
        shown = [f"{min(c):.2f} / {median(c):.2f} / {max(c):.2f}" if c else "-" for c in cells]
        memory = f"   {max(own.memory_mb):.0f} MB" if own.memory_mb else ""
        print(f"{engine:24}" + "".join(f"{cell:>22}" for cell in shown) + memory)
    print("\nours avx2, by chunk size (tokens per second)")
    best = {}
    for length in map(str, lengths):
        sizes = {
            name.partition(":")[2] or "all": value[0]
            for name, value in sweep.speeds.items()
            if name.partition(":")[0] == length
        }
        best[length] = max(sizes, key=lambda size: sizes[size])
        print(f"  {length:>5} tokens: " + ", ".join(f"{size}: {speed:.1f}" for size, speed in sizes.items()))
    ratios = {name: median(figures[OURS].speeds[name]) / median(figures[LLAMA].speeds[name]) for name in names}
    missed = [name for name, goal in GOALS.items() if name in ratios and ratios[name] < goal]
    for name, ratio in ratios.items():
        goal = f" (goal {GOALS[name]})" if name in GOALS else ""
        print(f"ratio to llama.cpp, {name}: {ratio:.2f}{goal}{' MISSED' if name in missed else ''}")
    results = {name: {**own.speeds, "memory_mb": own.memory_mb} for name, own in figures.items()}
    print(json.dumps({"results": results, "chunks": sweep.speeds, "best_chunk": best, "ratios": ratios}))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
