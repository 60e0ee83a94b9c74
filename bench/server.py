"""Our server against the engine's own ``chatglm_cpp.openai_api`` on the same engine and model, and llama.cpp's server.

``python bench/server.py [--quick] [--turns 6] [--rounds 1]``: a growing conversation, about 59 new tokens a turn,
greedy, streamed, measures the seconds to the first text (ratio ours/theirs; at most 0.3 from turn 3 on); one question,
asked 30 times, the tokens per second after it (ratio at least 0.98). Both servers are loaded and asked in turns, as the
speed of a machine drifts by more than they differ. Then: how many requests of a list each survives. Default: the exact
shape of ChatGLM3-6B q4_0 with random weights (3.5 GB, written to a temporary folder; 7 minutes); --layers 4: fewer of
its 28 layers; --quick: two. Ours and upstream's run under Wine out of dist/ChatGLM3_cpp.7z (``--archive
FILE``: another) with its Python and engine; ``--native``: on the engine compiled for this machine.

llama.cpp's server runs natively on a model of the same sizes and is given prompts of as many tokens, as numbers, each
one the prompt before, its answer and new ones; it keeps the prefix, as ours does. Exit code 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "payload")]

import requests  # noqa: E402

from bench.result import Row, finish, not_measured  # noqa: E402
from bench.startup import end_all, make_tutorial, workplace  # noqa: E402
from bench.tools import LLAMA_PACKAGES, PEERS, Missing, environment, finished_archive, need_windows  # noqa: E402
from bundle.model.random_model import SHAPES, write_random_model  # noqa: E402
from oneclick.model.check import read_tokenizer  # noqa: E402
from oneclick.model.header import read_header  # noqa: E402
from oneclick.server.chat.prompt import Answers, Limits, build_chat  # noqa: E402
from oneclick.server.chat.request import parse_chat  # noqa: E402
from oneclick.server.chat.tokenizer import ChatTokenizer  # noqa: E402
from tests.support.native_engine import native_engine  # noqa: E402
from tests.support.server_processes import our_server, upstream_server, wait_until_ready  # noqa: E402
from tests.support.wine import free_port  # noqa: E402

ANSWER_TOKENS = 24
Messages = list[dict[str, str]]
Start = Callable[[Path], AbstractContextManager[str]]
"""Starts a server with a model file and gives its address."""
UPSTREAM, LLAMA = "chatglm_cpp.openai_api", "llama.cpp's server"
FIRST_GOAL, FIRST_GOAL_FROM, DECODE_GOAL = 0.3, 3, 0.98


@dataclass
class Figures:
    """What one server did in all rounds."""

    first_s: list[list[float]] = field(default_factory=list)
    """Seconds to the first text, by turn, of each conversation."""
    tokens_per_s: list[float] = field(default_factory=list)


SURVIVE: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1},
    {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 0},
    {"messages": [], "max_tokens": 40},
    {"messages": [{"role": "tool", "content": "hi"}], "max_tokens": 40},
    {"messages": [{"role": "user", "content": "\ud83d"}], "max_tokens": 40},
    {"messages": [{"role": "user", "content": None}], "max_tokens": 40},
    {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 100_000},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}], "max_tokens": 40},
]


def question(turn: int) -> str:
    return f"第 {turn} 个 问题：今天 天气 很 好，我们 可以 一起 学习 什么 呢？"


def ask(url: str, messages: Messages, max_tokens: int) -> tuple[str, float, float]:
    """Return (answer, seconds to its first text, tokens per second after it).

    Every answer is as long as it may be, as the model never says a stop token. Tokens are not counted by events: theirs
    holds text back now and then and sends two tokens at once.
    """
    body = {"messages": messages, "max_tokens": max_tokens, "temperature": 0, "stream": True}
    began = time.monotonic()
    texts, times = [], []
    with requests.post(f"{url}/v1/chat/completions", json=body, stream=True, timeout=1200) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if not line.startswith(b"data: {"):
                continue
            choices = json.loads(line[6:])["choices"]
            text = choices[0]["delta"].get("content") if choices else None
            if text:
                texts.append(text)
                times.append(time.monotonic())
    rate = (ANSWER_TOKENS - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0
    return "".join(texts), times[0] - began, rate


def prompt_tokens(model: Path) -> Callable[[Messages], int]:
    """What counts a prompt's tokens when its text is encoded, as theirs does. (Ours knows its answers' own tokens.)"""
    header = read_header(model)
    tokenizer = ChatTokenizer(read_tokenizer(model), header.eos_token_id)
    limits = Limits(header.sequence_length, header.sequence_length, 1)

    def count(messages: Messages) -> int:
        return len(build_chat(parse_chat({"messages": messages}), tokenizer, Answers(), limits).ids)

    return count


def llama_turns(url: str, tokens: list[int], figures: Figures) -> None:
    """Hold a conversation of as many tokens with llama.cpp's server; add it to ``figures``."""
    draw = random.Random(1)
    ids: list[int] = []
    figures.first_s.append([])
    for count in tokens:
        ids += [draw.randrange(300, 65000) for _ in range(count - len(ids))]
        body = {"prompt": ids, "n_predict": ANSWER_TOKENS, "stream": True, "cache_prompt": True, "temperature": 0}
        body |= {"ignore_eos": True, "return_tokens": True}
        began = time.monotonic()
        times: list[float] = []
        answer: list[int] = []
        with requests.post(f"{url}/completion", json=body, stream=True, timeout=1200) as response:
            response.raise_for_status()
            for line in response.iter_lines():
                if line.startswith(b"data: {") and (new := json.loads(line[6:]).get("tokens")):
                    times.append(time.monotonic())
                    answer += new
        figures.first_s[-1].append(times[0] - began)
        figures.tokens_per_s.append((len(answer) - 1) / (times[-1] - times[0]))
        ids = ids + answer


