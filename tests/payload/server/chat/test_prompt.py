"""ChatGLM3's template, and which turns leave when a conversation outgrows the context."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneclick.server.api_errors import ApiError
from oneclick.server.chat.prompt import Answers, Limits, Prompt, build_chat
from oneclick.server.chat.request import parse_chat, parse_json
from tests.payload.server.chat.test_text import TOKENIZER

LIMITS = Limits(context=400, prompt=400, default_answer=100)


def build(
    messages: list[dict[str, Any]], answers: Answers | None = None, limits: Limits = LIMITS, **more: Any
) -> Prompt:
    return build_chat(parse_chat({"messages": messages, **more}), TOKENIZER, answers or Answers(), limits)


def turn(number: int, length: int = 20) -> list[dict[str, Any]]:
    words = "天气 " * length
    return [{"role": "user", "content": f"{number} {words}"}, {"role": "assistant", "content": f"{number} {words}"}]


def test_the_template_is_the_engines_own(engine: Path, models: Callable[..., Path]) -> None:
    """Compare with the template of the real module, which runs in a process of its own."""
    messages = [
        ("system", "你是 助手"),
        ("user", "你好 hello <|user|> [gMASK]"),
        ("assistant", "你好！\n\n 👋"),
        ("user", " 前后空格 \n"),
        ("observation", "42"),
        ("user", ""),
    ]
    program = textwrap.dedent(f"""
        import os, sys
        sys.path.insert(0, {str(engine)!r})
        import chatglm_cpp
        os.chdir({str(models("tiny").parent)!r})
        pipeline = chatglm_cpp.Pipeline({models("tiny").name!r})
        messages = [chatglm_cpp.ChatMessage(role, text) for role, text in {messages!r}]
        tokenizer = pipeline.tokenizer
        encode = getattr(tokenizer, "encode_messages", None) or tokenizer.apply_chat_template  # from 0.3.3 on
        print(encode(messages, 10**6))
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    sent = [{"role": "tool" if role == "observation" else role, "content": text} for role, text in messages]
    assert str(build(sent).ids) == done.stdout.strip()


def test_nothing_is_dropped_while_everything_fits() -> None:
    prompt = build([{"role": "system", "content": "短"}, *turn(1), {"role": "user", "content": "好"}])
    assert (prompt.dropped_messages, prompt.dropped_tokens, prompt.max_new) == (0, 0, 100)


def test_system_messages_and_the_newest_turn_stay() -> None:
    system, newest = {"role": "system", "content": "系统"}, {"role": "user", "content": "最新"}
    messages = [system, *(message for number in range(9) for message in turn(number)), newest]
    prompt = build(messages)
    assert prompt.dropped_messages % 2 == 0
    assert 0 < prompt.dropped_messages < 18
    assert prompt.ids == build([system, *messages[1 + prompt.dropped_messages :]]).ids
    assert len(prompt.ids) + prompt.max_new <= LIMITS.context


def test_turns_leave_in_steps_so_that_the_next_prompts_begin_alike() -> None:
    messages: list[dict[str, Any]] = []
    dropped = []
    limits = Limits(context=2000, prompt=2000, default_answer=100)
    for number in range(100):
        messages += turn(number, 8)
        dropped.append(build([*messages, {"role": "user", "content": "?"}], limits=limits).dropped_messages)
    assert dropped == sorted(dropped)
    # Each change costs a whole evaluation: far fewer than one a turn.
    assert 2 < len(set(dropped)) < 15


def test_a_tools_answer_belongs_to_its_question() -> None:
    call = {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}
    newest = [{"role": "user", "content": "问"}, call, {"role": "tool", "content": "结果 " * 30}]
    prompt = build([*turn(1, 60), *turn(2, 60), *newest])
    assert prompt.ids == build(newest).ids


def test_a_newest_turn_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ApiError) as refused:
        build([*turn(1), {"role": "user", "content": "天" * 500}])
    assert refused.value.code == "context_length_exceeded"
    assert refused.value.values["prompt_tokens"] > 500
    assert refused.value.values["limit"] < 400


def test_tools_count_as_something_that_stays() -> None:
    tools = [{"type": "function", "function": {"name": "f", "description": "很长 " * 300}}]
    with pytest.raises(ApiError, match="newest turn and the system message"):
        build([{"role": "user", "content": "hi"}], tools=tools)


def test_the_models_own_ids_are_used_for_its_answers() -> None:
    answers = Answers()
    ids = TOKENIZER._pieces.PieceToId(list("你好"))
    answers.remember("你好", ids)
    prompt = build([{"role": "user", "content": "问"}, {"role": "assistant", "content": " 你好\n"}], answers)
    assert prompt.ids[-len(ids) - 2 :] == [TOKENIZER.assistant, *ids, TOKENIZER.assistant]


def test_only_recent_answers_are_remembered() -> None:
    answers = Answers(limit=3)
    for number in range(5):
        answers.remember(str(number), [number])
    assert [answers.find(str(number)) for number in range(5)] == [None, None, (2,), (3,), (4,)]


def test_asking_for_json_adds_a_hint() -> None:
    messages = [{"role": "user", "content": "hi"}]
    plain, hinted = build(messages), build(messages, response_format={"type": "json_object"})
    assert len(hinted.ids) > len(plain.ids) + 10


messages_strategy = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["system", "user", "assistant", "tool"]),
            "content": st.integers(0, 60).map(lambda count: "天" * count),
        }
    ),
    min_size=1,
    max_size=20,
)


@given(messages_strategy, st.one_of(st.none(), st.integers(0, 1000)), st.integers(64, 600))
def test_prompt_and_answer_always_fit(messages: list[dict[str, Any]], wanted: int | None, context: int) -> None:
    limits = Limits(context, context, 100)
    try:
        prompt = build(messages, limits=limits, max_tokens=wanted)
    except ApiError as error:
        refused = error
    else:
        assert prompt.max_new >= 1
        assert len(prompt.ids) + prompt.max_new <= context
        assert prompt.dropped_messages < len(messages)
        return
    assert refused.code == "context_length_exceeded"


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ["messages", "tools", "functions", "stop", "temperature", "max_tokens", "stream_options", "response_format"]


def status_of(parse: Callable[[], object]) -> int:
    try:
        parse()
    except ApiError as error:
        error.body()
        return error.status
    return 200


@given(st.dictionaries(st.sampled_from([*FIELDS, "role", "content", "n"]), json_like))
def test_whatever_is_sent_is_a_request_or_a_400(body: dict[str, Any]) -> None:
    hello = [{"role": "user", "content": "hi"}]
    for request in (body, {"messages": hello, **body}, {"messages": [{"role": "assistant", **body}]}):
        assert status_of(lambda request=request: parse_chat(request)) in (200, 400)  # type: ignore[misc]


@given(st.binary(max_size=80))
def test_bytes_that_are_no_json_are_a_400(body: bytes) -> None:
    assert status_of(lambda: parse_json(body)) in (200, 400)
