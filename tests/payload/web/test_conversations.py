"""What is kept: across reloads, closed pages, dead servers, files and other browsers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.payload.conftest import wait_for
from tests.payload.web.conftest import (
    LONG,
    PATIENCE_MS,
    SHORT,
    ChatPage,
    OpenPage,
    export_of,
    forget_chats,
    run_program,
    stored_answer,
)
from tests.support.native_bundle import Program

pytestmark = pytest.mark.browser


@pytest.fixture
def mortal_program(tmp_path: Path) -> Iterator[Program]:
    """A slow program that a test may kill and start again."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    yield from run_program(folder, "small")


def wait_for_text(chat: ChatPage, length: int) -> str:
    """Wait until the last answer has more than ``length`` characters and return them."""
    chat.page.wait_for_function(
        "length => [...document.querySelectorAll('.message.assistant .body')].at(-1)?.textContent.length > length",
        arg=length,
    )
    return chat.answers.last.text_content() or ""


def menu(chat: ChatPage, item: str) -> None:
    """Choose ``item`` from the first conversation's menu."""
    chat.find(".conversation").first.hover()
    chat.find(".conversation .icon-button").first.click()
    chat.page.get_by_role("menuitem", name=item).click()


def test_a_server_killed_in_mid_answer_loses_nothing_and_the_answer_goes_on(
    open_page: OpenPage, mortal_program: Program
) -> None:
    chat = open_page(mortal_program.url, may_fail=True, preferences=LONG)
    chat.send("讲个长故事")
    wait_for_text(chat, 40)
    mortal_program.kill()
    expect(chat.find(".end.serious")).to_contain_text("已写好的部分保留在这里")
    expect(chat.find(".state-card")).to_contain_text("连不上本机的 ChatGLM 程序")
    expect(chat.find(".state-card")).to_contain_text("一键运行.bat")
    part = chat.answers.last.text_content() or ""
    assert len(part) > 40
    mortal_program.start()
    expect(chat.find(".pill.good")).to_be_visible(timeout=PATIENCE_MS)
    expect(chat.find(".state-card")).to_be_hidden()
    chat.button("接着说").click()
    grown = wait_for_text(chat, len(part) + 20)
    assert grown.startswith(part.rstrip())
    chat.button("停止回答").click()


def test_a_question_asked_while_the_server_is_away_is_answered_when_it_comes_back(
    open_page: OpenPage, mortal_program: Program
) -> None:
    chat = open_page(mortal_program.url, may_fail=True, preferences=SHORT)
    mortal_program.kill()
    expect(chat.find(".pill.bad")).to_have_text("未连接")
    chat.send("在吗")
    expect(chat.find(".phase-words")).to_contain_text("准备好后马上回答")
    mortal_program.start()
    expect(chat.figures).to_have_count(1, timeout=2 * PATIENCE_MS)


def test_a_page_closed_in_mid_answer_keeps_the_part(open_page: OpenPage, slow_program: Program) -> None:
    chat = open_page(slow_program.url, preferences=LONG)
    chat.send("讲个长故事")
    wait_for_text(chat, 60)
    wait_for(lambda: len(stored_answer(chat)) > 40)
    context = chat.page.context
    chat.page.close()
    again = open_page(slow_program.url, again=context)
    expect(again.find(".message.user .body")).to_have_text("讲个长故事")
    expect(again.find(".end.serious")).to_contain_text("已写好的部分保留在这里")
    assert len(again.answers.last.text_content() or "") > 40


def test_a_reload_shows_the_same_conversation_and_draft(chat: ChatPage) -> None:
    answer = chat.ask("你好")
    chat.prompt.fill("还没写完")
    chat.page.reload()
    expect(chat.find(".message.user .body")).to_have_text("你好")
    expect(chat.answers.last).to_have_text(answer, use_inner_text=True)
    expect(chat.prompt).to_have_value("还没写完")
    expect(chat.find("#title")).to_have_text("你好")


def test_conversations_survive_a_restart_of_the_server(open_page: OpenPage, mortal_program: Program) -> None:
    chat = open_page(mortal_program.url, may_fail=True, preferences=SHORT)
    chat.ask("记住我")
    mortal_program.stop()
    mortal_program.start()
    chat.page.reload()
    expect(chat.find(".message.user .body")).to_have_text("记住我")


