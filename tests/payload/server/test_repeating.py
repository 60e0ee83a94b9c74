"""An answer that says the same again and again ends, unless the settings or a promised form say otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.payload.conftest import CONFIG, LiveServer, StartServer
from tests.payload.server.test_api import HELLO, chunks, text_of


def pushed(server: LiveServer) -> dict[str, Any]:
    """Return a request whose answer is one character, for ever."""
    (token,) = server.post("/tokenize", {"content": "的"}).json()["tokens"][-1:]
    return {"messages": HELLO, "temperature": 0, "logit_bias": {str(token): 100}, "max_tokens": 3000}


@pytest.mark.parametrize("stream", [False, True])
def test_a_loop_is_ended_and_told(our_server: LiveServer, stream: bool) -> None:
    response = our_server.post("/v1/chat/completions", {**pushed(our_server), "stream": stream})
    parts = chunks(response) if stream else [response.json()]
    last = parts[-1]
    assert last["x_oneclick"]["repeating"] is True
    assert last["choices"][0]["finish_reason"] == "stop"
    said = text_of(parts) if stream else last["choices"][0]["message"]["content"]
    assert 300 <= said.count("的") < 400
    assert our_server.answer(HELLO, max_tokens=4)["x_oneclick"]["repeating"] is False


def test_a_plain_completion_and_a_form_may_repeat(our_server: LiveServer) -> None:
    body = {**pushed(our_server), "max_tokens": 700}
    plain = our_server.post("/v1/completions", {**body, "prompt": "从前"}).json()
    assert plain["usage"]["completion_tokens"] == 700
    formed = our_server.post("/v1/chat/completions", {**body, "json_schema": {"type": "string"}}).json()
    assert formed["choices"][0]["finish_reason"] == "length"


def test_the_settings_turn_it_off(our_engine: Path, models: Callable[..., Path], start_server: StartServer) -> None:
    server = start_server(models("tiny"), our_engine, replace(CONFIG, stop_repetition=False))
    body = {**pushed(server), "max_tokens": 700}
    assert server.post("/v1/chat/completions", body).json()["usage"]["completion_tokens"] == 700
