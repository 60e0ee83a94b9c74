"""Answers of a promised form, as clients ask for them at each door."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jsonschema
import openai
import pytest

from tests.payload.conftest import LiveServer, StartServer
from tests.payload.server.test_api import HELLO, chunks, error_of, text_of

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["北京", "上海"]}, "days": {"type": "integer", "maximum": 99}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "trip", "strict": True, "schema": SCHEMA}}
TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}},
    {"type": "function", "function": {"name": "search", "parameters": {"type": "object", "properties": {}}}},
]


@pytest.fixture(scope="module")
def server(our_engine: Path, models: Callable[..., Path], module_server: StartServer) -> LiveServer:
    """A model that says anything at all."""
    return module_server(models("tiny", speech="any"), our_engine)


@pytest.fixture(scope="module")
def client(server: LiveServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def is_trip(text: str | None) -> bool:
    jsonschema.validate(json.loads(text or ""), SCHEMA)
    return True


@pytest.mark.parametrize("seed", range(4))
def test_a_chat_keeps_its_schema_whole_and_streamed(server: LiveServer, seed: int) -> None:
    asked = {"messages": HELLO, "response_format": FORMAT, "seed": seed, "temperature": 1.5, "max_tokens": 200}
    whole = server.post("/v1/chat/completions", asked).json()["choices"][0]
    assert whole["finish_reason"] == "stop"
    assert is_trip(whole["message"]["content"])
    parts = chunks(server.post("/v1/chat/completions", {**asked, "stream": True}))
    assert text_of(parts) == whole["message"]["content"]


def test_a_form_is_kept_by_the_next_turn_without_evaluating_it_again(server: LiveServer) -> None:
    first = server.answer(HELLO, response_format=FORMAT, max_tokens=200)
    text = first["choices"][0]["message"]["content"]
    history = [*HELLO, {"role": "assistant", "content": text}, *HELLO]
    second = server.answer(history, max_tokens=2)
    assert second["usage"]["prompt_tokens_details"]["cached_tokens"] >= first["usage"]["total_tokens"] - 1


def test_json_alone_is_an_object_or_was_cut(server: LiveServer) -> None:
    ends = set()
    for seed in range(8):
        asked = {"messages": HELLO, "response_format": {"type": "json_object"}, "seed": seed, "max_tokens": 300}
        choice = server.post("/v1/chat/completions", asked).json()["choices"][0]
        ends.add(choice["finish_reason"])
        if choice["finish_reason"] == "stop":
            assert isinstance(json.loads(choice["message"]["content"]), dict)
        else:
            assert choice["message"]["content"].startswith("{")
    assert ends <= {"stop", "length"}


def test_text_is_text(server: LiveServer) -> None:
    plain = server.answer(HELLO, max_tokens=6)["choices"][0]["message"]["content"]
    asked = server.answer(HELLO, max_tokens=6, response_format={"type": "text"})["choices"][0]["message"]["content"]
    assert asked == plain


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("choice", "name"),
    [
        ({"type": "function", "function": {"name": "get_weather"}}, {"get_weather"}),
        ({"type": "function", "name": "get_weather"}, {"get_weather"}),
        ("required", {"get_weather", "search"}),
        ("any", {"get_weather", "search"}),
    ],
)
def test_a_call_that_must_come_comes(server: LiveServer, choice: Any, name: set[str], stream: bool) -> None:
    asked = {"messages": HELLO, "tools": TOOLS, "tool_choice": choice, "seed": 3, "max_tokens": 300, "stream": stream}
    response = server.post("/v1/chat/completions", asked)
    if stream:
        parts = chunks(response)
        (call,) = [one for part in parts for one in part["choices"][0]["delta"].get("tool_calls", ())]
        assert parts[-1]["choices"][0]["finish_reason"] == "tool_calls"
        assert text_of(parts) == ""
    else:
        made = response.json()["choices"][0]
        (call,) = made["message"]["tool_calls"]
        assert (made["finish_reason"], made["message"]["content"]) == ("tool_calls", None)
    assert call["function"]["name"] in name
    if call["function"]["name"] == "get_weather":
        assert is_trip(call["function"]["arguments"])


def test_the_older_words_for_a_call_do_too(server: LiveServer) -> None:
    functions = [tool["function"] for tool in TOOLS]
    asked = {"messages": HELLO, "functions": functions, "function_call": {"name": "get_weather"}, "max_tokens": 300}
    made = server.post("/v1/chat/completions", asked).json()["choices"][0]
    assert made["finish_reason"] == "function_call"
    assert is_trip(made["message"]["function_call"]["arguments"])


def test_the_other_doors_keep_forms_too(server: LiveServer, client: openai.OpenAI) -> None:
    form: Any = {"type": "json_schema", "name": "trip", "schema": SCHEMA, "strict": True}
    made = client.responses.create(model="m", input="你好", text={"format": form}, max_output_tokens=200)
    assert is_trip(made.output_text)
    tool: Any = {"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": True}
    called = client.responses.create(
        model="m", input="你好", tools=[tool], tool_choice={"type": "function", "name": "get_weather"}
    )
    (item,) = called.output
    assert item.type == "function_call"
    assert is_trip(item.arguments)
    asked = {"model": "m", "messages": HELLO, "format": SCHEMA, "stream": False, "options": {"num_predict": 200}}
    assert is_trip(server.post("/api/chat", asked).json()["message"]["content"])
    asked = {"model": "m", "prompt": "你好", "format": SCHEMA, "stream": False, "options": {"num_predict": 200}}
    assert is_trip(server.post("/api/generate", asked).json()["response"])
    started = server.post(
        "/api/chat", {"messages": HELLO, "format": "json", "stream": False, "options": {"num_predict": 9}}
    )
    assert started.json()["message"]["content"].startswith("{")
    plain = server.post("/v1/completions", {"prompt": "从前", "json_schema": SCHEMA, "max_tokens": 200}).json()
    assert is_trip(plain["choices"][0]["text"])


def test_openais_library_parses_what_it_asked_for(client: openai.OpenAI) -> None:
    from pydantic import BaseModel

    class Trip(BaseModel):
        days: bool
        city: Literal["北京", "上海"]

    parsed = client.chat.completions.parse(
        model="m", messages=[{"role": "user", "content": "你好"}], response_format=Trip, max_tokens=400, seed=1
    )
    assert isinstance(parsed.choices[0].message.parsed, Trip)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"uniqueItems": True}}}},
            "response_format",
        ),
        ({"response_format": {"type": "json_schema", "json_schema": 5}}, "response_format"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"json_schema": {"oneOf": []}}, "json_schema"),
        ({"grammar": "root ::= ("}, "grammar"),
        ({"grammar": 5}, "grammar"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "nobody"}}}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"tools": [{"name": "f", "parameters": {"not": {}}}], "tool_choice": "required"}, "tools"),
    ],
)
def test_a_form_that_cannot_be_promised_is_refused(server: LiveServer, body: dict[str, Any], param: str) -> None:
    error = error_of(server.post("/v1/chat/completions", {"messages": HELLO, **body}))
    assert error["param"] == param


def test_a_grammar_that_outgrows_its_bounds_is_told_and_costs_only_itself(server: LiveServer) -> None:
    schema = {"type": "array", "items": {"type": "string", "pattern": "^(a|b|ab|ba|aab){1,2000}$"}, "minItems": 50}
    response = server.post("/v1/chat/completions", {"messages": HELLO, "json_schema": schema, "max_tokens": 300})
    assert response.status_code in (200, 400, 500)
    assert server.answer(HELLO, max_tokens=2)["choices"]


def test_a_released_engine_and_a_bundle_without_the_library_refuse(
    released_engine: Path,
    models: Callable[..., Path],
    start_server: StartServer,
    server: LiveServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    older = start_server(models("tiny"), released_engine)
    error = error_of(older.post("/v1/chat/completions", {"messages": HELLO, "response_format": FORMAT}))
    assert error["code"] == "unsupported_parameter"
    monkeypatch.setitem(__import__("sys").modules, "llguidance", None)
    error = error_of(server.post("/v1/chat/completions", {"messages": HELLO, "response_format": FORMAT}))
    assert (error["param"], error["code"]) == ("response_format", "unsupported_parameter")