def test_an_answer_goes_on_while_another_conversation_is_open(slow_chat: ChatPage) -> None:
    slow_chat.send("第一个对话")
    wait_for_text(slow_chat, 20)
    slow_chat.button("新对话").first.click()
    expect(slow_chat.find("#hero")).to_be_visible()
    expect(slow_chat.find(".busy-dot")).to_be_visible()
    slow_chat.find(".conversation-open").first.click()
    before = len(wait_for_text(slow_chat, 20))
    wait_for_text(slow_chat, before)
    slow_chat.button("停止回答").click()
    expect(slow_chat.find(".busy-dot")).to_have_count(0)


def test_two_tabs_show_the_same_conversations(open_page: OpenPage, program: Program) -> None:
    first = open_page(program.url, preferences=SHORT)
    second = open_page(program.url, again=first.page.context)
    first.ask("两个窗口")
    expect(second.find(".conversation-title")).to_have_text(["两个窗口"])


def test_search_finds_words_in_titles_and_messages(chat: ChatPage) -> None:
    chat.import_text("a.json", export_of([("user", "x"), ("assistant", "成都的大熊猫很可爱")], "旅行"))
    chat.import_text("b.json", export_of([("user", "y"), ("assistant", "z")], "编程"))
    search = chat.page.get_by_role("searchbox")
    search.fill("熊猫")
    expect(chat.find(".conversation-title")).to_have_text(["旅行"])
    expect(chat.find(".conversation mark")).to_have_text("熊猫")
    search.fill("编")
    expect(chat.find(".conversation-title")).to_have_text(["编程"])
    search.fill("没有这个词")
    expect(chat.find(".conversations .empty")).to_contain_text("没有找到")
    search.press("Escape")
    expect(chat.find(".conversation-title")).to_have_count(2)


def test_a_conversation_is_renamed_and_keeps_its_name(chat: ChatPage) -> None:
    chat.ask("你好")
    menu(chat, "重命名")
    chat.page.get_by_role("textbox", name="对话名称").fill("我的笔记")
    chat.button("保存").click()
    expect(chat.find("#title")).to_have_text("我的笔记")
    chat.page.reload()
    expect(chat.find(".conversation-title")).to_have_text(["我的笔记"])


def test_a_deleted_conversation_can_be_brought_back(chat: ChatPage) -> None:
    answer = chat.ask("别删我")
    menu(chat, "删除")
    expect(chat.find(".conversation")).to_have_count(0)
    expect(chat.find("#hero")).to_be_visible()
    chat.button("撤销").click()
    expect(chat.find(".conversation-title")).to_have_text(["别删我"])
    expect(chat.answers.last).to_have_text(answer, use_inner_text=True)
    menu(chat, "删除")
    expect(chat.find(".conversation")).to_have_count(0)
    chat.page.reload()
    expect(chat.find("#hero")).to_be_visible()
    expect(chat.find(".conversation")).to_have_count(0)


def test_a_conversation_is_read_and_deleted_in_one_transaction(chat: ChatPage) -> None:
    """With two, a message that is stored between them would stay behind without its conversation."""
    modes = chat.page.evaluate(
        """async () => {
            const store = await import("/js/browser-store.js");
            const messages = [1, 0].map((position) => ({ id: `m${position}`, conversation: "c", position }));
            await store.put({ conversation: { id: "c", updatedAt: 1 }, messages });
            const modes = [];
            const transaction = IDBDatabase.prototype.transaction;
            IDBDatabase.prototype.transaction = function (stores, mode) {
                modes.push(mode);
                return transaction.call(this, stores, mode);
            };
            const gone = await store.deleteConversation("c");
            IDBDatabase.prototype.transaction = transaction;
            return [...modes, ...gone.map((message) => message.id), (await store.listMessages("c")).length];
        }"""
    )
    assert modes == ["readwrite", "m0", "m1", 0]


def test_an_export_of_everything_imports_as_it_was(chat: ChatPage, open_page: OpenPage, program: Program) -> None:
    chat.ask("问题一")
    chat.button("换一个回答").click()
    expect(chat.find(".versions")).to_contain_text("2/2", timeout=PATIENCE_MS)
    shown = chat.answers.last.inner_text()
    chat.button("设置").click()
    with chat.page.expect_download() as download:
        chat.button("导出全部对话").click()
    text = Path(download.value.path()).read_text(encoding="utf-8")
    assert download.value.suggested_filename.startswith("ChatGLM3-")
    chat.page.close()
    forget_chats(program)
    elsewhere = open_page(program.url)
    elsewhere.import_text("all.json", text)
    expect(elsewhere.find(".message.user .body")).to_have_text("问题一")
    expect(elsewhere.answers.last).to_have_text(shown, use_inner_text=True)
    expect(elsewhere.find(".versions")).to_contain_text("2/2")


