"""OpenAI's wire format, aliases, errors and limits over HTTP, on both engines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.payload.conftest import LiveServer

HELLO = [{"role": "user", "content": "你好"}]


def events(response: requests.Response) -> list[str]:
    """Return the blocks of a stream, comments included."""
    return [block for block in response.content.decode("ascii").split("\n\n") if block]


def chunks(response: requests.Response) -> list[dict[str, Any]]:
    return [json.loads(block[6:]) for block in events(response) if block.startswith("data: {")]


PAGE = {"X-OneClick-Progress": "1"}
"""How our page asks for news."""


def stream(server: LiveServer, body: dict[str, Any], headers: dict[str, str] | None = None) -> requests.Response:
    body = {"messages": HELLO, "temperature": 0, "max_tokens": 8, **body, "stream": True}
    return server.post("/v1/chat/completions", body, headers=headers or {})


def text_of(parts: list[dict[str, Any]]) -> str:
    return "".join(choice["delta"].get("content") or "" for part in parts for choice in part["choices"])


def error_of(response: requests.Response, status: int = 400) -> dict[str, Any]:
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert {"message", "type", "param", "code"} <= set(error)
    chinese, english = error["message"].split("\n", 1)
    assert any("\u4e00" <= letter <= "\u9fff" for letter in chinese)
    assert english.isascii() or "“" in english or ".bat" in english or ".toml" in english
    # Clients that print the raw JSON would show a second copy.
    assert set(error) == {"message", "type", "param", "code"}
    return error


def test_an_answer_has_every_field_openai_requires(server: LiveServer) -> None:
    body = server.answer(HELLO, max_tokens=6, model="gpt-4o-mini")
    assert body["object"] == "chat.completion"
    assert body["id"].startswith("chatcmpl-")
    assert body["model"] == "gpt-4o-mini"
    (choice,) = body["choices"]
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"]
    assert choice["message"]["refusal"] is None
    assert (choice["index"], choice["logprobs"], choice["finish_reason"]) == (0, None, "length")
    usage = body["usage"]
    assert usage["completion_tokens"] == 6
    assert usage["total_tokens"] == usage["prompt_tokens"] + 6
    assert body["timings"]["predicted_n"] == 6


def test_a_stream_says_the_same_as_an_answer_in_one_piece(server: LiveServer) -> None:
    whole = server.answer(HELLO, max_tokens=8)["choices"][0]["message"]["content"]
    parts = chunks(stream(server, {}))
    assert text_of(parts) == whole


def test_a_stream_has_the_shape_strict_clients_want(server: LiveServer) -> None:
    response = stream(server, {"stream_options": {"include_usage": True}})
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert events(response)[-1] == "data: [DONE]"
    parts = chunks(response)
    assert {(part["id"], part["created"], part["model"], part["object"]) for part in parts} == {
        (parts[0]["id"], parts[0]["created"], "chatglm3-6b", "chat.completion.chunk")
    }
    assert parts[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    *content, last, usage = parts
    assert all(part["choices"][0]["finish_reason"] is None for part in content)
    assert last["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "length"}]
    assert last["timings"]["predicted_n"] == 8
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 8
    assert all(part["usage"] is None for part in parts[:-1])


def test_a_stream_without_include_usage_has_none(server: LiveServer) -> None:
    assert all("usage" not in part for part in chunks(stream(server, {})))


def test_each_event_comes_in_one_piece_and_is_ascii(server: LiveServer) -> None:
    response = server.post("/v1/chat/completions", {"messages": HELLO, "max_tokens": 8, "stream": True}, stream=True)
    for line in response.iter_lines():
        line.decode("ascii")


def test_a_stream_tells_our_page_how_far_the_prompt_is(server: LiveServer) -> None:
    response = stream(server, {"messages": [{"role": "user", "content": "你好 " * 300}], "cache_prompt": False}, PAGE)
    news = [json.loads(block[2:]) for block in events(response) if block.startswith(": {")]
    assert news[-1]["prompt_progress"] == 1
    assert news[0]["prompt"]["done"] == 0
    assert news[0]["prompt"]["total"] > 300


@pytest.mark.parametrize("model", ["\0", 'a"\0"b', "模型"])
def test_a_name_repeated_in_every_chunk_changes_no_text(server: LiveServer, model: str) -> None:
    whole = server.answer(HELLO, max_tokens=8)["choices"][0]["message"]["content"]
    parts = chunks(stream(server, {"model": model}))
    assert text_of(parts) == whole
    assert {part["model"] for part in parts} == {model}


def test_a_stream_has_nothing_but_data_for_other_programs(server: LiveServer) -> None:
    content = "你好 " * 300
    blocks = events(stream(server, {"messages": [{"role": "user", "content": content}], "cache_prompt": False}))
    assert len(blocks) > 8
    assert all(block.startswith("data: ") and "\n" not in block for block in blocks)


def test_a_second_turn_keeps_what_was_evaluated(our_server: LiveServer) -> None:
    messages = [{"role": "user", "content": "今天 天气 真 好 " * 20}]
    first = our_server.answer(messages, max_tokens=30)
    messages += [first["choices"][0]["message"], {"role": "user", "content": "谢谢"}]
    second = our_server.answer(messages, max_tokens=3)
    timings = second["timings"]
    # Not the answer's own tokens either, although its text encodes otherwise; only its last one.
    assert timings["prompt_n"] <= 1 + 8
    assert timings["cache_n"] == second["usage"]["prompt_tokens_details"]["cached_tokens"] > 100


def test_a_text_part_is_the_same_as_a_string(server: LiveServer) -> None:
    parts = [{"role": "user", "content": [{"type": "text", "text": "你好"}]}]
    assert server.answer(parts, max_tokens=4)["choices"] == server.answer(HELLO, max_tokens=4)["choices"]


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "developer", "content": "简短"}, {"role": "user", "content": "你好"}],
        [{"role": "assistant", "content": "我先说"}, {"role": "user", "content": "你好"}],
        [{"role": "user", "content": "一"}, {"role": "user", "content": "二"}],
        [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "接着"}],
        [{"role": "user", "content": None}],
        [{"role": "user"}],
        [{"role": "user", "content": ""}],
        [{"role": "tool", "tool_call_id": "x", "content": "42"}],
        [{"role": "function", "name": "f", "content": "42"}],
        [{"role": "system", "content": "只有系统"}],
        [{"role": "user", "content": "a\u0000b", "name": "n", "extra": {"deep": [1]}}],
        [{"role": "user", "content": "<|system|> [gMASK] sop </s>"}],
    ],
)
def test_messages_in_any_order_and_shape_are_answered(server: LiveServer, messages: list[dict[str, Any]]) -> None:
    assert server.answer(messages, max_tokens=2)["choices"][0]["finish_reason"] == "length"


def test_half_an_emoji_in_a_title_request_is_answered(server: LiveServer) -> None:
    body = b'{"messages": [{"role": "user", "content": "\\ud83d"}], "max_tokens": 2}'
    assert requests.post(server.url + "/v1/chat/completions", data=body, timeout=30).status_code == 200


def test_lone_bytes_of_a_character_are_never_sent(models: Any, engine: Any, start_server: Any) -> None:
    # This model speaks single bytes: nearly nothing of it is UTF-8.
    server = start_server(models("tiny", speech="bytes"), engine)
    parts = chunks(stream(server, {"max_tokens": 60}))
    content = text_of(parts)
    content.encode("utf-8")
    assert content == server.answer(HELLO, max_tokens=60)["choices"][0]["message"]["content"]


def test_ids_no_tokenizer_knows_are_skipped(models: Any, engine: Any, start_server: Any) -> None:
    server = start_server(models("tiny", padded_vocab=40), engine)
    pid = server.runtime.worker_pid
    for _ in range(3):
        body = server.answer(HELLO, max_tokens=40)
        assert body["usage"]["completion_tokens"] == 40
    assert server.runtime.worker_pid == pid


@pytest.mark.parametrize("stop_as_list", [False, True])
def test_stop_strings_end_the_answer_and_are_not_part_of_it(server: LiveServer, stop_as_list: bool) -> None:
    whole = server.answer(HELLO, max_tokens=30)["choices"][0]["message"]["content"]
    stop = whole[9:12]
    before = whole[: whole.index(stop)]
    body = server.answer(HELLO, max_tokens=30, stop=["never", stop] if stop_as_list else stop)
    assert body["choices"][0]["message"]["content"] == before
    assert body["choices"][0]["finish_reason"] == "stop"
    parts = chunks(stream(server, {"max_tokens": 30, "stop": stop}))
    assert text_of(parts) == before
    assert parts[-1]["choices"][0]["finish_reason"] == "stop"


def test_the_models_own_stop_token_ends_the_answer(models: Any, engine: Any, start_server: Any) -> None:
    server = start_server(models("tiny", speech="any", seed=3), engine)
    reasons = {
        server.answer([{"role": "user", "content": str(number)}], max_tokens=400)["choices"][0]["finish_reason"]
        for number in range(12)
    }
    assert "stop" in reasons


def test_greedy_answers_repeat_and_sampled_ones_differ(server: LiveServer) -> None:
    def answers(**more: Any) -> set[str]:
        return {server.chat("你好", max_tokens=12, **more).json()["choices"][0]["message"]["content"] for _ in range(4)}

    assert len(answers(temperature=0)) == 1
    assert len(answers(top_p=0)) == 1
    assert len(answers(top_k=1)) == 1
    assert len(answers(temperature=2, top_p=1)) > 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("temperature", value) for value in (-0.1, 2.1, 1e299, "hot", True, [0.5])),
        *(("top_p", value) for value in (-1, 1.0001, "1")),
        *(("max_tokens", value) for value in (-3, 1.5, "5", True, {})),
        *(("max_completion_tokens", value) for value in (-3, 1e-3)),
        *(("n", value) for value in (0, 5, -1, "1")),
        *(("presence_penalty", value) for value in (-3, "x")),
        *(("repetition_penalty", value) for value in (-1, 11)),
        *(("top_k", value) for value in (-1, 2**40, 0.5)),
        *(("stop", value) for value in (5, [1], {})),
        *(("stream", value) for value in ("yes", 1)),
        *(("stream_options", value) for value in ("x", [1])),
        *(("messages", value) for value in (None, [], "hi", {}, [5], [{}], [{"role": "nobody"}], [{"role": 5}])),
        *(("messages", [{"role": "user", "content": value}]) for value in (5, [5], [{"type": "text"}], [{}], True)),
        *(("messages", [{"role": "assistant", "tool_calls": value}]) for value in (5, [5], [{"function": {}}])),
        *(("tools", value) for value in ("x", [5], [{}], [{"function": {"name": " "}}], [{}] * 200)),
        *(("tools", value) for value in ([{"type": "web_search"}], [{"type": "custom", "name": "x"}], {"f": 5})),
        *(("response_format", value) for value in ("json", {"type": 5})),
        *(("response_format", {"type": kind}) for kind in ("json_object", "json_schema")),
        *(("tool_choice", value) for value in ("required", "any", 5, {"type": "function", "function": {"name": "f"}})),
        ("function_call", {"name": "f"}),
        ("model", 5),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_fields_name(server: LiveServer, field: str, value: Any) -> None:
    error = error_of(server.post("/v1/chat/completions", {"messages": HELLO, "max_tokens": 1, field: value}))
    assert error["type"] == "invalid_request_error"
    assert error["param"].startswith(field)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"null",
        b"\xff\xfe",
        b'{"messages": NaN}',
        b'{"temperature": Infinity, "messages": []}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"messages": ' + b"[" * 500 + b"]" * 500 + b"}",
        b'{"max_tokens": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda body: body[:16].decode("latin-1"),
)
def test_broken_json_is_a_400(server: LiveServer, body: bytes) -> None:
    error_of(requests.post(server.url + "/v1/chat/completions", data=body, timeout=30))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("max_tokens", value) for value in (0, -1, -2, 2**31, 10**30, 1e30)),
        *(("max_completion_tokens", value) for value in (0, -1, 10**12)),
        ("stop", [f"never{number}" for number in range(40)]),
        ("stop", [None, ""]),
        ("tools", [None]),
        ("tool_choice", {"type": "auto"}),
        ("do_sample", False),
    ],
)
def test_numbers_and_lists_are_taken_as_clients_send_them(brief: LiveServer, field: str, value: Any) -> None:
    response = brief.post("/v1/chat/completions", {"messages": HELLO, "max_tokens": 2, "temperature": 0, field: value})
    assert response.status_code == 200, response.text


@pytest.fixture(scope="module")
def brief(models: Any, our_engine: Any, module_server: Any) -> LiveServer:
    """A short context: whoever asks for two billion tokens gets some hundred."""
    server: LiveServer = module_server(models("tiny", sequence_length=256), our_engine)
    return server


def test_several_answers_come_one_after_the_other(server: LiveServer) -> None:
    alone = server.answer(HELLO, max_tokens=5)
    body = server.answer(HELLO, max_tokens=5, n=3)
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    assert {choice["message"]["content"] for choice in body["choices"]} == {alone["choices"][0]["message"]["content"]}
    assert body["usage"]["completion_tokens"] == 15
    assert body["usage"]["prompt_tokens"] == alone["usage"]["prompt_tokens"]
    sampled = server.chat("你好", max_tokens=12, temperature=2, top_p=1, n=4).json()["choices"]
    assert len({choice["message"]["content"] for choice in sampled}) > 1


def test_several_answers_stream_with_their_numbers(server: LiveServer) -> None:
    whole = server.answer(HELLO, max_tokens=8)["choices"][0]["message"]["content"]
    *parts, usage = chunks(stream(server, {"n": 2, "stream_options": {"include_usage": True}}))
    for index in range(2):
        own = [choice for part in parts for choice in part["choices"] if choice["index"] == index]
        assert own[0]["delta"] == {"role": "assistant", "content": ""}
        assert "".join(choice["delta"].get("content") or "" for choice in own) == whole
        assert own[-1]["finish_reason"] == "length"
    assert usage["usage"]["completion_tokens"] == 16


def test_several_plain_completions_come_together(server: LiveServer) -> None:
    body = {"prompt": "从前", "max_tokens": 3, "temperature": 0, "n": 2, "best_of": 2}
    choices = server.post("/v1/completions", body).json()["choices"]
    assert [choice["index"] for choice in choices] == [0, 1]
    error_of(server.post("/v1/completions", {**body, "best_of": 3}))


def test_null_means_the_default(server: LiveServer) -> None:
    names = ("temperature", "top_p", "stop", "n", "stream", "tools", "presence_penalty", "stream_options", "model")
    body = {"messages": HELLO, "max_completion_tokens": 3, **dict.fromkeys(names)}
    assert server.post("/v1/chat/completions", body).json()["usage"]["completion_tokens"] == 3


def test_what_upstreams_server_accepted_is_accepted(server: LiveServer) -> None:
    for body in (
        {"messages": HELLO, "max_tokens": 2048, "stop": ["的"]},
        {"messages": HELLO, "max_tokens": 0, "temperature": 0.0, "top_p": 0.0, "stop": "的"},
        {"model": "default-model", "messages": HELLO, "temperature": 2.0, "top_p": 1.0, "max_tokens": 5},
    ):
        assert server.post("/v1/chat/completions", body).status_code == 200


def test_images_are_refused_with_openais_sentence(server: LiveServer) -> None:
    picture = {"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/never-fetched.png"}}
    content = [{"type": "text", "text": "看"}, picture]
    error = error_of(server.post("/v1/chat/completions", {"messages": [{"role": "user", "content": content}]}))
    assert "Invalid content type. image_url is only supported by certain models." in error["message"]
    assert error["code"] == "model_not_support_image"


def test_audio_parts_are_refused(server: LiveServer) -> None:
    content = [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]
    error = error_of(server.post("/v1/chat/completions", {"messages": [{"role": "user", "content": content}]}))
    assert error["code"] == "unsupported_content"


PREFIXES = ["/v1/", "/", "/v1/v1/", "//v1/", "//", "/v1//"]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("end", ["", "/"])
def test_every_address_clients_make_up_works(server: LiveServer, prefix: str, end: str) -> None:
    def send(method: str, path: str, **more: Any) -> requests.Response:
        # requests would tidy the doubled slashes away.
        request = requests.Request(method, server.url, **more).prepare()
        request.url = server.url + prefix + path + end
        with requests.Session() as session:
            return session.send(request, timeout=30, allow_redirects=False)

    body = {"messages": HELLO, "max_tokens": 1}
    assert send("POST", "chat/completions", json=body).status_code == 200
    assert send("POST", "completions", json={"prompt": "你好", "max_tokens": 1}).status_code == 200
    assert "gpt-3.5-turbo" in [model["id"] for model in send("GET", "models").json()["data"]]
    assert send("GET", "models/gpt-4o-mini").json()["id"] == "gpt-4o-mini"
    assert send("GET", "models/nobodys-model").status_code == 404
    assert send("GET", "health").json()["status"] == "ok"


def test_models_tell_their_context(server: LiveServer) -> None:
    for model in requests.get(server.url + "/v1/models", timeout=10).json()["data"]:
        assert model["object"] == "model"
        assert model["context_length"] == 8192
        assert model["architecture"]["input_modalities"] == ["text"]
        assert model["owned_by"]
        assert model["created"] > 0


@pytest.mark.parametrize("path", ["/nothing", "/v1/chat", "/v2/models", "/docs", "/redoc", "/../etc/passwd"])
def test_an_unknown_address_names_the_right_one(server: LiveServer, path: str) -> None:
    request = requests.Request("GET", server.url).prepare()
    request.url = server.url + path
    with requests.Session() as session:
        error = error_of(session.send(request, timeout=10), 404)
    assert server.url in error["message"]


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/embeddings", "/embeddings", "/v1/audio/speech", "/v1/images/generations", "/v1/messages", "/v1/files"),
        *("/v1/moderations", "/v1/rerank", "/v1/assistants/x", "/api/paas/v4/embeddings"),
    ],
)
def test_what_this_model_cannot_do_is_said_with_the_way_out(server: LiveServer, path: str) -> None:
    for method in ("GET", "POST"):
        error = error_of(requests.request(method, server.url + path, timeout=10), 404)
        assert error["code"] == "not_supported"
        assert "/v1/chat/completions" in error["message"]


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/openai/v1", "/api/v1"])
def test_the_address_itself_lists_the_models(server: LiveServer, path: str) -> None:
    assert requests.get(server.url + path, timeout=10).json()["data"][0]["id"] == "chatglm3-6b"


@pytest.mark.parametrize("path", ["/api/paas/v4/", "/api/v1/", "/openai/v1/"])
def test_addresses_built_into_programs_for_other_services_work(server: LiveServer, path: str) -> None:
    body = {"messages": HELLO, "max_tokens": 1, "model": "glm-4"}
    assert server.post(path + "chat/completions", body).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/models", "/v1/chat/completions", "/v1/responses", "/api/chat", "/api/tags", "/tokenize"]
)
@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
def test_who_only_looks_is_answered(server: LiveServer, path: str, method: str) -> None:
    response = requests.request(method, server.url + path, timeout=10)
    assert response.status_code in (200, 204)
    assert response.content == b""


def test_the_model_list_tells_which_to_take(server: LiveServer) -> None:
    models = requests.get(server.url + "/v1/models", timeout=10).json()["data"]
    assert [model["id"] for model in models] == ["chatglm3-6b", "gpt-3.5-turbo"]
    assert len({model["name"] for model in models}) == 2


@pytest.mark.parametrize(
    "name", ["chatglm3-6b", "gpt-4o-mini", "o3", "glm-4", "openai/gpt-4.1", "chatglm3-6b%3Alatest"]
)
def test_names_that_programs_have_built_in_mean_our_model(server: LiveServer, name: str) -> None:
    model = requests.get(f"{server.url}/v1/models/{name}", timeout=10).json()
    assert model["root"] == "chatglm3-6b"


def test_an_unknown_model_is_told_apart_although_a_chat_may_name_any(server: LiveServer) -> None:
    error = error_of(requests.get(server.url + "/v1/models/nope", timeout=10), 404)
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert "chatglm3-6b" in error["message"]
    answer = server.answer(HELLO, max_tokens=1, model="nope")
    assert (answer["model"], answer["system_fingerprint"]) == ("nope", "chatglm3-6b-q4_0")


def test_a_wrong_method_is_a_405_with_the_right_one(server: LiveServer) -> None:
    response = requests.get(server.url + "/v1/chat/completions", timeout=10)
    assert error_of(response, 405)["code"] == "method_not_allowed"
    assert "POST" in response.headers["allow"]


def test_a_plain_completion_continues_the_text(server: LiveServer) -> None:
    body = server.post("/v1/completions", {"prompt": "从前", "max_tokens": 5, "temperature": 0}).json()
    assert body["object"] == "text_completion"
    text = body["choices"][0]["text"]
    assert text
    echoed = server.post(
        "/v1/completions", {"prompt": ["从前"], "max_tokens": 5, "temperature": 0, "echo": True}
    ).json()
    assert echoed["choices"][0]["text"] == "从前" + text
    parts = chunks(
        server.post("/v1/completions", {"prompt": "从前", "max_tokens": 5, "temperature": 0, "stream": True})
    )
    assert "".join(part["choices"][0]["text"] for part in parts) == text
    assert parts[-1]["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    "body", [{"prompt": 5}, {"prompt": ["a", "b"]}, {"prompt": [[1], [2]]}, {"suffix": "x"}, {"best_of": 2}]
)
def test_a_plain_completion_that_cannot_be_made_is_refused(server: LiveServer, body: dict[str, Any]) -> None:
    error_of(server.post("/v1/completions", body))


def test_tokenize_counts_what_the_model_reads(server: LiveServer) -> None:
    text = server.post("/tokenize", {"content": "你好 world"}).json()
    assert text["count"] == len(text["tokens"]) > 0
    chat = server.post("/tokenize", {"messages": HELLO}).json()
    assert chat["count"] == server.answer(HELLO, max_tokens=1)["usage"]["prompt_tokens"]
    error_of(server.post("/tokenize", {"content": 5}))


def test_tokens_become_their_text_again(server: LiveServer) -> None:
    for text in ("你好 world", "👋 x", " 前有空格"):
        ids = server.post("/tokenize", {"prompt": text}).json()["tokens"]
        assert server.post("/detokenize", {"tokens": ids}).json()["content"] == text
    assert server.post("/detokenize", {"tokens": [2, -1, 10**12]}).json() == {"content": "", "prompt": ""}
    error_of(server.post("/detokenize", {"tokens": ["x"]}))


def test_a_conversation_that_outgrew_the_context_loses_its_oldest_turns(server: LiveServer) -> None:
    turn = [{"role": "user", "content": "天 " * 300}, {"role": "assistant", "content": "好 " * 200}]
    messages = [{"role": "system", "content": "系统"}, *turn * 12, {"role": "user", "content": "最新"}]
    response = server.post("/v1/chat/completions", {"messages": messages, "max_tokens": 4, "temperature": 0})
    dropped = response.json()["x_oneclick"]["dropped_messages"]
    assert dropped > 0
    assert dropped % 2 == 0
    assert response.headers["x-oneclick-dropped-messages"] == str(dropped)
    kept = [messages[0], *messages[1 + dropped :]]
    assert server.answer(kept, max_tokens=4)["choices"] == response.json()["choices"]
    details = response.json()["usage"]["prompt_tokens_details"]
    assert details["dropped_messages"] == dropped
    assert details["dropped_tokens"] > 0
    live = stream(server, {"messages": messages, "max_tokens": 2}, PAGE)
    assert live.headers["x-oneclick-dropped-messages"] == str(dropped)
    assert f': {{"dropped_messages":{dropped},' in live.text


def test_a_message_that_does_not_fit_is_refused_with_both_numbers(server: LiveServer) -> None:
    body = {"messages": [{"role": "user", "content": "天" * 9000}], "stream": True}
    error = error_of(server.post("/v1/chat/completions", body))
    assert error["code"] == "context_length_exceeded"
    numbers = [int(word) for word in error["message"].split("\n")[1].replace(",", "").split() if word.isdigit()]
    needed, limit = numbers
    assert needed > 9000 > limit
    error_of(server.post("/v1/completions", {"prompt": "天" * 9000}))


def test_an_answer_ends_where_the_context_ends(models: Any, engine: Any, start_server: Any) -> None:
    server = start_server(models("tiny", sequence_length=256), engine)
    body = server.answer(HELLO, max_tokens=5000)
    assert body["usage"]["total_tokens"] == 256
    assert body["choices"][0]["finish_reason"] == "length"


def test_health_status_and_metrics_agree(server: LiveServer) -> None:
    server.answer(HELLO, max_tokens=3)
    health = requests.get(server.url + "/health", timeout=10)
    assert (health.status_code, health.json()["status"]) == (200, "ok")
    status = requests.get(server.url + "/status", timeout=10).json()
    assert status["phase"] == "ready"
    assert status["port"] == server.port
    assert status["worker"]["pid"] == server.runtime.worker_pid
    assert status["engine"]["version"].startswith("0.")
    assert status["queue"] == {"running": 0, "waiting": 0, "limit": 64}
    metrics = dict(
        line.split(" ")
        for line in requests.get(server.url + "/metrics", timeout=10).text.splitlines()
        if not line.startswith("#")
    )
    assert float(metrics["oneclick_requests_total"]) >= 1
    assert metrics["oneclick_ready"] == "1"


@pytest.fixture
def page(server: LiveServer) -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


def test_the_page_and_its_files_are_served_with_a_policy(server: LiveServer, page: requests.Session) -> None:
    index = page.get(server.url + "/", timeout=10)
    assert index.status_code == 200
    assert index.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'self'" in index.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in index.headers["content-security-policy"]
    assert index.headers["x-content-type-options"] == "nosniff"
    assert f'<meta name="oneclick-token" content="{server.runtime.token}">' in index.text
    script = page.get(server.url + "/js/main.js", timeout=10)
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    again = page.get(server.url + "/js/main.js", headers={"if-none-match": script.headers["etag"]}, timeout=10)
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path", ["/../runtime.py", "/%2e%2e/server/app.py", "/js/../../server/app.py", "/index.html%00.js"]
)
def test_no_path_of_a_request_reaches_a_file(server: LiveServer, path: str) -> None:
    request = requests.Request("GET", server.url).prepare()
    request.url = server.url + path
    with requests.Session() as session:
        error_of(session.send(request, timeout=10), 404)
