"""Seeds, penalties, biases and log probabilities as clients ask for them, over HTTP."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.payload.conftest import LiveServer, StartServer
from tests.payload.server.test_api import HELLO, chunks, error_of

SAMPLED = {"temperature": 1.8, "top_p": 0.98, "max_tokens": 16}


def text(server: LiveServer, **more: Any) -> str:
    content: str = server.chat("你好", **{**SAMPLED, **more}).json()["choices"][0]["message"]["content"]
    return content


@pytest.fixture(scope="module")
def client(our_server: LiveServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{our_server.url}/v1", api_key="none", max_retries=0)


def test_a_seed_repeats_the_answer_at_every_door(our_server: LiveServer) -> None:
    assert text(our_server, seed=5) == text(our_server, seed=5) != text(our_server, seed=6)
    assert len({text(our_server, seed=-1) for _ in range(3)}) > 1
    options = {"temperature": 1.8, "top_p": 0.98, "num_predict": 16, "seed": 5}
    asked = {"model": "chatglm3", "messages": HELLO, "stream": False, "options": options}
    answers = [our_server.post("/api/chat", asked).json()["message"]["content"] for _ in range(2)]
    assert answers[0] == answers[1] == text(our_server, seed=5)


def test_each_choice_of_a_seed_is_another_one(our_server: LiveServer) -> None:
    def choices() -> list[str]:
        made = our_server.chat("你好", n=3, seed=9, **SAMPLED).json()["choices"]
        return [choice["message"]["content"] for choice in made]

    first = choices()
    assert len(set(first)) == 3
    assert choices() == first


def test_chat_log_probs_are_what_openais_own_library_reads(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "chatglm3-6b", "messages": HELLO, "temperature": 0, "max_tokens": 6}
    made = client.chat.completions.create(**asked, logprobs=True, top_logprobs=3)
    assert made.choices[0].logprobs is not None
    content = made.choices[0].logprobs.content
    assert content is not None
    assert len(content) == 6
    for one in content:
        assert one.logprob <= 0
        assert [other.logprob for other in one.top_logprobs] == sorted(
            (other.logprob for other in one.top_logprobs), reverse=True
        )
        assert one.top_logprobs[0].token == one.token
        assert bytes(one.bytes or b"").decode("utf-8", "replace") == one.token
    message = made.choices[0].message.content
    assert message is not None
    assert "".join(one.token for one in content).strip() == message.strip()

    streamed = [
        entry
        for chunk in client.chat.completions.create(**asked, logprobs=True, top_logprobs=3, stream=True)
        for choice in chunk.choices
        if choice.logprobs is not None
        for entry in choice.logprobs.content or ()
    ]
    assert [one.token for one in streamed] == [one.token for one in content]
    assert [one.logprob for one in streamed] == pytest.approx([one.logprob for one in content], abs=1e-4)
    bare = client.chat.completions.create(**asked, logprobs=True)
    assert bare.choices[0].logprobs is not None
    assert [one.top_logprobs for one in bare.choices[0].logprobs.content or ()] == [[]] * 6


def test_completion_log_probs_have_the_older_shape(client: openai.OpenAI) -> None:
    made = client.completions.create(model="m", prompt="从前", max_tokens=4, temperature=0, logprobs=2).choices[0]
    scores = made.logprobs
    assert scores is not None
    assert scores.tokens is not None
    assert scores.top_logprobs is not None
    assert scores.text_offset is not None
    assert len(scores.tokens) == 4
    for token, log_prob, others in zip(scores.tokens, scores.token_logprobs or (), scores.top_logprobs, strict=True):
        assert others[token] == log_prob == max(others.values())
    assert scores.text_offset == [sum(map(len, scores.tokens[:at])) for at in range(4)]
    parts = list(
        client.completions.create(model="m", prompt="从前", max_tokens=4, temperature=0, logprobs=2, stream=True)
    )
    told = [part.choices[0].logprobs for part in parts if part.choices[0].logprobs]
    assert [token for one in told for token in one.tokens or ()] == scores.tokens
    assert [at for one in told for at in one.text_offset or ()] == scores.text_offset


def test_a_harness_scores_a_continuation_by_echo(our_server: LiveServer) -> None:
    # The request of lm-evaluation-harness's "local-completions" for a log likelihood (its class TemplateAPI), in
    # tokens and in text; it reads token_logprobs[context:-1].
    ids = our_server.post("/tokenize", {"content": "从前有一座山"}).json()["tokens"]
    asked = {"model": "m", "temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1234, "echo": True}
    by_ids = our_server.post("/v1/completions", {**asked, "prompt": [ids]}).json()["choices"][0]["logprobs"]
    by_text = our_server.post("/v1/completions", {**asked, "prompt": ["从前有一座山"]}).json()["choices"][0]
    scores = by_text["logprobs"]
    assert by_ids["token_logprobs"] == pytest.approx(scores["token_logprobs"], abs=1e-4)
    assert len(scores["tokens"]) == len(ids) + 1
    assert [token.startswith("bytes:") for token in scores["tokens"]].count(True) == 3  # 座 has no piece of its own
    assert len(set(scores["tokens"])) == len(scores["tokens"])
    context = 3
    likelihood = sum(scores["token_logprobs"][context:-1])
    assert -math.inf < likelihood < 0
    assert [len(others) in (1, 2) for others in scores["top_logprobs"]] == [True] * len(scores["tokens"])
    # Each is what the model would have said there.
    for at in range(context, len(ids)):
        body = {"prompt": [ids[:at]], "max_tokens": 1, "temperature": 0, "logprobs": 20}
        there = our_server.post("/v1/completions", body).json()["choices"][0]["logprobs"]["top_logprobs"][0]
        if scores["tokens"][at] in there:
            assert there[scores["tokens"][at]] == pytest.approx(scores["token_logprobs"][at], abs=1e-3)


def test_a_prompt_that_begins_as_the_template_does_is_taken_as_it_is(our_server: LiveServer) -> None:
    tokenizer = our_server.runtime.ready_tokenizer()
    ids = [*tokenizer.start(), *tokenizer.encode("从前")]
    asked = {"max_tokens": 1, "temperature": 0, "logprobs": 0, "echo": True}
    made = our_server.post("/v1/completions", {**asked, "prompt": ids}).json()
    assert made["usage"]["prompt_tokens"] == len(ids)
    scores = made["choices"][0]["logprobs"]
    assert scores["tokens"][:2] == ["[gMASK]", "sop"]
    assert scores["token_logprobs"][0] is None
    assert scores["top_logprobs"][:2] == [None, {}]


def test_a_bias_forbids_and_prefers_tokens(our_server: LiveServer) -> None:
    whole = text(our_server, temperature=0, logprobs=True)
    banned = our_server.post("/tokenize", {"content": whole}).json()["tokens"][1:]
    assert text(our_server, temperature=0, logit_bias={str(token): -100 for token in banned}) != whole
    (favourite,) = our_server.post("/tokenize", {"content": "的"}).json()["tokens"][-1:]
    assert set(text(our_server, temperature=0, logit_bias={str(favourite): 100}).strip()) == {"的"}


def test_penalties_end_a_repetition(our_server: LiveServer) -> None:
    (favourite,) = our_server.post("/tokenize", {"content": "的"}).json()["tokens"][-1:]
    pushed: dict[str, Any] = {"temperature": 0, "logit_bias": {str(favourite): 12}, "max_tokens": 24}
    often = text(our_server, **pushed).count("的")
    for penalty in ({"frequency_penalty": 2}, {"repeat_penalty": 10}, {"repetition_penalty": 10}):
        assert text(our_server, **pushed, **penalty).count("的") < often
    # 0 is how some programs say "none".
    assert text(our_server, **pushed, repetition_penalty=0, repeat_penalty=0).count("的") == often


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("logit_bias", value) for value in ([], "x", {"hello": 1}, {"-1": 1}, {"5": 101}, {"5": "x"}, {"99999": 1})),
        *(("seed", value) for value in (1.5, "x", 2**64, True)),
        *(("min_p", value) for value in (-0.1, 1.1, "x")),
        *(("repeat_penalty", value) for value in (-1, 11)),
        *(("top_logprobs", value) for value in (-1, 21, 3, "x")),
        ("logprobs", 5),
    ],
)
def test_values_that_cannot_be_meant_are_refused(our_server: LiveServer, field: str, value: Any) -> None:
    error = error_of(our_server.post("/v1/chat/completions", {"messages": HELLO, "max_tokens": 1, field: value}))
    assert error["param"] in (field, *(value if isinstance(value, dict) else ()))


@pytest.mark.parametrize(
    "body",
    [{"prompt": [[5, 10**6]]}, {"prompt": [-1]}, {"logprobs": 21}, {"echo": True, "logprobs": 1, "stream": True}],
)
def test_completions_that_cannot_be_scored_are_refused(our_server: LiveServer, body: dict[str, Any]) -> None:
    error_of(our_server.post("/v1/completions", {"prompt": "x", "max_tokens": 1, **body}))


def test_a_released_engine_refuses_by_name_and_ignores_a_seed(
    released_engine: Path, models: Callable[..., Path], start_server: StartServer
) -> None:
    server = start_server(models("tiny"), released_engine)
    for body in ({"min_p": 0.1}, {"frequency_penalty": 1}, {"logit_bias": {"5": 1}}, {"logprobs": True}):
        asked = {"messages": HELLO, "max_tokens": 1, **body}
        error = error_of(server.post("/v1/chat/completions", asked))
        assert error["param"] == next(iter(body))
    neutral = {"min_p": 0, "frequency_penalty": 0, "logit_bias": {}, "logprobs": False, "seed": 5}
    assert text(server, **neutral)
    parts = chunks(server.post("/v1/chat/completions", {"messages": HELLO, "max_tokens": 2, "stream": True, **neutral}))
    assert len(parts) > 2