def test_a_markdown_export_reads_well_and_imports_as_it_was(chat: ChatPage) -> None:
    answer = "# 题目\n\n正文\n\n<!-- message: user -->\n不是标记\n\n```\n## 我\n```"
    chat.import_text("a.json", export_of([("user", "第一\n第二"), ("assistant", answer)], "旅行/计划"))
    with chat.page.expect_download() as download:
        menu(chat, "导出为 Markdown")
    assert download.value.suggested_filename == "旅行 计划.md"
    text = Path(download.value.path()).read_text(encoding="utf-8")
    assert text.startswith("# 旅行/计划\n")
    assert "## 我\n\n第一\n第二\n" in text
    menu(chat, "删除")
    expect(chat.find(".conversation")).to_have_count(0)
    chat.import_text("back.md", text)
    with chat.page.expect_download() as download:
        menu(chat, "导出为 JSON")
    back = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))["conversations"][0]
    assert [message["text"] for message in back["messages"]] == ["第一\n第二", answer]
    assert back["title"] == "旅行/计划"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.json", "{", "不是完整的 JSON"),
        ("a.json", "[]", "不是本页面导出的"),
        ("a.json", '{"format": "chatglm-oneclick-conversations", "version": 99, "conversations": []}', "更新版本"),
    ],
)
def test_a_file_that_is_no_export_is_refused_in_words(chat: ChatPage, name: str, text: str, words: str) -> None:
    chat.button("设置").click()
    file = {"name": name, "mimeType": "application/json", "buffer": text.encode()}
    chat.find("dialog input[type=file]").set_input_files([file])  # type: ignore[list-item]
    expect(chat.find(".toast")).to_contain_text(words)
    chat.page.keyboard.press("Escape")
    expect(chat.find(".conversation")).to_have_count(0)


def test_everything_can_be_deleted_after_a_question(chat: ChatPage) -> None:
    chat.ask("你好")
    chat.button("设置").click()
    chat.button("清空全部对话").click()
    chat.page.get_by_role("dialog", name="清空全部对话").get_by_role("button", name="取消").click()
    expect(chat.find(".conversation")).to_have_count(1)
    chat.button("清空全部对话").click()
    chat.page.get_by_role("dialog", name="清空全部对话").get_by_role("button", name="删除").click()
    expect(chat.find(".conversation")).to_have_count(0)


def test_a_browser_that_refuses_to_store_says_so_and_still_chats(open_page: OpenPage, program: Program) -> None:
    chat = open_page(program.url)
    chat.page.add_init_script(
        "Object.defineProperty(window, 'indexedDB', { value: { open() { throw new Error('no'); } } });"
    )
    chat.page.reload()
    expect(chat.find(".toast")).to_contain_text("不让这个网页保存数据")
    chat.ask("你好")


def test_localhost_and_its_number_show_the_same_conversations(open_page: OpenPage, program: Program) -> None:
    chat = open_page(program.url, preferences=SHORT)
    chat.ask("同一个地方")
    chat.page.goto(chat.url.replace("127.0.0.1", "localhost"))
    expect(chat.page).to_have_url(re.compile(f"^{chat.url}"))
    expect(chat.find(".conversation-title")).to_have_text(["同一个地方"])
    chat.foreign.clear()


def test_what_is_typed_while_the_page_still_reads_its_store_is_sent(open_page: OpenPage, program: Program) -> None:
    chat = open_page(program.url, preferences=SHORT)
    chat.page.add_init_script(
        """const open = indexedDB.open.bind(indexedDB);
        const slow = (...names) => {
          const request = open(...names);
          const late = {};
          for (const name of ["onsuccess", "onupgradeneeded", "onerror"]) {
            Object.defineProperty(late, name, { set(listener) {
              request[name] = () => setTimeout(() => listener.call(request), name === "onsuccess" ? 1500 : 0);
            } });
          }
          return Object.defineProperty(late, "result", { get: () => request.result });
        };
        Object.defineProperty(indexedDB, "open", { value: slow });"""
    )
    chat.page.reload()
    chat.prompt.fill("很着急")
    chat.prompt.press("Enter")
    chat.page.keyboard.press("Control+k")
    expect(chat.find(".message.user .body")).to_have_text("很着急", timeout=PATIENCE_MS)
    expect(chat.figures).to_have_count(1, timeout=PATIENCE_MS)