@contextmanager
def llama_server(folder: Path, layers: int) -> Iterator[str]:
    """Run llama.cpp's server on a model of ChatGLM3-6B's sizes; give its address. Raises Missing."""
    python, model = environment("llama-cpp", LLAMA_PACKAGES), folder / "model.gguf"
    script = [str(python), str(PEERS / "llama_cpp.py")]
    subprocess.run([*script, "write", str(model), str(layers)], check=True)
    command = [*script, "serve", str(model), str(os.cpu_count() or 2)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        try:
            if not address:
                raise Missing("llama.cpp's server does not start")
            yield address
        finally:
            process.kill()
    model.unlink()


def survived(start: Start, model: Path) -> int:
    """Count the requests of SURVIVE after which the server still chats."""
    count, left = 0, list(SURVIVE)
    while left:
        with start(model) as url:
            while left:
                body = left.pop(0)
                try:
                    requests.post(f"{url}/v1/chat/completions", data=json.dumps(body), timeout=300)
                    hello = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 40}
                    count += requests.post(f"{url}/v1/chat/completions", json=hello, timeout=300).status_code == 200
                except requests.RequestException:
                    break  # it died: start it again for the rest
    return count


@contextmanager
def native_pair(threads: int) -> Iterator[tuple[Start, Start]]:
    """Give the starts of both servers on the engine for this machine."""
    engine = native_engine(patched=True)

    @contextmanager
    def ours(model: Path) -> Iterator[str]:
        with our_server(model, engine, threads) as (port, _):
            yield f"http://127.0.0.1:{port}"

    @contextmanager
    def theirs(model: Path) -> Iterator[str]:
        with upstream_server(model, engine, threads) as (port, _):
            yield f"http://127.0.0.1:{port}"

    yield ours, theirs


@contextmanager
def wine_pair(archive: Path) -> Iterator[tuple[Start, Start]]:
    """Give the starts of both servers under Wine, on the Python and engine of ``archive``."""
    with workplace(archive) as (prefix, our_folder, tiny):
        tutorial = make_tutorial(our_folder, our_folder.parent / "tutorial", tiny)

        def starter(folder: Path, bat: str, options: Callable[[int], list[str]]) -> Start:
            @contextmanager
            def start(model: Path) -> Iterator[str]:
                place = folder / "chatglm3-ggml.bin"
                place.unlink()
                _link_or_copy(model, place)
                port = free_port()
                program = prefix.double_click(folder / bat, *options(port))
                try:
                    wait_until_ready(f"http://127.0.0.1:{port}", program.process)
                    yield f"http://127.0.0.1:{port}"
                finally:
                    end_all(prefix, program)

            return start

        yield (
            starter(our_folder, "一键运行.bat", lambda port: ["--no-browser", "--port", str(port)]),
            starter(tutorial, "run.bat", lambda port: [str(port)]),
        )


