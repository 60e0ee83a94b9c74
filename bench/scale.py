"""How cost grows: with the model's size, the prompt's length, the number of files, and the size of the matrix.

    python bench/scale.py            4 to all 28 layers, prompts of 64 to 4096, the bundle's files 10 times; 10 minutes
    python bench/scale.py --quick    one to four layers, prompts of 64 to 1024, the packages three times; a minute

Each table ends with the exponent of its last step: 1 means that twice as much takes twice as long. The engine is ours
for AVX2, on Windows (under Wine elsewhere), with weights of the full width; prompts are evaluated in chunks of 256, as
the server does, with two layers. Copies of files hold random bytes in place of their own: equal ones would cost the
compressor nothing. The matrix is read and checked, not built. Nothing here is compared, so no row has a ratio.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "payload")]

from bench.engine import OURS, Engine, StartWindows, our_start, prepare_engines, windows  # noqa: E402
from bench.result import Row, finish, not_measured  # noqa: E402
from bench.tools import Missing, finished_archive, need_windows  # noqa: E402
from bundle.archive.write import write_archive  # noqa: E402
from bundle.model.random_model import SHAPES, write_random_model  # noqa: E402
from bundle.recipe.recipe import read_recipe  # noqa: E402
from bundle.release.matrix import NO_MODEL, read_matrix  # noqa: E402
from tests.support.wine import extract  # noqa: E402

Growth = list[tuple[float, list[float]]]
"""Size -> seconds, one a round, in growing order."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the models are written (4 GB)")
    options = parser.parse_args()
    try:
        need_windows()
    except Missing as error:
        return finish([not_measured("growth", "", str(error))])
    quick, rounds = options.quick, options.rounds
    growths: dict[str, Growth] = {}
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="bench-scale-") as temporary:
        place = Path(temporary)
        with windows() as start:
            folder = prepare_engines(place)[OURS]
            growths |= model_sizes(place, folder, start, (1, 2, 4) if quick else (4, 7, 14, 28), rounds)
            lengths = (64, 256, 1024) if quick else (64, 256, 1024, 2048, 4096)
            growths |= prompt_lengths(place, folder, start, lengths, rounds)
        growths |= file_counts(place, "app/packages" if quick else ".", (1, 3) if quick else (1, 10), rounds)
        growths |= matrix_sizes(place, rounds)
    rows = []
    for name, growth in growths.items():
        rows += [Row(f"{name}: {size:g}", "", "s", seconds, []) for size, seconds in growth]
        rows.append(Row(f"{name}: exponent of the last step", "", "", [exponent(growth)], []))
    return finish(rows, {"growth": growths})


def exponent(growth: Growth) -> float:
    """1 where the time grows as the size does, 2 where it grows with its square."""
    (size, seconds), (larger, longer) = growth[-2:]
    return math.log(statistics.median(longer) / statistics.median(seconds)) / math.log(larger / size)


@contextmanager
def engine_with(place: Path, folder: Path, start: StartWindows, layers: int) -> Iterator[Callable[..., float]]:
    """Load a model of ``layers``; give what orders a speed, in tokens per second."""
    model = place / f"{layers}-layers.bin"
    SHAPES["bench"] = replace(SHAPES["full"], num_layers=layers)
    write_random_model(model, "bench")
    engine = Engine(our_start(start, place, folder, model, os.cpu_count() or 2))

    def speed(name: str, *numbers: int) -> float:
        result = engine.order(name, *numbers)
        if not isinstance(result, float):
            raise RuntimeError(f"the engine refused {name} {numbers}: {result}")
        return result

    try:
        yield speed
    finally:
        engine.close()
        model.unlink()


def model_sizes(
    place: Path, folder: Path, start: StartWindows, layers: Sequence[int], rounds: int
) -> dict[str, Growth]:
    """A prompt of 256 tokens, and 16 tokens of an answer, by the number of layers."""
    prompts: Growth = []
    decodes: Growth = []
    for count in layers:
        with engine_with(place, folder, start, count) as speed:
            prompts.append((count, [256 / speed("prompt", 256, 0) for _ in range(rounds)]))
            decodes.append((count, [16 / speed("decode", 16) for _ in range(rounds)]))
    return {"prompt of 256 tokens, by layers": prompts, "16 tokens of an answer, by layers": decodes}


def prompt_lengths(
    place: Path, folder: Path, start: StartWindows, lengths: Sequence[int], rounds: int
) -> dict[str, Growth]:
    """Prompts in chunks of 256 as the server evaluates them, two layers."""
    with engine_with(place, folder, start, 2) as speed:
        growth: Growth = [(n, [n / speed("prompt", n, 256) for _ in range(rounds)]) for n in lengths]
    return {"prompt with two layers, by tokens": growth}


def file_counts(place: Path, folder: str, times: Sequence[int], rounds: int) -> dict[str, Growth]:
    """Writing and checking the archive, by how often the files of the bundle's ``folder`` are in it."""
    tree = extract(finished_archive(), place / "files") / folder
    original = place / "original"
    shutil.copytree(tree, original)
    draw = random.Random(1)
    growth: Growth = []
    copies = 1
    for wanted in times:
        while copies < wanted:
            for file in original.rglob("*"):
                if file.is_file():
                    copy = tree / f"copy{copies}" / file.relative_to(original)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    copy.write_bytes(draw.randbytes(file.stat().st_size))
            copies += 1
        count = sum(path.is_file() for path in tree.rglob("*"))
        seconds = []
        for _ in range(rounds):
            began = time.monotonic()
            write_archive(tree, place / "scale.7z")
            seconds.append(time.monotonic() - began)
        growth.append((count, seconds))
    return {"archive, by files": growth}


def matrix_sizes(place: Path, rounds: int) -> dict[str, Growth]:
    """Reading and checking a matrix, by the number of bundles in it."""
    recipe = read_recipe("chatglm3")
    pythons, models = list(recipe.python.versions), [NO_MODEL, *(model.id for model in recipe.models)]
    growth: Growth = []
    for some_pythons, some_models in ((pythons[:1], models[:1]), (pythons, models[:1]), (pythons, models)):
        lists = {"recipe": ["chatglm3"], "python": some_pythons, "wheel": ["release", "compile"], "model": some_models}
        path = place / "matrix.toml"
        # A JSON list of plain strings is a TOML list too.
        path.write_text("format = 1\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in lists.items()))
        seconds = []
        for _ in range(rounds):
            began = time.monotonic()
            entries = read_matrix(path)
            seconds.append(time.monotonic() - began)
        growth.append((len(entries), seconds))
    return {"reading the matrix, by bundles": growth}


if __name__ == "__main__":
    sys.exit(main())
