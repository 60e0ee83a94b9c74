"""What a promised form costs: a token with a JSON schema against one without, on the real vocabulary's size.

    python bench/structured.py            2000 tokens a round, 5 rounds; about a minute
    python bench/structured.py --quick    400 tokens, 2 rounds
    python bench/structured.py --rounds N so many rounds

The model has 65 024 ids as ChatGLM3 has (64 789 pieces, random) and one thin layer, so that the form is measured, and
the drawing, not the weights. Both kinds take turns in one process, sampled with temperature 0.8 and top_p 0.8. "first"
is what the first form costs once: the library, and its picture of the vocabulary. The archive's share is the library
packed as the archive packs it. Goals: 2 ms a token, 2 MB. Exit code 1 where one is missed.
"""

from __future__ import annotations

import argparse
import lzma
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "payload")]

from bench.result import Row, finish  # noqa: E402
from bench.tools import finished_archive  # noqa: E402
from bundle.model import random_model  # noqa: E402
from tests.support.native_engine import native_engine  # noqa: E402
from tests.support.wine import extract  # noqa: E402

SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}},
    "required": ["title", "tags"],
    "additionalProperties": False,
}
WIDE = random_model.Shape(64, 4, 2, 1, 128, vocab_size=65024, pieces=64789, tokenizer_bytes=1_018_370)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=0, help="default 5, with --quick 2")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-structured-") as temporary:
        rows = measure(Path(temporary), 400 if options.quick else 2000, options.rounds or (2 if options.quick else 5))
        rows.append(archive_share(Path(temporary)))
    return finish(rows)


def measure(folder: Path, tokens: int, rounds: int) -> list[Row]:
    """Time ``tokens`` tokens of each kind in each of ``rounds`` rounds."""
    from oneclick.engine.constraint import Vocabulary
    from oneclick.engine.engine import Engine, import_engine
    from oneclick.engine.sampling import Sampling
    from oneclick.model.header import read_header
    from oneclick.server.chat.grammar import asked_grammar

    random_model.SHAPES["wide"] = WIDE
    model = folder / "wide.bin"
    random_model.write_random_model(model, "wide", speech="any")
    header = read_header(model)
    engine = Engine(import_engine(str(native_engine(patched=True)), []), str(model), 1)
    vocabulary = Vocabulary(model, (header.tokenizer_offset, header.tokenizer_length), engine.vocab_size)
    stops = [header.eos_token_id]
    began = time.perf_counter()
    grammar = asked_grammar({"json_schema": SCHEMA})
    vocabulary.constrain(grammar, stops).allowed()
    first_s = time.perf_counter() - began

    def milliseconds(form: str, seed: int) -> float:
        """Return the mean of a token; an answer that ends is begun again."""
        spent, left = 0.0, tokens
        while left:
            sampling = Sampling(greedy=False, temperature=0.8, top_p=0.8, grammar=form, seed=seed + left)
            draw = engine.drawing(sampling, 1, vocabulary.constrain(form, stops) if form else None)
            ids = [300]
            while left and len(ids) < 500:
                began = time.perf_counter()
                drawn = draw(ids, len(ids) - 1)
                spent += time.perf_counter() - began
                left -= 1
                if drawn.last or drawn.token in stops:
                    break
                ids.append(drawn.token)
        return 1000 * spent / tokens

    with_form: list[float] = []
    without: list[float] = []
    for number in range(rounds):
        with_form.append(milliseconds(grammar, 1000 * number))
        without.append(milliseconds("", 1000 * number))
        print(f"  with a schema {with_form[-1]:.3f} ms, without {without[-1]:.3f} ms a token", flush=True)
    overhead = [one - statistics.median(without) for one in with_form]
    return [
        Row("a token, with a schema against without", "without a form", "ms", with_form, without),
        Row("what a schema adds to a token", "", "ms", overhead, [], "<= 2"),
        Row("the first form of a run, once", "", "s", [first_s], []),
    ]


def archive_share(folder: Path) -> Row:
    """Return the bytes that the library takes in the archive: packed alone as the archive packs programs."""
    library = extract(finished_archive(), folder / "archive") / "app" / "packages" / "llguidance"
    filters = [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
    content = b"".join(path.read_bytes() for path in sorted(library.rglob("*")) if path.is_file())
    packed = len(lzma.compress(content, lzma.FORMAT_RAW, filters=filters))
    return Row("the library in the archive", "", "MB", [packed / 1e6], [], "<= 2")


if __name__ == "__main__":
    sys.exit(main())
