"""Other people's clients and the inputs that end the engine, through the finished archive on Windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests

from bundle.model.random_model import write_random_model
from tests.e2e.conftest import MakeBundle
from tests.payload.server.chat.test_text import TOKENIZER
from tests.support.clients import run_node_clients, run_openai_tests, run_python_clients, write_calling_model

pytestmark = pytest.mark.wine


def test_openais_own_python_tests_pass(make_bundle: MakeBundle, tmp_path: Path) -> None:
    # A short context, so that answers without max_tokens stay short.
    model = tmp_path / "short.bin"
    write_random_model(model, "tiny", sequence_length=128)
    with make_bundle(model=model).running("--port", "0", "--threads", "1") as running:
        assert "75 passed" in run_openai_tests(running.url)


def test_the_clients_chat_and_call_tools(make_bundle: MakeBundle, tmp_path: Path) -> None:
    model = tmp_path / "calls.bin"
    write_calling_model(model, TOKENIZER)
    chatting, calling = make_bundle("聊天"), make_bundle("工具", windows="english_windows", model=model)
    with chatting.running("--port", "0", "--threads", "1") as one, calling.running("--port", "0") as other:
        seen, python = run_node_clients(one.url, other.url), run_python_clients(one.url, other.url)
    for provider in ("openai", "responses", "compatible"):
        assert seen[f"{provider} text"]["error"] is None
        assert seen[f"{provider} text"]["text"] == seen[f"{provider} whole"] == seen["node whole"]
        assert seen[f"{provider} tools"]["calls"] == [{"name": "f", "input": {"a": 1}}]
        assert seen[f"{provider} tool history"]["error"] is None
        assert seen[f"{provider} image"]["status"] == 400
        assert "内容太长" in seen[f"{provider} too long"]["error"]
    greeting = seen["node whole"]
    assert greeting == seen["node response"] == seen["node response stream"]
    assert greeting == seen["ollama whole"] == seen["ollama text"] == python["ollama generate"]
    for name in ("langchain-openai", "langchain-openai responses", "langchain-ollama"):
        assert python[f"{name} whole"] == python[f"{name} stream"] == greeting
        assert python[f"{name} tool"] == [["f", {"a": 1}]]
    for name in ("litellm openai", "litellm ollama_chat", "ollama"):
        assert python[f"{name} whole"] == python[f"{name} stream"] == greeting
    assert python["pydantic-ai chat"] == python["pydantic-ai responses"] == greeting


def test_bytes_as_chinese_windows_sends_them_are_understood(make_bundle: MakeBundle) -> None:
    text = '{"messages": [{"role": "user", "content": "你好"}], "max_tokens": 1}'
    with make_bundle().running("--port", "0", "--threads", "1") as running:

        def ask(body: bytes, content_type: str = "application/json") -> requests.Response:
            url = running.url + "/v1/chat/completions"
            return requests.post(url, data=body, headers={"Content-Type": content_type}, timeout=60)

        told = {
            ask(text.encode(encoding), content_type).json()["usage"]["prompt_tokens"]
            for encoding in ("utf-8", "utf-8-sig", "gbk", "gb18030", "utf-16", "utf-16-le")
            for content_type in ("application/json", "application/json; charset=utf-8", "text/plain")
        }
        assert len(told) == 1
        lost = ask(text.replace("你好", "??").encode())
        assert lost.status_code == 400
        assert "UTF-8" in lost.json()["error"]["message"]
        assert lost.headers["content-type"] == "application/json; charset=utf-8"


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
