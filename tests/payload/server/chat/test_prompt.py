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
from oneclick.server.chat.body_text import decode, parse_json
from oneclick.server.chat.prompt import Answers, Limits, Prompt, build_chat
from oneclick.server.chat.request import parse_chat
from tests.payload.server.chat.test_text import TOKENIZER

LIMITS = Limits(context=400, prompt=400, default_answer=100)
WIDE = Limits(context=2000, prompt=2000, default_answer=100)


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
    ids = TOKENIZER._pieces.processor.PieceToId(list("你好"))
    answers.remember("你好", ids)
    prompt = build(
        [{"role": "user", "content": "问"}, {"role": "assistant", "content": " 你好\n"}],
        answers,
        add_generation_prompt=True,
    )
    assert prompt.ids[-len(ids) - 2 :] == [TOKENIZER.assistant, *ids, TOKENIZER.assistant]


def test_only_recent_answers_are_remembered() -> None:
    answers = Answers(limit=3)
    for number in range(5):
        answers.remember(str(number), [number])
    assert [answers.find(str(number)) for number in range(5)] == [None, None, (2,), (3,), (4,)]


def test_a_long_max_tokens_shortens_no_conversation() -> None:
    limits = Limits(context=1000, prompt=1000, default_answer=100)
    messages = [message for number in range(7) for message in turn(number)] + [{"role": "user", "content": "好"}]
    length = len(build(messages, limits=WIDE).ids)
    assert 750 < length < 938
    for wanted in (300, 5000, 10**9):
        prompt = build(messages, limits=limits, max_tokens=wanted)
        assert (prompt.dropped_messages, prompt.max_new) == (0, min(wanted, 1000 - length))


def test_a_later_system_message_goes_with_its_turn() -> None:
    late = {"role": "system", "content": "现在 只用 中文"}
    turns = [message for number in range(9) for message in (late, *turn(number))]
    messages = [{"role": "system", "content": "系统"}, *turns[1:], late, {"role": "user", "content": "最新"}]
    prompt = build(messages, limits=Limits(context=800, prompt=800, default_answer=100))
    assert prompt.dropped_messages in range(2, 26, 3)
    assert prompt.ids == build([messages[0], *messages[1 + prompt.dropped_messages :]], limits=WIDE).ids


QUESTION = {"role": "user", "content": "问"}


@pytest.mark.parametrize("content", ["答案是", [{"type": "text", "text": "答案是"}]])
def test_a_last_message_of_the_assistant_is_continued(content: Any) -> None:
    begun = build([QUESTION, {"role": "assistant", "content": content}])
    assert begun.ids == build([QUESTION, {"role": "assistant", "content": content}], continue_final_message=True).ids
    assert begun.ids[-1] != TOKENIZER.assistant
    assert begun.begun
    for opposite in ({"continue_final_message": False}, {"add_generation_prompt": True}):
        closed = build([QUESTION, {"role": "assistant", "content": content}], **opposite)
        assert closed.ids == [*begun.ids, TOKENIZER.assistant]


@pytest.mark.parametrize("content", ["", None, [], " \n"])
def test_an_empty_bubble_for_the_answer_is_no_message(content: Any) -> None:
    assert build([QUESTION, {"role": "assistant", "content": content}]).ids == build([QUESTION]).ids


PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
FUNCTION = {"name": "get_weather", "description": "天气", "parameters": PARAMETERS}
WRAPPED = [{"type": "function", "function": FUNCTION}]


@pytest.mark.parametrize(
    "tools",
    [
        [FUNCTION],
        FUNCTION,
        {"get_weather": {"description": "天气", "parameters": PARAMETERS}},
        {"get_weather": FUNCTION},
        [None, {"type": "function", **FUNCTION}],
    ],
)
def test_tools_are_taken_as_chatglm3s_demos_send_them(tools: Any) -> None:
    assert build([QUESTION], tools=tools, limits=WIDE).ids == build([QUESTION], tools=WRAPPED, limits=WIDE).ids


def test_the_demos_params_reach_the_model() -> None:
    params = [{"name": "city", "description": "城市", "type": "str", "required": True}]
    request = parse_chat({"messages": [QUESTION], "tools": {"f": {"name": "f", "params": params}}})
    assert request.tools == ({"name": "f", "params": params},)


def test_tools_in_a_system_message_are_tools() -> None:
    said = "Answer the following questions as best as you can. You have access to the following tools:"
    for content in ("", said, said + "\n"):
        system = {"role": "system", "content": content, "tools": [FUNCTION]}
        assert build([system, QUESTION], limits=WIDE).ids == build([QUESTION], tools=WRAPPED, limits=WIDE).ids


CODE = "```python\ntool_call(city='北京')\n```"
CALL = {"name": "get_weather", "arguments": '{"city": "北京"}'}


@pytest.mark.parametrize("content", [f"get_weather\n{CODE}", f"get_weather\n {CODE}", CODE, f"\n{CODE}\n"])
@pytest.mark.parametrize("calls", [{"tool_calls": [{"id": "1", "function": CALL}]}, {"function_call": CALL}])
def test_a_call_that_is_in_the_text_too_is_read_once(content: str, calls: dict[str, Any]) -> None:
    result = {"role": "tool", "content": "晴"}
    once = build([QUESTION, {"role": "assistant", "content": None, **calls}, result], tools=WRAPPED, limits=WIDE)
    both = build([QUESTION, {"role": "assistant", "content": content, **calls}, result], tools=WRAPPED, limits=WIDE)
    assert both.ids == once.ids


@pytest.mark.parametrize(
    "message", [{"content": f"get_weather\n{CODE}"}, {"content": CODE, "metadata": "get_weather"}], ids=["text", "demo"]
)
def test_a_call_in_the_history_has_the_tools_name_in_its_head(message: dict[str, str]) -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": CALL}]}
    result = {"role": "observation", "content": "晴"}
    assert (
        build([QUESTION, {"role": "assistant", **message}, result], tools=WRAPPED, limits=WIDE).ids
        == build([QUESTION, call, result], tools=WRAPPED, limits=WIDE).ids
    )


def test_words_and_a_call_in_one_message_are_both_kept() -> None:
    calls = {"tool_calls": [{"id": "1", "function": CALL}]}
    both = build([QUESTION, {"role": "assistant", "content": "我查一下", **calls}], tools=WRAPPED, limits=WIDE)
    assert both.ids.count(TOKENIZER.assistant) == 3


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
FIELDS = [
    "messages",
    "tools",
    "functions",
    "tool_choice",
    "stop",
    "temperature",
    "max_tokens",
    "stream_options",
    "response_format",
]


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
    assert status_of(lambda: parse_json(decode(body, ""))) in (200, 400)
