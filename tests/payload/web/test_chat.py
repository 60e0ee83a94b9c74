"""Talking: streaming, stopping, changing one's mind, and what answers look like."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from bundle.model.random_model import EOS_TOKEN_ID
from bundle.model.random_tokenizer import make_proto
from oneclick.server.chat.tokenizer import ChatTokenizer
from tests.payload.web.conftest import GREEDY, PATIENCE_MS, ChatPage, OpenPage, run_bundle, stored_answer
from tests.support.native_bundle import MODEL_NAME, Program, make_native_bundle
from tests.support.scripted_model import write_scripted_model

pytestmark = pytest.mark.browser


def test_an_answer_streams_in_and_ends_with_its_figures(slow_chat: ChatPage) -> None:
    slow_chat.send("你好")
    body = slow_chat.answers.last
    expect(body).to_have_class("body markdown growing", timeout=PATIENCE_MS)
    first = body.inner_text()
    slow_chat.page.wait_for_function(
        "before => document.querySelector('.message.assistant .body').innerText.length > before", arg=len(first)
    )
    slow_chat.button("停止回答").click()
    expect(slow_chat.find(".end")).to_contain_text("已停止")


def test_stopping_keeps_the_part_and_continuing_goes_on_with_it(slow_chat: ChatPage) -> None:
    slow_chat.send("讲个故事")
    body = slow_chat.answers.last
    slow_chat.page.wait_for_function("() => document.querySelector('.message.assistant .body').textContent.length > 20")
    slow_chat.page.keyboard.press("Escape")
    expect(slow_chat.find(".end")).to_contain_text("已停止")
    part = stored_answer(slow_chat)
    assert len(part) > 20
    slow_chat.button("接着说").click()
    slow_chat.page.wait_for_function(
        "before => document.querySelector('.message.assistant .body').textContent.length > before + 20",
        arg=len(body.text_content() or ""),
    )
    slow_chat.button("停止回答").click()
    expect(slow_chat.find(".end")).to_contain_text("已停止")
    assert stored_answer(slow_chat).startswith(part)


def test_an_answer_cut_at_its_limit_says_so_and_can_go_on(chat: ChatPage) -> None:
    chat.set_preferences(**GREEDY, maxTokens=48)
    chat.ask("你好")
    expect(chat.find(".end")).to_contain_text("最长回答")
    half = stored_answer(chat)
    chat.button("接着说").click()
    chat.page.wait_for_function(
        "before => document.querySelector('.message.assistant .body').textContent.length > before", arg=len(half)
    )
    expect(chat.find(".end")).to_contain_text("最长回答")
    whole = stored_answer(chat)
    chat.set_preferences(**GREEDY, maxTokens=96)
    chat.button("换一个回答").click()
    expect(chat.find(".versions")).to_contain_text("2/2", timeout=PATIENCE_MS)
    expect(chat.find(".end")).to_contain_text("最长回答")
    assert whole.startswith(half)
    assert stored_answer(chat) == whole


def test_another_answer_leaves_the_first_one_to_leaf_back_to(chat: ChatPage) -> None:
    first = chat.ask("你好")
    chat.set_preferences(temperature=2, maxTokens=64)
    chat.button("换一个回答").click()
    expect(chat.find(".versions")).to_contain_text("2/2", timeout=PATIENCE_MS)
    assert chat.answers.count() == 1
    assert chat.answers.last.inner_text() != first
    chat.button("上一个回答").click()
    expect(chat.answers.last).to_have_text(first, use_inner_text=True)
    expect(chat.button("上一个回答")).to_be_disabled()


@pytest.fixture
def silent_program(tmp_path: Path) -> Iterator[Program]:
    """A program whose model ends every answer before its first word."""
    tokenizer = ChatTokenizer(make_proto(), EOS_TOKEN_ID)
    make_native_bundle(tmp_path)
    write_scripted_model(tmp_path / MODEL_NAME, [EOS_TOKEN_ID], tokenizer.assistant)
    yield from run_bundle(tmp_path)


def test_an_answer_without_a_word_says_so_and_offers_another_try(open_page: OpenPage, silent_program: Program) -> None:
    chat = open_page(silent_program.url)
    chat.send("你好")
    expect(chat.find(".end")).to_contain_text("模型没有说话")
    chat.button("再试一次").click()
    expect(chat.find(".versions")).to_contain_text("2/2")
    expect(chat.find(".end")).to_contain_text("模型没有说话")


@pytest.fixture
def looping_program(tmp_path: Path) -> Iterator[Program]:
    """A program whose model says one sentence again and again."""
    tokenizer = ChatTokenizer(make_proto(), EOS_TOKEN_ID)
    make_native_bundle(tmp_path)
    sentence = [token for text in "我们可以，" for token in tokenizer.encode(text)[-1:]]
    write_scripted_model(tmp_path / MODEL_NAME, sentence, tokenizer.assistant, again=True)
    yield from run_bundle(tmp_path)


def test_an_answer_that_repeats_itself_is_ended_and_says_why(open_page: OpenPage, looping_program: Program) -> None:
    chat = open_page(looping_program.url)
    chat.set_preferences(**GREEDY, maxTokens=2000)
    chat.ask("你好")
    expect(chat.find(".hint-line")).to_contain_text("重复同样的话")
    assert 300 <= len(stored_answer(chat)) < 400


def test_an_edited_question_replaces_what_followed_and_can_be_undone(chat: ChatPage) -> None:
    chat.ask("第一个问题")
    chat.ask("第二个问题")
    before = chat.answers.all_inner_texts()
    chat.find(".message.user").first.hover()
    chat.find(".message.user").first.get_by_role("button", name="修改").click()
    chat.page.get_by_role("textbox", name="修改").fill("改过的问题")
    chat.button("重新发送").click()
    expect(chat.find(".message.user .body")).to_have_text(["改过的问题"])
    expect(chat.figures).to_have_count(1, timeout=PATIENCE_MS)
    chat.button("撤销").click()
    expect(chat.find(".message.user .body")).to_have_text(["第一个问题", "第二个问题"])
    assert chat.answers.all_inner_texts() == before


def test_arrow_up_in_an_empty_input_edits_the_last_question(chat: ChatPage) -> None:
    chat.ask("你好")
    chat.prompt.press("ArrowUp")
    editor = chat.page.get_by_role("textbox", name="修改")
    expect(editor).to_be_focused()
    editor.press("Escape")
    expect(editor).to_have_count(0)
    expect(chat.find(".message.user .body")).to_have_text(["你好"])


def test_the_whole_answer_is_copied_as_it_was_written(chat: ChatPage) -> None:
    chat.import_answer("# 标题\n\n**重点** 和 `代码`")
    chat.find(".message.assistant").get_by_role("button", name="复制").first.click()
    assert chat.page.evaluate("navigator.clipboard.readText()") == "# 标题\n\n**重点** 和 `代码`"


def test_code_is_coloured_and_copied_without_its_frame(chat: ChatPage) -> None:
    body = chat.import_answer("```python\ndef f(x):\n    return x + 1\n```")
    expect(body.locator(".hljs-keyword").first).to_have_text("def")
    body.get_by_role("button", name="复制").click()
    expect(body.get_by_role("button", name="已复制")).to_be_visible()
    assert chat.page.evaluate("navigator.clipboard.readText()") == "def f(x):\n    return x + 1"


def test_tables_lists_and_emphasis_are_set_as_written(chat: ChatPage) -> None:
    body = chat.import_answer(
        "| 名称 | 数量 |\n|---|--:|\n| 苹果 | 3 |\n\n1. 一\n2. 二\n\n- [x] 完成\n\n~~旧~~ [链接](https://example.com/)"
    )
    expect(body.get_by_role("cell", name="苹果")).to_be_visible()
    expect(body.get_by_role("cell", name="3")).to_have_attribute("align", "right")
    expect(body.locator("ol > li")).to_have_count(2)
    expect(body.locator("input[type=checkbox]")).to_be_checked()
    expect(body.locator("del")).to_have_text("旧")
    expect(body.get_by_role("link", name="链接")).to_have_attribute("rel", "noopener noreferrer nofollow")


def test_emphasis_beside_chinese_punctuation_works(chat: ChatPage) -> None:
    texts = ["**注意：**请先保存", "这是**“重点”**内容", "他说**（很好）**。"]
    body = chat.import_answer("\n\n".join(texts))
    expect(body.locator("strong")).to_have_text(["注意：", "“重点”", "（很好）"])
    assert "*" not in body.inner_text()


def test_an_address_ends_where_the_chinese_sentence_goes_on(chat: ChatPage) -> None:
    body = chat.import_answer("请看https://example.com/a?b=1。然后继续，或 https://example.org/路径")
    links = [link.get_attribute("href") for link in body.locator("a").all()]
    assert links == ["https://example.com/a?b=1", "https://example.org/"]


def test_enter_sends_and_shift_enter_starts_a_line(chat: ChatPage) -> None:
    chat.prompt.fill("第一行")
    chat.prompt.press("Shift+Enter")
    chat.prompt.type("第二行")
    expect(chat.find(".message")).to_have_count(0)
    chat.prompt.press("Enter")
    expect(chat.find(".message.user .body")).to_have_text("第一行\n第二行", use_inner_text=True)
    expect(chat.prompt).to_have_value("")


def test_with_the_other_setting_enter_starts_a_line_and_ctrl_enter_sends(chat: ChatPage) -> None:
    chat.set_preferences(sendKey="ctrl-enter", maxTokens=16)
    chat.prompt.fill("一")
    chat.prompt.press("Enter")
    chat.prompt.type("二")
    expect(chat.find(".message")).to_have_count(0)
    chat.prompt.press("Control+Enter")
    expect(chat.find(".message.user .body")).to_have_text("一\n二", use_inner_text=True)


def test_enter_that_picks_a_word_of_an_input_method_sends_nothing(chat: ChatPage) -> None:
    chat.prompt.focus()
    devtools = chat.page.context.new_cdp_session(chat.page)
    devtools.send("Input.imeSetComposition", {"text": "nihao", "selectionStart": 5, "selectionEnd": 5})
    # While composing, browsers report the key as 229, "the input method has it".
    devtools.send(
        "Input.dispatchKeyEvent",
        {"type": "rawKeyDown", "key": "Process", "code": "Enter", "windowsVirtualKeyCode": 229},
    )
    devtools.send(
        "Input.dispatchKeyEvent", {"type": "keyDown", "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
    )
    expect(chat.find(".message")).to_have_count(0)
    devtools.send("Input.insertText", {"text": "你好"})
    expect(chat.prompt).to_have_value("你好")
    expect(chat.find(".message")).to_have_count(0)
    chat.prompt.press("Enter")
    expect(chat.find(".message.user .body")).to_have_text("你好")


def test_nothing_but_white_space_is_not_sent(chat: ChatPage) -> None:
    chat.prompt.fill("  \n ")
    expect(chat.find("#send")).to_be_disabled()
    chat.prompt.press("Enter")
    expect(chat.find(".message")).to_have_count(0)


def test_the_input_grows_with_the_text_up_to_a_limit(chat: ChatPage) -> None:
    def height() -> float:
        box = chat.prompt.bounding_box()
        assert box
        return box["height"]

    one_line = height()
    chat.prompt.fill("一\n二\n三\n四")
    assert height() > 2.5 * one_line
    chat.prompt.fill("\n".join("很多行" for _ in range(200)))
    assert height() <= 0.4 * 800 + 2
