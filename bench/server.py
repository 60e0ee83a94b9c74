"""Our server against the engine's own ``chatglm_cpp.openai_api``, on the same engine and model.

``python bench/server.py [--quick] [--turns 6]``: a growing conversation, about 45 new tokens a turn, greedy, streamed.
Measured per turn: seconds to the first text (ratio ours/theirs; at most 0.3 from turn 3 on) and tokens per second after
it (ratio at least 0.98); then how many requests of a list each server survives. Default: the exact shape of
ChatGLM3-6B q4_0 with random weights (3.5 GB, written to a temporary folder); --layers 4: fewer of its 28 layers;
--quick: a small shape, for trying out. ``--archive FILE`` runs both under Wine out of a finished archive, with its
Python and engine; without it both run on the engine compiled for this machine. Prints JSON (also to ``--json FILE``);
exit code 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "payload")]

import requests  # noqa: E402

from bench.startup import make_tutorial, workplace  # noqa: E402
from bundle.shape_test import SHAPES, write_random_model  # noqa: E402
from oneclick.model_file import read_header, read_tokenizer  # noqa: E402
from oneclick.server.chat_request import parse_chat  # noqa: E402
from oneclick.server.prompt import Answers, Limits, build_chat  # noqa: E402
from oneclick.server.tokenizer import ChatTokenizer  # noqa: E402
from tests.support.native_engine import native_engine  # noqa: E402
from tests.support.server_processes import our_server, upstream_server, wait_until_ready  # noqa: E402

ANSWER_TOKENS = 24
Messages = list[dict[str, str]]
Start = Callable[[Path], AbstractContextManager[str]]
"""Starts a server with a model file and gives its address."""
FIRST_GOAL, FIRST_GOAL_FROM, DECODE_GOAL = 0.3, 3, 0.98

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


def our_turns(url: str, turns: int) -> tuple[list[dict[str, float]], list[Messages]]:
    """Hold the conversation; return figures, and the messages of each turn."""
    messages: Messages = []
    figures, asked = [], []
    for turn in range(turns):
        messages.append({"role": "user", "content": question(turn)})
        asked.append(list(messages))
        answer, first_s, rate = ask(url, messages, ANSWER_TOKENS)
        figures.append({"first_s": first_s, "tokens_per_s": rate})
        messages.append({"role": "assistant", "content": answer})
    return figures, asked


def prompt_tokens(model: Path, asked: list[Messages]) -> list[int]:
    """Return how long each prompt is when its text is encoded, as theirs does. (Ours knows its answers' own tokens.)"""
    header = read_header(model)
    tokenizer = ChatTokenizer(read_tokenizer(model), header.eos_token_id)
    limits = Limits(header.sequence_length, header.sequence_length, 1)
    chats = [parse_chat({"messages": messages}) for messages in asked]
    return [len(build_chat(chat, tokenizer, Answers(), limits).ids) for chat in chats]


def their_turns(url: str, asked: list[Messages], tokens: list[int]) -> list[dict[str, float]]:
    """Ask the same; their ``max_tokens`` counts the prompt too, of which they keep 512 tokens."""
    figures = []
    for messages, count in zip(asked, tokens, strict=True):
        _, first_s, rate = ask(url, messages, min(count, 512) + ANSWER_TOKENS)
        figures.append({"first_s": first_s, "tokens_per_s": rate})
    return figures


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
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", 0))
                    port = probe.getsockname()[1]
                program = prefix.double_click(folder / bat, *options(port))
                try:
                    wait_until_ready(f"http://127.0.0.1:{port}", program.process)
                    yield f"http://127.0.0.1:{port}"
                finally:
                    while prefix.pids_of("python.exe"):
                        prefix.kill("python.exe")
                        time.sleep(0.1)
                    program.close()

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


def compare(ours: Start, theirs: Start, model: Path, turns: int) -> tuple[list[dict[str, float]], dict[str, float]]:
    """Return the figures of each turn and of decoding."""
    with ours(model) as url:
        mine, asked = our_turns(url, turns)
    tokens = prompt_tokens(model, asked)
    with theirs(model) as url:
        others = their_turns(url, asked, tokens)
    rows = [
        {
            "turn": index + 1,
            "prompt_tokens": tokens[index],
            "ours_first_s": round(one["first_s"], 3),
            "theirs_first_s": round(other["first_s"], 3),
            "first_ratio": round(one["first_s"] / other["first_s"], 3),
        }
        for index, (one, other) in enumerate(zip(mine, others, strict=True))
    ]
    rates = [statistics.median(figure["tokens_per_s"] for figure in figures) for figures in (mine, others)]
    return rows, {"ours": round(rates[0], 2), "theirs": round(rates[1], 2), "ratio": round(rates[0] / rates[1], 3)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small shape, one thread")
    parser.add_argument("--layers", type=int, default=SHAPES["full"].num_layers, help="of the full shape")
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    parser.add_argument("--archive", type=Path, help="run out of this archive under Wine")
    options = parser.parse_args()
    pair = wine_pair(options.archive) if options.archive else native_pair(1 if options.quick else 0)
    with tempfile.TemporaryDirectory() as folder, pair as (ours, theirs):
        model, tiny = Path(folder, "model.bin"), Path(folder, "tiny.bin")
        SHAPES["bench"] = replace(SHAPES["full"], num_layers=options.layers)
        write_random_model(model, "small" if options.quick else "bench")
        write_random_model(tiny, "tiny")
        model_mb = model.stat().st_size // 1_000_000
        turns, decode = compare(ours, theirs, model, options.turns)
        model.unlink()
        alive = {"ours": survived(ours, tiny), "theirs": survived(theirs, tiny), "of": len(SURVIVE)}
    late = [turn["first_ratio"] for turn in turns if turn["turn"] >= FIRST_GOAL_FROM]
    reached = max(late) <= FIRST_GOAL and decode["ratio"] >= DECODE_GOAL and alive["ours"] == alive["of"]
    shape = "small" if options.quick else f"ChatGLM3-6B q4_0, {options.layers} layers, {model_mb} MB"
    system = "Wine" if options.archive else sys.platform
    result = {"model": shape, "system": system, "turns": turns, "decode_tokens_per_s": decode, "survived": alive}
    text = json.dumps({**result, "reached": reached}, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
