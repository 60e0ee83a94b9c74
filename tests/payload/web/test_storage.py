"""Where the folder cannot have conversations the browser has them, also one whose store is slow, stuck, closed or full:
the chat goes on, and nothing is lost that can be kept."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from oneclick.folder import CHATS
from tests.payload.web.conftest import SHORT, ChatPage, OpenPage
from tests.support.native_bundle import Program

pytestmark = pytest.mark.browser

# Makes the page's first `count` openings of its store stay without an answer.
STUCK = """
window.stuck = { left: %s };
const open = indexedDB.open.bind(indexedDB);
Object.defineProperty(indexedDB, "open", { value: (...names) => (stuck.left-- > 0 ? {} : open(...names)) });
"""

# Lets every saving fail while window.full is true, as a full disk does.
FULL = """
window.full = true;
const put = IDBObjectStore.prototype.put;
IDBObjectStore.prototype.put = function (value) {
  if (full) throw new DOMException("no room", "QuotaExceededError");
  return put.call(this, value);
};
"""


@pytest.fixture
def program(program: Program) -> Program:
    """A program whose folder of conversations cannot be used: even root cannot write into a file as if it were one."""
    (program.folder / CHATS).write_bytes(b"")
    return program


@pytest.fixture
def asked(open_page: OpenPage, program: Program) -> ChatPage:
    """A page with one question and its answer."""
    chat = open_page(program.url, preferences=SHORT, may_fail=True)
    chat.ask("第一个问题")
    return chat


def test_a_store_that_does_not_answer_is_asked_again(asked: ChatPage) -> None:
    asked.page.add_init_script(STUCK % 1)
    asked.page.reload()
    expect(asked.find(".message.user .body")).to_have_text("第一个问题")
    expect(asked.find(".toast")).to_have_count(0)


def test_a_store_that_never_answers_does_not_keep_the_page_from_chatting(asked: ChatPage) -> None:
    asked.page.add_init_script(STUCK % "Infinity")
    asked.page.reload()
    expect(asked.find("#hero")).to_be_visible()
    asked.ask("没有存储也能聊吗")
    asked.ask("再问一个")
    expect(asked.find(".conversation-title")).to_have_text(["没有存储也能聊吗"])
    expect(asked.find(".toast")).to_contain_text("不让这个网页保存数据")


def test_a_store_that_answers_late_brings_the_conversations_back(asked: ChatPage) -> None:
    asked.page.add_init_script(STUCK % 1)
    asked.page.reload()
    expect(asked.find("#hero")).to_be_visible()
    asked.ask("等不及了")
    expect(asked.find(".conversation-title")).to_have_text(["等不及了", "第一个问题"])
    expect(asked.find(".message.user .body")).to_have_text("等不及了")
    asked.page.reload()
    expect(asked.find(".conversation-title")).to_have_text(["等不及了", "第一个问题"])


def test_a_connection_that_the_browser_closed_is_opened_again(asked: ChatPage) -> None:
    deleted = """() => new Promise((resolve) => {
      indexedDB.deleteDatabase("oneclick-chat").onsuccess = () => resolve(true);
    })"""
    assert asked.page.evaluate(deleted)
    asked.ask("第二个问题")
    expect(asked.find(".toast")).to_have_count(0)
    asked.page.reload()
    expect(asked.find(".message.user .body")).to_have_text("第二个问题")


def test_what_a_full_disk_refused_is_saved_once_there_is_room(open_page: OpenPage, program: Program) -> None:
    chat = open_page(program.url, preferences=SHORT, may_fail=True)
    chat.page.add_init_script(FULL)
    chat.page.reload()
    chat.ask("磁盘满的时候")
    expect(chat.find(".toast")).to_contain_text("磁盘已满")
    chat.page.evaluate("full = false")
    chat.ask("有空间以后")
    chat.page.wait_for_function(
        """() => new Promise((resolve) => {
          const request = indexedDB.open("oneclick-chat");
          request.onsuccess = () => {
            const all = request.result.transaction("messages").objectStore("messages").count();
            all.onsuccess = () => { request.result.close(); resolve(all.result === 4); };
          };
        })"""
    )
    other = open_page(program.url, again=chat.page.context, may_fail=True)
    other.page.evaluate("full = false")
    expect(other.find(".message.user .body")).to_have_text(["磁盘满的时候", "有空间以后"])
