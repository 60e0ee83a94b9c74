"""The adapter on a later release of the engine: other template calls, other arguments, the same answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.payload.conftest import LiveServer, StartServer
from tests.payload.engine.worker_client import WorkerClient
from tests.support.native_engine import native_engine

VERSION = "0.3.4"
"""Compiled in a minute and a half on two cores; ``ENGINES=0.4.2`` (see conftest.py) runs all tests on the latest one,
whose sources compile four times as long."""
HELLO = [{"role": "user", "content": "你好"}]


@pytest.fixture(scope="module")
def later(models: Callable[..., Path], module_server: StartServer) -> LiveServer:
    return module_server(models("tiny"), native_engine(VERSION, patched=False))


def test_it_loads_and_says_its_version(later: LiveServer) -> None:
    facts = later.runtime.engine
    assert facts is not None
    assert (facts.version, facts.chunked, facts.features) == (VERSION, False, ())
    assert facts.single_call_tokens == 2048


def test_it_chats_as_the_release_we_ship(later: LiveServer, released_engine: Path, models: Callable[..., Path]) -> None:
    ids = list(range(300, 340))
    with (
        WorkerClient(models("tiny"), released_engine) as older,
        WorkerClient(models("tiny"), native_engine(VERSION, patched=False)) as newer,
    ):
        assert newer.generate(ids, 12).tokens == older.generate(ids, 12).tokens
    assert later.answer(HELLO, max_tokens=5)["usage"]["completion_tokens"] == 5


def test_sampling_takes_its_settings(later: LiveServer) -> None:
    answers = {
        later.chat("你好", max_tokens=12, temperature=1.9, top_p=1).json()["choices"][0]["message"]["content"]
        for _ in range(4)
    }
    assert len(answers) > 1