def _link_or_copy(source: Path, target: Path) -> None:
    """A link costs neither time nor another 3.5 GB; both servers only read the model."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def compare(ours: Start, theirs: Start, model: Path, turns: int, answers: int) -> tuple[Figures, Figures, list[int]]:
    """Hold one conversation with both, then ask both for ``answers``; return both and each prompt's length in tokens.

    Theirs is asked what ours was; its ``max_tokens`` counts the prompt too, of which it keeps 512 tokens.
    """
    count = prompt_tokens(model)
    messages: Messages = []
    mine, others, tokens = Figures([[]]), Figures([[]]), list[int]()
    with ours(model) as our_url, theirs(model) as their_url:
        for turn in range(turns):
            messages.append({"role": "user", "content": question(turn)})
            tokens.append(count(messages))
            answer, first_s, _ = ask(our_url, messages, ANSWER_TOKENS)
            mine.first_s[0].append(first_s)
            _, first_s, _ = ask(their_url, messages, min(tokens[-1], 512) + ANSWER_TOKENS)
            others.first_s[0].append(first_s)
            messages.append({"role": "assistant", "content": answer})
        sides = [(our_url, 0, mine), (their_url, tokens[0], others)]
        for _ in range(answers):
            sides.reverse()
            for url, prompt, figures in sides:
                figures.tokens_per_s.append(ask(url, messages[:1], prompt + ANSWER_TOKENS)[2])
    return mine, others, tokens


def report(held: dict[str, Figures], tokens: list[int], shape: str, full: bool, why: dict[str, str]) -> list[Row]:
    """The rows: server -> what it did; ``why`` a server was not measured."""

    def first(name: str, turn: int) -> list[float]:
        return [conversation[turn] for conversation in held[name].first_s]

    rows = []
    for name in (UPSTREAM, LLAMA):
        if name in why:
            rows.append(not_measured(f"first token and tokens a second, {shape}", name, why[name]))
            continue
        judged = full and name == UPSTREAM
        for turn, count in enumerate(tokens):
            goal = f"<= {FIRST_GOAL}" if judged and turn + 1 >= FIRST_GOAL_FROM else ""
            what = f"first token of turn {turn + 1} ({count} tokens), {shape}"
            rows.append(Row(what, name, "s", first("ours", turn), first(name, turn), goal))
        goal = f">= {DECODE_GOAL}" if judged else ""
        rates = held["ours"].tokens_per_s, held[name].tokens_per_s
        rows.append(Row(f"tokens a second in the server, {shape}", name, "tokens/s", *rates, goal))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two layers")
    parser.add_argument("--layers", type=int, default=0, help="of the full shape; default 28, with --quick 2")
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--archive", type=Path, help="default: dist/ChatGLM3_cpp.7z, built first")
    parser.add_argument("--native", action="store_true", help="on the engine compiled for this machine, without Wine")
    options = parser.parse_args()
    layers = options.layers or (2 if options.quick else SHAPES["full"].num_layers)
    full = layers == SHAPES["full"].num_layers
    shape = f"{layers} of 28 layers"
    try:
        if not options.native:
            need_windows()
    except Missing as error:
        return finish([not_measured(f"first token and tokens a second, {shape}", UPSTREAM, str(error))])
    pair = native_pair(0) if options.native else wine_pair(options.archive or finished_archive())
    held = {"ours": Figures(), UPSTREAM: Figures(), LLAMA: Figures()}
    why: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="bench-server-") as temporary, pair as (ours, theirs):
        folder = Path(temporary)
        model, tiny = folder / "model.bin", folder / "tiny.bin"
        SHAPES["bench"] = replace(SHAPES["full"], num_layers=layers)
        write_random_model(model, "bench")
        write_random_model(tiny, "tiny")
        tokens: list[int] = []
        for _ in range(options.rounds):
            mine, others, tokens = compare(ours, theirs, model, options.turns, 10 if options.quick else 30)
            for name, figures in (("ours", mine), (UPSTREAM, others)):
                held[name].first_s += figures.first_s
                held[name].tokens_per_s += figures.tokens_per_s
        model.unlink()
        alive = [float(survived(start, tiny)) for start in (ours, theirs)]
        try:
            for _ in range(options.rounds):
                with llama_server(folder, layers) as url:
                    llama_turns(url, tokens, held[LLAMA])
        except Missing as error:
            why[LLAMA] = str(error)
    rows = report(held, tokens, shape, full, why)
    what = f"awkward requests survived, of {len(SURVIVE)}"
    rows.append(Row(what, UPSTREAM, "", alive[:1], alive[1:], note="theirs on our patched engine"))
    rows.append(Row("awkward requests survived", "", "", alive[:1], [], f">= {len(SURVIVE)}"))
    turns = [
        {"turn": turn + 1, "prompt_tokens": count}
        | {name: statistics.median(one[turn] for one in some.first_s) for name, some in held.items() if some.first_s}
        for turn, count in enumerate(tokens)
    ]
    return finish(rows, {"shape": shape, "system": "native" if options.native else "Wine", "turns": turns})


if __name__ == "__main__":
    sys.exit(main())
