"""Ollama's interface: what its own client reads, streams as lines, errors as words."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from oneclick.server.api.ollama import VERSION
from tests.payload.conftest import CONFIG, LiveServer, StartServer, standing_still
from tests.payload.server.chat.test_text import TOKENIZER
from tests.support.clients import write_calling_model

HELLO = [{"role": "user", "content": "你好"}]
GREEDY = {"temperature": 0, "num_predict": 6}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


@pytest.fixture(scope="module")
def calling(our_engine: Path, tmp_path_factory: pytest.TempPathFactory, module_server: StartServer) -> LiveServer:
    """Its model calls the tool ``f``."""
    path = tmp_path_factory.mktemp("scripted") / "calls.bin"
    write_calling_model(path, TOKENIZER)
    return module_server(path, our_engine, CONFIG)


def lines(response: requests.Response) -> list[dict[str, Any]]:
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.content.decode().splitlines()]


def expected(server: LiveServer, messages: list[dict[str, Any]] = HELLO) -> str:
    text: str = server.answer(messages, max_tokens=6)["choices"][0]["message"]["content"]
    return text


def test_a_chat_says_what_openais_door_says(our_server: LiveServer) -> None:
    body = {"model": "chatglm3-6b", "messages": HELLO, "options": GREEDY, "stream": False}
    answer = our_server.post("/api/chat", body).json()
    assert answer["message"] == {"role": "assistant", "content": expected(our_server)}
    assert (answer["model"], answer["done"], answer["done_reason"]) == ("chatglm3-6b", True, "length")
    assert answer["eval_count"] == 6
    assert answer["prompt_eval_count"] > 0
    assert answer["total_duration"] >= answer["eval_duration"] > 0


def test_a_chat_streams_unless_told_otherwise(our_server: LiveServer) -> None:
    *parts, last = lines(our_server.post("/api/chat", {"model": "x", "messages": HELLO, "options": GREEDY}))
    assert "".join(part["message"]["content"] for part in parts) == expected(our_server)
    assert len(parts) > 2
    assert not any(part["done"] for part in parts)
    assert (last["done"], last["message"]["content"], last["eval_count"]) == (True, "", 6)


@pytest.mark.parametrize("stream", [True, False])
def test_a_prompt_is_answered(our_server: LiveServer, stream: bool) -> None:
    body = {"prompt": "你好", "system": "简短", "options": GREEDY, "stream": stream}
    response = our_server.post("/api/generate", body)
    answers = lines(response) if stream else [response.json()]
    told = "".join(answer["response"] for answer in answers)
    assert told == expected(our_server, [{"role": "system", "content": "简短"}, *HELLO])


def test_a_raw_prompt_has_no_roles(our_server: LiveServer) -> None:
    raw = our_server.post("/api/generate", {"prompt": "从前", "raw": True, "options": GREEDY, "stream": False}).json()
    plain = our_server.post("/v1/completions", {"prompt": "从前", "temperature": 0, "max_tokens": 6}).json()
    assert raw["response"] == plain["choices"][0]["text"]


@pytest.mark.parametrize("stream", [True, False])
def test_a_tool_is_called_with_an_object(calling: LiveServer, stream: bool) -> None:
    body = {"model": "x", "messages": HELLO, "tools": TOOLS, "options": {"temperature": 0}, "stream": stream}
    response = calling.post("/api/chat", body)
    answer = lines(response)[0] if stream else response.json()
    (call,) = answer["message"]["tool_calls"]
    assert (call["function"]["name"], call["function"]["arguments"]) == ("f", {"a": 1})


def test_the_history_of_a_tool_is_understood(our_server: LiveServer) -> None:
    called = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}
    messages = [*HELLO, called, {"role": "tool", "tool_name": "f", "content": "晴"}]
    body = {"model": "x", "messages": messages, "tools": TOOLS, "options": GREEDY, "stream": False}
    assert our_server.post("/api/chat", body).json()["message"]["content"]


def test_the_model_is_listed_shown_and_running(our_server: LiveServer) -> None:
    def get(path: str) -> Any:
        return requests.get(our_server.url + path, timeout=10).json()

    assert get("/api/version") == {"version": VERSION}
    (model,) = get("/api/tags")["models"]
    assert model["name"] == model["model"] == "chatglm3-6b:latest"
    assert model["size"] == our_server.runtime.model_size > 100_000
    assert model["details"]["quantization_level"] == "Q4_0"
    (running,) = get("/api/ps")["models"]
    assert (running["name"], running["context_length"]) == (model["name"], 8192)
    shown = our_server.post("/api/show", {"model": model["name"]}).json()
    assert shown["capabilities"] == ["completion", "tools"]
    assert shown["model_info"]["chatglm.context_length"] == 8192


def test_without_a_model_none_is_listed(start_server: StartServer) -> None:
    server = start_server(None)
    for path in ("/api/tags", "/api/ps"):
        assert requests.get(server.url + path, timeout=10).json() == {"models": []}
    response = server.post("/api/chat", {"messages": HELLO})
    assert response.status_code == 503
    assert isinstance(response.json()["error"], str)


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        ("/api/chat", {}, "load"),
        ("/api/chat", {"messages": []}, "load"),
        ("/api/generate", {"prompt": ""}, "load"),
        ("/api/generate", {"keep_alive": 0}, "unload"),
    ],
)
def test_who_asks_nothing_means_to_load(our_server: LiveServer, path: str, body: Any, reason: str) -> None:
    answer = our_server.post(path, body).json()
    assert (answer["done"], answer["done_reason"]) == (True, reason)


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/api/chat", {"format": {"not": {}}}),
        ("/api/chat", {"think": True}),
        ("/api/chat", {"messages": [{"role": "user", "content": "看", "images": ["aGk="]}]}),
        ("/api/chat", {"options": {"mirostat": 2}}),
        ("/api/chat", {"options": {"temperature": "hot"}}),
        ("/api/chat", {"options": 5}),
        ("/api/chat", {"model": 5}),
        ("/api/chat", {"model": "x" * 257, "messages": []}),
        ("/api/generate", {"images": ["aGk="]}),
        ("/api/generate", {"suffix": "end"}),
        ("/api/generate", {"context": [1, 2]}),
        ("/api/generate", {"template": "x"}),
        ("/api/generate", {"prompt": 5}),
    ],
)
def test_what_is_not_done_is_refused_in_words(our_server: LiveServer, path: str, more: dict[str, Any]) -> None:
    response = our_server.post(path, {"messages": HELLO, "prompt": "hi", "options": GREEDY, **more})
    assert response.status_code == 400
    assert "\n" in response.json()["error"]


def test_what_changes_no_answer_is_ignored(our_server: LiveServer) -> None:
    options = {**GREEDY, "num_ctx": 4096, "mirostat": 0, "tfs_z": 1, "num_gpu": 0, "stop": ["never"]}
    body = {"messages": HELLO, "options": options, "keep_alive": "5m", "think": False, "format": "", "stream": False}
    assert our_server.post("/api/chat", body).json()["message"]["content"] == expected(our_server)


@pytest.mark.parametrize("path", ["/api/embed", "/api/embeddings", "/api/pull", "/api/create", "/api/blobs/sha256:x"])
def test_other_addresses_name_what_to_use(our_server: LiveServer, path: str) -> None:
    response = our_server.post(path, {"model": "llama3"})
    assert response.status_code == 404
    assert "/v1/chat/completions" in response.json()["error"]


def test_who_may_not_ask_reads_why(our_server: LiveServer) -> None:
    response = our_server.post("/api/chat", {"messages": HELLO}, headers={"Origin": "https://example.com"})
    assert response.status_code == 403
    assert "https://example.com" in response.json()["error"]


def test_an_unknown_model_is_not_shown(our_server: LiveServer) -> None:
    response = our_server.post("/api/show", {"model": "llama3"})
    assert response.status_code == 404
    assert "llama3" in response.json()["error"]


def test_silence_is_white_space_before_the_next_line(our_engine: Path, models: Any, start_server: StartServer) -> None:
    server = start_server(models("tiny"), our_engine, replace(CONFIG, keep_alive_s=0.1))
    body = {"messages": HELLO, "options": GREEDY}
    with standing_still(server.runtime.worker_pid):
        response = requests.post(server.url + "/api/chat", json=body, stream=True, timeout=60)
        came = response.iter_content(1)
        assert next(came) == b" "
    first, *_, last = b"".join(came).decode().splitlines()
    assert json.loads(first)["message"]["content"]
    assert json.loads(last)["done"]


def test_a_failure_in_a_stream_is_a_line(our_server: LiveServer) -> None:
    body = {"messages": HELLO, "options": {"temperature": 0, "num_predict": 8000}}
    with requests.post(our_server.url + "/api/chat", json=body, stream=True, timeout=60) as response:
        came = response.iter_lines()
        next(came)
        assert our_server.runtime.worker_pid is not None
        os.kill(our_server.runtime.worker_pid, signal.SIGKILL)
        *_, last = came
    assert set(json.loads(last)) == {"error"}
    our_server.wait_ready()
