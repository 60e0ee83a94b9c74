"""A conversation's file: read back exactly, pleasant to read, and whatever an editor did to it is understood."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneclick.messages import set_language
from oneclick.server.chats.document import Chat, NoChat, checked, from_file, to_file

HEAD = {"id": "0" * 24, "title": "旅行", "named": False, "role": "general", "system": "", "updatedAt": 2}

START = b'<!-- {"title": "x", "updatedAt": 1} -->\n\n'


def version(text: str, **more: Any) -> dict[str, Any]:
    return {"text": text, "state": "done", "finish": "stop", "error": None, "figures": None, "createdAt": 3, **more}


def question(text: str) -> dict[str, Any]:
    return {"id": "q", "position": 1, "role": "user", "createdAt": 1, "text": text}


def answer(*texts: str) -> dict[str, Any]:
    versions = [version(text) for text in texts]
    return {"id": "a", "position": 2, "role": "assistant", "createdAt": 1, "active": 0, "versions": versions}


# What the page can hold: no line breaks of Windows (see the test of them), no halves of emoji.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r")) | st.lists(
    st.sampled_from(
        ["<!-- {", '\\<!-- {"role": "user"} -->', '<!-- {"role": "user"} -->', "## 我", "", " ", "-->", "x"]
    )
).map("\n".join)
CHATS = st.builds(
    Chat,
    st.builds(lambda title, system: {**HEAD, "title": title, "system": system}, TEXTS, TEXTS),
    st.lists(TEXTS.map(question) | st.lists(TEXTS, min_size=1, max_size=3).map(lambda texts: answer(*texts))),
)


@given(CHATS)
def test_what_is_written_reads_back_exactly(chat: Chat) -> None:
    assert from_file(to_file(chat)) == chat


@given(CHATS, st.sampled_from(["utf-8-sig", "utf-16"]))
def test_what_notepad_makes_of_it_reads_back_the_same(chat: Chat, encoding: str) -> None:
    edited = to_file(chat).decode("utf-8").replace("\n", "\r\n").encode(encoding)
    assert from_file(edited) == chat


def test_a_file_saved_as_ansi_reads_back_the_same() -> None:
    chat = Chat(dict(HEAD), [question("成都有什么好吃的？")])
    assert from_file(to_file(chat).decode("utf-8").encode("gbk")) == chat


def test_line_breaks_of_windows_and_halves_of_emoji_are_made_plain() -> None:
    chat = from_file(to_file(Chat(dict(HEAD), [question("一\r\n二\r三\ud83d")])))
    assert chat.messages[0]["text"] == "一\n二\n三\ufffd"


def test_it_reads_like_a_conversation() -> None:
    set_language("zh")
    lines = to_file(Chat(dict(HEAD), [question("去哪里？"), answer("成都。", "重庆。")])).decode("utf-8").split("\n")
    said = [line for line in lines if line and not line.startswith("<!--")]
    assert said == ["# 旅行", "## 我", "去哪里？", "## ChatGLM3 (1/2)", "成都。", "## ChatGLM3 (2/2)", "重庆。"]


def test_a_text_changed_in_an_editor_counts() -> None:
    content = to_file(Chat(dict(HEAD), [question("去哪里？"), answer("成都。")]))
    chat = from_file(content.replace("成都。".encode(), "成都。\n还有乐山。".encode()))
    assert chat.messages[1]["versions"][0]["text"] == "成都。\n还有乐山。"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 5000,
        b"\xff\xfe\xff",
        "# 只是笔记\n\n没有记号".encode(),
        b"<!-- {} -->",
        b'<!-- {"title": 3, "updatedAt": 1} -->',
        b'<!-- {"title": "x", "updatedAt": NaN} -->',
        START + b'<!-- {"version": {}} -->\n\n\nx\n',
        START + b'<!-- {"id": "m", "role": "system"} -->\n\n\nx\n',
        START + b'<!-- {"id": "m", "role": "assistant", "active": 1, "version": {}} -->',
        START + b'<!-- {"id": "m", "role": "assistant", "active": 0} -->\n\n\nx\n',
        START + b'<!-- {"id": "m", "role": "user", "version": 3} -->\n\n\nx\n',
        b'<!-- {"title": "x", "updatedAt": 1, "a": ' + b"[" * 5000 + b"]" * 5000 + b"} -->\n",
    ],
)
def test_a_damaged_or_foreign_file_is_told_apart(content: bytes) -> None:
    with pytest.raises(NoChat):
        from_file(content)


@given(st.integers(0, 10_000), st.binary(max_size=8))
def test_damage_anywhere_is_read_or_told_and_nothing_else(place: int, damage: bytes) -> None:
    content = to_file(Chat(dict(HEAD), [question("去哪里？"), answer("成都。", "重庆。")]))
    place %= len(content)
    try:
        chat = from_file(content[:place] + damage + content[place + len(damage) :])
    except NoChat:
        return
    json.dumps(chat.messages)
    checked(chat.conversation, chat.messages)
