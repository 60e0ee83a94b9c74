"""POST /v1/responses: read by OpenAI's own library, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import openai
import pytest
import requests

from oneclick.server.api import responses
from tests.payload.conftest import CONFIG, LiveServer, StartServer
from tests.payload.server.chat.test_text import TOKENIZER
from tests.support.clients import write_calling_model

TOOLS: list[Any] = [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {"a": {}}}}]
GREEDY: dict[str, Any] = {"model": "gpt-4o", "temperature": 0}


@pytest.fixture(scope="module")
def client(our_server: LiveServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{our_server.url}/v1", api_key="any", max_retries=0)


@pytest.fixture(scope="module")
def calling(our_engine: Path, tmp_path_factory: pytest.TempPathFactory, module_server: StartServer) -> openai.OpenAI:
    """A client of a server whose model calls the tool ``f``."""
    path = tmp_path_factory.mktemp("scripted") / "calls.bin"
    write_calling_model(path, TOKENIZER)
    server = module_server(path, our_engine, CONFIG)
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0)


def test_a_response_says_what_a_chat_says(client: openai.OpenAI, our_server: LiveServer) -> None:
    messages = [{"role": "system", "content": "简短"}, {"role": "user", "content": "你好"}]
    chat = our_server.answer(messages, max_tokens=6)
    response = client.responses.create(input="你好", instructions="简短", max_output_tokens=6, **GREEDY)
    assert response.output_text == chat["choices"][0]["message"]["content"]
    assert (response.status, response.model) == ("incomplete", "gpt-4o")
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.usage is not None
    told = (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens)
    assert told == tuple(chat["usage"][name] for name in ("prompt_tokens", "completion_tokens", "total_tokens"))


@pytest.mark.parametrize(
    "given",
    [
        [{"role": "user", "content": "你好"}],
        [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "你好"}]}],
        [{"type": "reasoning", "id": "rs_1", "summary": []}, {"role": "user", "content": "你好"}],
    ],
)
def test_every_form_of_the_input_is_the_same(client: openai.OpenAI, given: Any) -> None:
    plain = client.responses.create(input="你好", max_output_tokens=5, **GREEDY)
    assert client.responses.create(input=given, max_output_tokens=5, **GREEDY).output_text == plain.output_text


def test_a_streamed_response_is_the_whole_one(client: openai.OpenAI) -> None:
    whole = client.responses.create(input="你好", max_output_tokens=8, **GREEDY)
    events = list(client.responses.create(input="你好", max_output_tokens=8, stream=True, **GREEDY))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        *("response.created", "response.in_progress"),
        *("response.output_item.added", "response.content_part.added"),
    ]
    assert kinds[-4:] == [
        *("response.output_text.done", "response.content_part.done"),
        *("response.output_item.done", "response.incomplete"),
    ]
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == whole.output_text
    last = events[-1]
    assert last.type == "response.incomplete"
    assert last.response.output_text == whole.output_text


def test_the_librarys_stream_helper_puts_it_together(client: openai.OpenAI) -> None:
    whole = client.responses.create(input="你好", max_output_tokens=8, **GREEDY)
    with client.responses.stream(input="你好", max_output_tokens=8, **GREEDY) as stream:
        seen = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
    assert seen == whole.output_text


def test_a_tool_is_called_and_its_result_understood(calling: openai.OpenAI, client: openai.OpenAI) -> None:
    response = calling.responses.create(input="调用", tools=TOOLS, **GREEDY)
    (call,) = response.output
    assert call.type == "function_call"
    assert (response.status, call.name, call.arguments) == ("completed", "f", '{"a": 1}')
    given: Any = [
        {"role": "user", "content": "调用"},
        call.model_dump(),
        {"type": "function_call_output", "call_id": call.call_id, "output": "晴"},
    ]
    assert client.responses.create(input=given, tools=TOOLS, max_output_tokens=4, **GREEDY).output_text


def test_a_streamed_call_comes_as_an_item(calling: openai.OpenAI) -> None:
    events = list(calling.responses.create(input="调用", tools=TOOLS, stream=True, **GREEDY))
    assert [event.type for event in events] == [
        *("response.created", "response.in_progress", "response.output_item.added"),
        *("response.function_call_arguments.delta", "response.function_call_arguments.done"),
        *("response.output_item.done", "response.completed"),
    ]
    done = events[-1]
    assert done.type == "response.completed"
    (call,) = done.response.output
    assert call.type == "function_call"
    assert json.loads(call.arguments) == {"a": 1}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("previous_response_id", "resp_1"),
        ("conversation", "conv_1"),
        ("background", True),
        ("tools", [{"type": "web_search"}]),
        ("tool_choice", "required"),
        ("text", 5),
        ("input", 5),
        ("input", [5]),
        ("input", [{"type": "item_reference", "id": "x"}]),
        ("input", [{"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]}]),
        ("input", []),
    ],
)
def test_what_is_not_done_is_refused_by_name(our_server: LiveServer, field: str, value: Any) -> None:
    response = our_server.post("/v1/responses", {"input": "hi", "max_output_tokens": 1, field: value})
    assert response.status_code == 400, response.text
    assert response.json()["error"]["message"]


@pytest.mark.parametrize(
    "ignored",
    [
        {"store": True},
        {"include": ["reasoning.encrypted_content"]},
        {"reasoning": {"effort": "low"}},
        {"user": "\ud83d"},
    ],
)
def test_what_changes_no_answer_is_ignored(our_server: LiveServer, ignored: dict[str, Any]) -> None:
    body = {"input": "hi", "max_output_tokens": 1, "text": {"format": {"type": "text"}}, **ignored}
    assert our_server.post("/v1/responses", body).status_code == 200


def test_a_failure_in_a_stream_is_an_event(our_server: LiveServer) -> None:
    """The worker dies under it: see tests/payload/server/test_crashes.py for all that follows."""
    body = {"input": "hi", "max_output_tokens": 8000, "temperature": 0, "stream": True}
    with requests.post(our_server.url + "/v1/responses", json=body, stream=True, timeout=60) as response:
        lines = response.iter_lines()
        next(line for line in lines if b"output_text.delta" in line)
        assert our_server.runtime.worker_pid is not None
        os.kill(our_server.runtime.worker_pid, signal.SIGKILL)
        rest = [line for line in lines if line.startswith(b"event: ")]
    assert rest[-2:] == [b"event: error", b"event: response.failed"]
    our_server.wait_ready()


def test_stored_responses_do_not_exist(our_server: LiveServer) -> None:
    response = requests.get(our_server.url + "/v1/responses/resp_1", timeout=10)
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_supported")


def test_the_table_of_fields_names_only_what_the_library_knows() -> None:
    """Its typed parameters: a field we list and nobody has would be a misspelling."""
    from openai.types.responses.response_create_params import ResponseCreateParamsBase

    known = set(ResponseCreateParamsBase.__annotations__) | {"stream"}
    chats = {"stop", "seed", "frequency_penalty", "presence_penalty", "modalities"}
    assert set(responses.FIELDS) - known <= chats
