"""Tool calls as ChatGLM3 writes them, read without evaluating anything."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from oneclick.server.chat.answer import AnswerReader
from oneclick.server.chat.request import ToolCall
from oneclick.server.chat.tools import call_text, parameter_names, parse_call, system_text
from tests.payload.server.chat.test_text import TOKENIZER, bytes_of

NAMES: dict[str, Sequence[str]] = {"get_weather": ("location", "days"), "search": ()}


def call(inside: str, name: str = "get_weather") -> str:
    return f"{name}\n```python\ntool_call({inside})\n```"


@pytest.mark.parametrize(
    ("inside", "arguments"),
    [
        ("location='北京'", {"location": "北京"}),
        ("location='北京', days=3", {"location": "北京", "days": 3}),
        ("a=[1, {'b': None}], c=True, d=-1.5", {"a": [1, {"b": None}], "c": True, "d": -1.5}),
        ("", {}),
        ("**{'a b': 1}", {"a b": 1}),
        ('text="""two\nlines"""', {"text": "two\nlines"}),
        ("location='北京',", {"location": "北京"}),
        # What the model knows from JSON, from Chinese and from nowhere.
        ("a=true, b=false, c=null, d=none", {"a": True, "b": False, "c": None, "d": None}),
        ("location=“北京”，days=3", {"location": "北京", "days": 3}),
        ("location=‘北京’", {"location": "北京"}),
        ("location＝'北京'", {"location": "北京"}),
        ("location='第一行\n第二行'", {"location": "第一行\n第二行"}),
        ("location=北京", {"location": "北京"}),
        ("location=New York, days=3", {"location": "New York", "days": 3}),
        ("date=2024-01-31", {"date": "2024-01-31"}),
        ("path=a/b.txt", {"path": "a/b.txt"}),
        ("'北京', 3", {"location": "北京", "days": 3}),
        ("北京", {"location": "北京"}),
        ("'北京', days=3", {"location": "北京", "days": 3}),
        ('{"location": "北京", "days": 3}', {"location": "北京", "days": 3}),
        ('"location": "北京"', {"location": "北京"}),
        ("location: '北京'", {"location": "北京"}),
        ("a=[北京, 上海], b={'x': true,}, c=(1, 2)", {"a": ["北京", "上海"], "b": {"x": True}, "c": [1, 2]}),
        ("a='it\\'s \\u4f60 \\x41 \\d \\n'", {"a": "it's 你 A \\d \n"}),
        ("a='one' 'two'", {"a": "onetwo"}),
        ("a=+5, b=.5, c=1., d=0x10, e=007, f=1e3", {"a": 5, "b": 0.5, "c": 1.0, "d": 16, "e": 7, "f": 1000.0}),
        ("a='```'", {"a": "```"}),
    ],
)
def test_a_call_becomes_json(inside: str, arguments: dict[str, object]) -> None:
    read = parse_call(call(inside), NAMES)
    assert read is not None
    assert read.name == "get_weather"
    assert json.loads(read.arguments) == arguments


@pytest.mark.parametrize(
    "text",
    [
        "我来查一下天气。",
        "get_weather",
        call("location=__import__('os').system('echo hacked')"),
        call("'one', 2, 'too many'"),
        call("a=open('x')"),
        call("a=1+2j"),
        call("a={1, 2}"),
        call("a=b'bytes'"),
        call("a=(lambda: 1)()"),
        call("a=x(1)"),
        call("a=1*2"),
        call("a=x + y"),
        call("a=x == y"),
        call("a=f'{x}'"),
        call("a='cut"),
        call("a='\\U00110000'"),
        call("a=1, b"),
        call("a=" + "[" * 100_000),
        call("a='" + "x" * 30_000 + "'"),
        call("a=[y for y in (1,)]"),
        call("**{1: 2}"),
        call("a=" + "(" * 500 + ")" * 500),
        call("a=1e999"),
        "get_weather\n```python\nimport os\n```",
        "get_weather\n```python\ntool_call(a=1\n```",
        call("a=1", name="unknown_tool"),
        call("a=1", name="get_weather extra"),
        "\n\n```python\ntool_call(a=1)\n```",
    ],
)
def test_everything_else_is_text(text: str) -> None:
    assert parse_call(text, NAMES) is None


@pytest.mark.parametrize(
    "text",
    [
        "get_weather\n ```python\ntool_call(location='北京')\n```",
        "get_weather\n```\ntool_call(location='北京')\n```",
        "get_weather\n```python\ntool_call(location='北京')",
        "get_weather\n```python\ntool_call(location='北京')```",
        'get_weather\n```json\n{"location": "北京"}\n```',
        "get_weather\ntool_call(location='北京')",
        "get_weather\nget_weather(location='北京')",
        "get_weather\n```python\ntool_call(location='北京');\n```\n好的，正在查询。",
        "get_weather\n```python\n# 查询\ntool_call(\n    location='北京',\n)\n```",
        "get_weather\n好的\n```python\ntool_call（location='北京'）\n```",
    ],
)
def test_a_call_is_found_however_it_is_fenced(text: str) -> None:
    assert parse_call(text, NAMES) == ToolCall("get_weather", '{"location": "北京"}')


def test_half_a_character_in_a_call_becomes_a_whole_one() -> None:
    read = parse_call(call(r"a='\ud83d'"), NAMES)
    assert read == ToolCall("get_weather", '{"a": "\ufffd"}')


@given(st.text(alphabet="tool_call()=,'\"“”[]{}:#\\*-1.e true`\n北", max_size=60))
def test_any_words_are_a_call_or_text(inside: str) -> None:
    parse_call(f"search\n{inside}", NAMES)


def test_the_names_of_parameters_come_from_either_form() -> None:
    functions = [
        {"name": "a", "parameters": {"type": "object", "properties": {"x": {}, "y": {}}}},
        {"name": "b", "params": [{"name": "z"}, 5, {}]},
        {"name": "c", "parameters": {"properties": 5}},
    ]
    assert parameter_names(functions) == {"a": ("x", "y"), "b": ("z",), "c": ()}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@example({"True": None})
@example({"class": 1, "__debug__": 2})
@example({"\ufb01le": "a ligature that Python's parser would fold"})
@given(st.dictionaries(st.text(min_size=1, max_size=6), json_values, max_size=4))
def test_a_call_sent_back_as_history_reads_as_the_same_call(arguments: dict[str, object]) -> None:
    sent = ToolCall("search", json.dumps(arguments))
    text = f"search\n{call_text(sent)}"
    if "```" in call_text(sent)[9:-3]:
        return  # a fence inside an argument ends the block for every reader
    read = parse_call(text, NAMES)
    assert read is not None
    assert json.loads(read.arguments) == json.loads(json.dumps(arguments).encode("utf-8", "replace").decode())


def test_arguments_that_are_no_json_are_passed_as_text() -> None:
    assert "tool_call('not json')" in call_text(ToolCall("search", "not json"))


def test_the_system_message_lists_the_functions_after_the_clients_own_words() -> None:
    text = system_text("简短回答", [{"name": "search", "description": "找"}])
    assert text.startswith("简短回答\n\nAnswer the following questions")
    assert json.loads(text[text.index("[") :]) == [{"name": "search", "description": "找"}]


def read(text: str, names: Mapping[str, Sequence[str]] = NAMES) -> tuple[list[str], AnswerReader]:
    reader = AnswerReader(TOKENIZER, (), names)
    shown = [reader.feed(token) for token in [300, *bytes_of("")] if False]
    for part in text.split("<|assistant|>"):
        if shown or reader.tokens:
            shown.append(reader.feed(TOKENIZER.assistant))
        shown += [reader.feed(token) for token in bytes_of(part)]
    shown.append(reader.finish())
    assert "".join(shown) == reader.text
    return [piece for piece in shown if piece], reader


def test_text_flows_although_tools_are_offered() -> None:
    shown, reader = read("\n 天气很好")
    assert "".join(shown) == "天气很好"
    assert len(shown) == 4
    assert reader.finish_reason("stop") == "stop"


def test_a_call_is_held_back_and_becomes_a_call() -> None:
    shown, reader = read(" " + call("location='北京'"))
    assert shown == []
    assert reader.calls == [ToolCall("get_weather", '{"location": "北京"}')]
    assert reader.finish_reason("stop") == "tool_calls"
    assert reader.finish_reason("stop", legacy=True) == "function_call"


def test_words_before_a_call_are_text() -> None:
    shown, reader = read("\n 我查一下<|assistant|> " + call("a=1", "search"))
    assert "".join(shown) == "我查一下"
    assert reader.calls == [ToolCall("search", '{"a": 1}')]


def test_a_call_that_cannot_be_read_is_shown_as_text() -> None:
    text = call("a='1", "search")[:-8]
    shown, reader = read(text)
    assert "".join(shown) == text
    assert reader.calls == []
    assert reader.finish_reason("length") == "length"


def test_text_that_begins_like_a_tools_name_is_shown() -> None:
    shown, reader = read("search for it")
    assert "".join(shown) == "search for it"
    assert reader.calls == []


def test_without_tools_a_call_is_just_text() -> None:
    shown, reader = read(call("a=1", "search"), {})
    assert "".join(shown) == call("a=1", "search")
    assert reader.calls == []
