"""Other people's clients and the inputs that end the engine, through the finished archive on Windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests

from bundle.model.random_model import write_random_model
from tests.e2e.conftest import MakeBundle
from tests.payload.server.chat.test_text import TOKENIZER
from tests.support.clients import run_node_clients, run_openai_tests, write_calling_model

pytestmark = pytest.mark.wine


def test_openais_own_python_tests_pass(make_bundle: MakeBundle, tmp_path: Path) -> None:
    # A short context, so that answers without max_tokens stay short.
    model = tmp_path / "short.bin"
    write_random_model(model, "tiny", sequence_length=128)
    with make_bundle(model=model).running("--port", "0", "--threads", "1") as running:
        assert "75 passed" in run_openai_tests(running.url)


def test_the_javascript_clients_chat_and_call_tools(make_bundle: MakeBundle, tmp_path: Path) -> None:
    model = tmp_path / "calls.bin"
    write_calling_model(model, TOKENIZER)
    chatting, calling = make_bundle("聊天"), make_bundle("工具", windows="english_windows", model=model)
    with chatting.running("--port", "0", "--threads", "1") as one, calling.running("--port", "0") as other:
        seen = run_node_clients(one.url, other.url)
    for provider in ("openai", "compatible"):
        assert seen[f"{provider} text"]["error"] is None
        assert seen[f"{provider} text"]["text"] == seen[f"{provider} whole"] == seen["node whole"]
        assert seen[f"{provider} tools"]["calls"] == [{"name": "f", "input": {"a": 1}}]
        assert seen[f"{provider} tool history"]["error"] is None
        assert seen[f"{provider} image"]["status"] == 400
        assert "内容太长" in seen[f"{provider} too long"]["error"]


def test_the_crash_table_is_survived(make_bundle: MakeBundle) -> None:
    hello = [{"role": "user", "content": "你好"}]
    bodies: list[dict[str, Any]] = [
        {"messages": hello, "max_tokens": 1},
        {"messages": hello, "max_tokens": 0, "stop": "的"},
        {"messages": [{"role": "user", "content": "天" * 5000}], "max_tokens": 3},
        {"messages": [{"role": "user", "content": "天" * 8100}], "max_tokens": 8191},
        {"messages": [{"role": "user", "content": "天" * 9000}], "max_tokens": 3},
        {"messages": [{"role": "tool", "content": "\x00"}], "max_tokens": 3},
        {"messages": [{"role": "user", "content": "\ud83d"}], "max_tokens": 3},
        {"messages": hello, "temperature": 1e-39, "max_tokens": 3},
        {"messages": hello, "top_p": 0, "max_tokens": 3},
        {"messages": hello, "repetition_penalty": 0, "max_tokens": 3},
    ]
    with make_bundle("我的 软件").running("--port", "0", "--threads", "1") as running:
        pid = running.get("/status")["worker"]["pid"]
        for body in bodies:
            answer = requests.post(running.url + "/v1/chat/completions", json=body, timeout=120)
            assert answer.status_code in (200, 400)
            assert running.chat("你好")["choices"]
        assert running.get("/status")["worker"]["pid"] == pid
