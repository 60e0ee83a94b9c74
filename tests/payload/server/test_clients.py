"""Other people's clients and their own tests, against the real server with the real engine."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from oneclick.server.runtime import ServerConfig
from tests.payload.conftest import CONFIG, LiveServer, StartServer
from tests.payload.server.chat.test_text import TOKENIZER
from tests.support.clients import (
    NODE,
    PYTHON_CLIENTS,
    run_node_clients,
    run_openai_tests,
    run_python_clients,
    write_calling_model,
)


@pytest.fixture(scope="module")
def server(our_engine: Path, models: Callable[..., Path], module_server: StartServer) -> LiveServer:
    """Short answers where a client does not say how long."""
    config = ServerConfig(preload=False, threads=1, default_answer=16)
    return module_server(models("tiny"), our_engine, config)


@pytest.fixture(scope="module")
def calling_server(
    our_engine: Path, tmp_path_factory: pytest.TempPathFactory, module_server: StartServer
) -> LiveServer:
    """Its model calls the tool ``f``, whatever it is asked."""
    path = tmp_path_factory.mktemp("scripted") / "calls.bin"
    write_calling_model(path, TOKENIZER)
    return module_server(path, our_engine, CONFIG)


ABORTED_BEFORE = 2000
"""Pieces a client may still see after its abort, as they were under way; the whole answer has 4000."""
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


def ask(server: LiveServer, **more: Any) -> requests.Response:
    return server.chat("调用", temperature=0, **more)


def test_a_tool_call_has_openais_shape(calling_server: LiveServer) -> None:
    (choice,) = ask(calling_server, tools=TOOLS).json()["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    (call,) = choice["message"]["tool_calls"]
    assert call["id"].startswith("call_")
    assert (call["type"], call["function"]) == ("function", {"name": "f", "arguments": '{"a": 1}'})


def test_a_streamed_tool_call_has_index_and_id(calling_server: LiveServer) -> None:
    lines = ask(calling_server, tools=TOOLS, stream=True).text.split("\n\n")
    parts = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    deltas = [part["choices"][0]["delta"] for part in parts]
    assert [list(delta) for delta in deltas] == [["role", "content"], ["tool_calls"], []]
    (call,) = deltas[1]["tool_calls"]
    assert (call["index"], call["type"], call["function"]["name"]) == (0, "function", "f")
    assert parts[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_the_old_functions_field_gets_the_old_answer(calling_server: LiveServer) -> None:
    functions = [tool["function"] for tool in TOOLS]
    (choice,) = ask(calling_server, functions=functions).json()["choices"]
    assert choice["finish_reason"] == "function_call"
    assert choice["message"]["function_call"] == {"name": "f", "arguments": '{"a": 1}'}


@pytest.mark.parametrize("more", [{}, {"tools": TOOLS, "tool_choice": "none"}])
def test_without_tools_the_same_words_are_text(calling_server: LiveServer, more: dict[str, Any]) -> None:
    (choice,) = ask(calling_server, **more).json()["choices"]
    assert choice["message"]["content"] == "f\nf(a=1)"
    assert choice["finish_reason"] == "stop"


def test_openais_own_python_tests_pass(server: LiveServer) -> None:
    assert "75 passed" in run_openai_tests(server.url)


@pytest.fixture(scope="module")
def node(server: LiveServer, calling_server: LiveServer) -> dict[str, Any]:
    """What the JavaScript clients saw."""
    return run_node_clients(server.url, calling_server.url)


@pytest.fixture(scope="module")
def greeting(server: LiveServer) -> str:
    """The greedy answer that every client must show."""
    text: str = server.chat("Hi", temperature=0, max_tokens=12).json()["choices"][0]["message"]["content"]
    return text


@pytest.mark.parametrize("provider", ["openai", "responses", "compatible"])
class TestTheAiSdkProviders:
    """The client code of Chatbox: its built-in provider, "OpenAI (Responses)", and "OpenAI API compatible"."""

    def test_text_streams_with_its_usage(self, node: dict[str, Any], provider: str, greeting: str) -> None:
        seen = node[f"{provider} text"]
        assert (seen["text"], seen["error"], seen["finish"]) == (greeting, None, "length")
        if provider != "compatible":  # the other one does not ask for it
            assert seen["usage"]["outputTokens"] == 12
        assert node[f"{provider} whole"] == greeting

    def test_tools_are_called(self, node: dict[str, Any], provider: str) -> None:
        seen = node[f"{provider} tools"]
        assert seen["error"] is None
        assert seen["calls"] == [{"name": "f", "input": {"a": 1}}]
        assert seen["finish"] == "tool-calls"
        assert node[f"{provider} tools whole"] == {"calls": seen["calls"], "finish": "tool-calls"}

    def test_the_history_of_a_tool_is_understood(self, node: dict[str, Any], provider: str) -> None:
        seen = node[f"{provider} tool history"]
        assert (seen["error"], seen["finish"]) == (None, "length")
        assert seen["text"]

    def test_an_image_is_refused_so_that_chatbox_explains(self, node: dict[str, Any], provider: str) -> None:
        seen = node[f"{provider} image"]
        assert seen["status"] == 400
        assert "Invalid content type. image_url is only supported by certain models." in seen["error"]

    def test_an_error_shows_its_words(self, node: dict[str, Any], provider: str) -> None:
        seen = node[f"{provider} too long"]
        assert seen["status"] == 400
        assert "内容太长" in seen["error"]

    def test_an_abort_is_taken(self, node: dict[str, Any], provider: str) -> None:
        assert 3 <= node[f"{provider} abort"] < ABORTED_BEFORE


def test_openai_node_chats(node: dict[str, Any], greeting: str) -> None:
    assert "gpt-3.5-turbo" in node["node models"]
    assert node["node whole"] == node["node helper"] == node["node text"]["text"] == greeting
    assert node["node text"]["usage"]["completion_tokens"] == 12
    assert 4 <= node["node abort"] < ABORTED_BEFORE


def test_openai_node_reads_responses(node: dict[str, Any], greeting: str) -> None:
    assert node["node response"] == node["node response stream"] == greeting


def test_ollamas_javascript_client_chats(node: dict[str, Any], greeting: str) -> None:
    assert node["ollama list"] == ["chatglm3-6b:latest"]
    assert node["ollama whole"] == node["ollama text"] == greeting
    ((call),) = node["ollama tools"]
    assert (call["name"], call["arguments"]) == ("f", {"a": 1})
    assert "/v1/chat/completions" in node["ollama embed"]["error"]


@pytest.fixture(scope="module")
def python(server: LiveServer, calling_server: LiveServer) -> dict[str, Any]:
    """What the Python clients saw."""
    return run_python_clients(server.url, calling_server.url)


@pytest.mark.parametrize(
    "name",
    [
        *("langchain-openai", "langchain-openai responses", "langchain-ollama", "ollama"),
        *("litellm openai", "litellm lm_studio", "litellm ollama_chat"),
    ],
)
def test_python_clients_chat(python: dict[str, Any], name: str, greeting: str) -> None:
    assert python[f"{name} whole"] == python[f"{name} stream"] == greeting


@pytest.mark.parametrize("name", ["langchain-openai", "langchain-openai responses", "langchain-ollama"])
def test_langchain_calls_tools_and_reads_their_results(python: dict[str, Any], name: str) -> None:
    assert python[f"{name} tool"] == [["f", {"a": 1}]]
    assert python[f"{name} tool history"]
    assert isinstance(python[f"{name} tool history"], str)


def test_ollamas_python_client_finds_its_way(python: dict[str, Any], greeting: str) -> None:
    assert python["ollama list"] == python["ollama ps"] == ["chatglm3-6b:latest"]
    assert python["ollama show"] == ["completion", "tools"]
    assert python["ollama generate"] == greeting
    assert python["ollama tool"] == python["ollama tool stream"] == [["f", {"a": 1}]]
    assert python["ollama embed"]["type"] == "ResponseError"


FORMS = ("langchain-openai", "langchain-openai responses", "langchain-ollama", "ollama")


@pytest.mark.parametrize("name", [*FORMS, "pydantic-ai chat", "pydantic-ai responses"])
def test_python_clients_get_the_form_they_ask_for(python: dict[str, Any], name: str) -> None:
    form = python[f"{name} form"]
    assert set(form) == {"city", "direct"}, form
    assert form["city"] in ("北京", "上海")
    assert isinstance(form["direct"], bool)


@pytest.mark.parametrize("provider", ["openai", "responses", "compatible"])
def test_the_ai_sdk_gets_the_object_it_asks_for(node: dict[str, Any], provider: str) -> None:
    assert node[f"{provider} form"] in [
        {"city": city, "direct": direct} for city in ("北京", "上海") for direct in (True, False)
    ]


def test_pydantic_ai_chats_through_both_doors(python: dict[str, Any], greeting: str) -> None:
    assert python["pydantic-ai chat"] == python["pydantic-ai responses"] == greeting


def test_openai_node_calls_tools(node: dict[str, Any]) -> None:
    for seen in node["node tools"]:
        assert seen["finish"] == "tool_calls"
        (call,) = seen["calls"]
        assert (call["type"], call["name"], json.loads(call["arguments"])) == ("function", "f", {"a": 1})
        assert call["id"]


def test_openai_node_sees_the_refusal_of_an_image(node: dict[str, Any]) -> None:
    assert node["node image"]["status"] == 400
    assert "image_url is only supported by certain models" in node["node image"]["error"]


def test_aborts_of_the_javascript_clients_left_nothing(node: dict[str, Any], server: LiveServer) -> None:
    assert node
    assert server.answer([{"role": "user", "content": "Hi"}], max_tokens=2)["choices"]
    assert len(server.runtime.queue) == 0


def test_the_document_names_the_versions_that_run() -> None:
    def pins(path: Path) -> dict[str, str]:
        return dict(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", path.read_text("utf-8"), re.MULTILINE))

    tests = Path(__file__).parents[2]
    python = pins(PYTHON_CLIENTS / "requirements.txt")
    npm = json.loads((NODE / "package.json").read_text("utf-8"))["dependencies"]
    wanted = {
        "openai (Python)": pins(tests / "requirements.txt")["openai"],
        "openai (JavaScript)": npm["openai"],
        "ollama (Python)": python["ollama"],
        "ollama (JavaScript)": npm["ollama"],
        "pydantic-ai": python["pydantic-ai-slim"],
        **{name: npm[name] for name in ("@ai-sdk/openai", "@ai-sdk/openai-compatible")},
        **{name: python[name] for name in ("langchain-openai", "langchain-ollama", "litellm")},
    }
    text = (tests.parent / "docs" / "clients.md").read_text("utf-8")
    assert dict(re.findall(r"^\| ([^|]+) \| ([0-9.]+) \|", text, re.MULTILINE)) == wanted


@pytest.fixture(scope="module")
def brief(our_engine: Path, models: Callable[..., Path], module_server: StartServer) -> LiveServer:
    """A short context: whoever asks for two billion tokens gets some hundred."""
    return module_server(models("tiny", sequence_length=256), our_engine, CONFIG)


@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_generated_requests_are_answered_as_described(brief: LiveServer, mode: str, tmp_path: Path) -> None:
    """Schemathesis makes requests from our own /openapi.json, or breaks them, and checks what comes back."""
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    if mode == "negative":
        checks += ",negative_data_rejection"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{brief.url}/openapi.json", "--phases", "fuzzing"),
            *("--mode", mode, "--max-examples", "25", "--checks", checks, "--seed", "1", "--request-timeout", "30"),
            *("--exclude-operation-id", "download", "--no-color"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert brief.answer([{"role": "user", "content": "Hi"}], max_tokens=2)["choices"]
