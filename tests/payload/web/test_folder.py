"""Conversations in the program's folder: every port, browser and tab sees the same ones, and no words are lost."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from oneclick.folder import CHATS
from oneclick.server.chats.store import ChatFolder
from tests.payload.conftest import wait_for
from tests.payload.web.conftest import PATIENCE_MS, SHORT, ChatPage, OpenPage, run_program
from tests.payload.web.test_conversations import menu
from tests.support.native_bundle import Program

pytestmark = pytest.mark.browser

# What the release before kept, in the browser alone.
KEPT_BEFORE = """() => new Promise((resolve) => {
  const request = indexedDB.open("oneclick-chat", 1);
  request.onsuccess = () => {
    const work = request.result.transaction(["conversations", "messages"], "readwrite");
    for (const n of [1, 2]) {
      const id = `${n}`.repeat(24);
      work.objectStore("conversations").put({
        id, title: `从前的对话 ${n}`, named: true, role: "general", system: "", createdAt: n, updatedAt: n,
      });
      work.objectStore("messages").put({
        id: `q${n}`, conversation: id, position: 1, role: "user", text: `从前的问题 ${n}`, createdAt: 1,
      });
      const version = {
        text: `从前的回答 ${n}`, state: "done", finish: "stop", error: null, figures: null, createdAt: 1,
      };
      work.objectStore("messages").put({
        id: `a${n}`, conversation: id, position: 2, role: "assistant", createdAt: 1, active: 0, versions: [version],
      });
    }
    work.oncomplete = () => { request.result.close(); resolve(true); };
  };
})"""
KEPT_NOW = """() => new Promise((resolve) => {
  const request = indexedDB.open("oneclick-chat");
  request.onsuccess = () => {
    const count = request.result.transaction("messages").objectStore("messages").count();
    count.onsuccess = () => { request.result.close(); resolve(count.result); };
  };
})"""
# Three pages without a screen that say, change and take back things in one conversation; gives what each made last.
WRITERS = """async (id) => {
  const truth = {};
  const pause = (most) => new Promise((resolve) => setTimeout(resolve, Math.random() * most));
  const stores = await Promise.all([0, 1, 2].map((n) => import(`/js/folder-store.js?${id}-${n}`)));
  let clock = 1;
  const first = { id: "first", position: 1, createdAt: clock++, role: "user", text: "" };
  await stores[0].save(id, { conversation: { id, title: "t", updatedAt: 0 }, messages: [first] });
  await Promise.all(stores.map(async (store, n) => {
    await store.list();
    const messages = await store.messagesOf(id);
    const own = [];
    const savings = [];
    for (let step = 0; step < 10; step++) {
      const dice = Math.random();
      if (dice < 0.6 || own.length === 0) {
        const position = messages.at(-1).position + 1;
        const message = { id: `${n}-${step}`, position, createdAt: clock++, role: "user", text: `${n}-${step}` };
        messages.push(message);
        own.push(message);
        truth[message.id] = message.text;
        savings.push(store.save(id, { conversation: { id, title: "t", updatedAt: clock }, messages: [message] }));
      } else if (dice < 0.85) {
        const message = own[Math.floor(Math.random() * own.length)];
        truth[message.id] = message.text += "+";
        savings.push(store.save(id, { messages: [message] }));
      } else {
        const gone = own.pop();
        messages.splice(messages.indexOf(gone), 1);
        delete truth[gone.id];
        savings.push(store.save(id, { removed: [gone.id] }));
      }
      await pause(30);
    }
    await Promise.all(savings);
  }));
  return { ...truth, first: "" };
}"""
FOCUS = "dispatchEvent(new Event('focus'))"


def files(program: Program) -> list[Path]:
    return sorted((program.folder / CHATS).glob("*.md"))


def wait_saved(program: Program) -> None:
    """Wait until the answer of the program's one conversation is stored as a finished one."""
    wait_for(lambda: ['"state": "length"' in path.read_text("utf-8") for path in files(program)] == [True])


def titles(chat: ChatPage, *wanted: str) -> None:
    expect(chat.find(".conversation-title")).to_have_text(list(wanted))


@pytest.fixture
def mortal_program(tmp_path: Path) -> Iterator[Program]:
    """A program that a test may kill and start again."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    yield from run_program(folder, "tiny")


def test_a_conversation_is_a_file_that_people_can_read(open_page: OpenPage, program: Program) -> None:
    chat = open_page(program.url, preferences=SHORT)
    answer = chat.ask("你好，请自我介绍")
    wait_saved(program)
    (file,) = files(program)
    assert re.fullmatch(r"你好，请自我介绍 [0-9a-f]{24}\.md", file.name)
    text = file.read_text(encoding="utf-8")
    assert text.startswith("# 你好，请自我介绍\n")
    assert "\n\n你好，请自我介绍\n\n" in text
    assert answer.split("\n", 1)[0] in text
    assert chat.page.evaluate(KEPT_NOW) == 0
    expect(chat.find("#place")).to_be_hidden()


def test_another_browser_and_another_port_see_the_same_conversations(
    open_page: OpenPage, mortal_program: Program
) -> None:
    chat = open_page(mortal_program.url, may_fail=True, preferences=SHORT)
    answer = chat.ask("换个端口还在吗")
    wait_saved(mortal_program)
    other = open_page(mortal_program.url, preferences=SHORT)
    titles(other, "换个端口还在吗")
    other.page.close()
    mortal_program.stop()
    before, mortal_program.port = mortal_program.port, 0
    mortal_program.start()
    assert mortal_program.port != before
    moved = open_page(mortal_program.url, preferences=SHORT)
    moved.find(".conversation-open").click()
    expect(moved.find(".message.user .body")).to_have_text("换个端口还在吗")
    expect(moved.answers.last).to_have_text(answer, use_inner_text=True)


def test_a_moved_folder_has_its_conversations(open_page: OpenPage, program: Program, mortal_program: Program) -> None:
    chat = open_page(program.url, preferences=SHORT)
    chat.ask("搬家")
    wait_saved(program)
    shutil.copytree(program.folder / CHATS, mortal_program.folder / CHATS)
    titles(open_page(mortal_program.url), "搬家")


def test_what_the_browser_held_before_the_update_moves_to_the_folder_once(
    open_page: OpenPage, program: Program
) -> None:
    chat = open_page(program.url, preferences=SHORT)
    chat.page.evaluate(KEPT_BEFORE)
    chat.page.goto(f"{chat.url}?#{'1' * 24}")
    titles(chat, "从前的对话 2", "从前的对话 1")
    expect(chat.find(".message.user .body")).to_have_text("从前的问题 1")
    expect(chat.answers.last).to_have_text("从前的回答 1")
    wait_for(lambda: len(files(program)) == 2)
    chat.page.wait_for_function(f"({KEPT_NOW})().then((count) => count === 0)")
    titles(open_page(program.url), "从前的对话 2", "从前的对话 1")
    contents = [path.read_bytes() for path in files(program)]
    # As after a power cut between both: the folder has them, the browser still has them, too.
    chat.page.evaluate(KEPT_BEFORE)
    chat.may_fail = True  # the server says 409, which the browser's console tells
    chat.page.reload()
    titles(chat, "从前的对话 2", "从前的对话 1")
    chat.page.wait_for_function(f"({KEPT_NOW})().then((count) => count === 0)")
    assert [path.read_bytes() for path in files(program)] == contents


def test_a_deleted_conversation_is_not_imported_again(open_page: OpenPage, program: Program) -> None:
    chat = open_page(program.url, preferences=SHORT)
    chat.page.evaluate(KEPT_BEFORE)
    chat.page.reload()
    titles(chat, "从前的对话 2", "从前的对话 1")
    menu(chat, "删除")
    titles(chat, "从前的对话 1")
    assert len(list((program.folder / CHATS / "回收站").glob("*.md"))) == 1
    chat.page.reload()
    titles(chat, "从前的对话 1")


def test_two_browsers_that_say_something_at_once_lose_nothing(open_page: OpenPage, program: Program) -> None:
    first = open_page(program.url, preferences=SHORT, may_fail=True)
    first.ask("开头")
    second = open_page(program.url, preferences=SHORT, may_fail=True)
    second.find(".conversation-open").click()
    expect(second.find(".message.user .body")).to_have_text(["开头"])
    first.ask("第一个浏览器说的")
    second.ask("第二个浏览器说的")
    said = ["开头", "第一个浏览器说的", "第二个浏览器说的"]
    expect(second.find(".message.user .body")).to_have_text(said)
    first.page.evaluate(FOCUS)
    expect(first.find(".message.user .body")).to_have_text(said)
    expect(first.figures).to_have_count(3)
    assert len(files(program)) == 1


def test_answers_that_two_browsers_write_to_one_question_are_all_kept(open_page: OpenPage, program: Program) -> None:
    first = open_page(program.url, preferences=SHORT, may_fail=True)
    first.ask("开头")
    wait_saved(program)
    second = open_page(program.url, preferences=SHORT, may_fail=True)
    second.find(".conversation-open").click()
    second.button("换一个回答").click()
    expect(second.find(".versions")).to_contain_text("2/2")
    expect(second.figures).to_have_count(1)
    first.button("换一个回答").click()
    expect(first.find(".versions")).to_contain_text("2/3")
    second.page.evaluate(FOCUS)
    expect(second.find(".versions")).to_contain_text("2/3")


def test_whatever_several_writers_do_at_once_is_all_there(open_page: OpenPage, program: Program) -> None:
    chat = open_page(program.url, may_fail=True)
    for number in range(5):
        chat_id = f"{number:024x}"
        wanted = chat.page.evaluate(WRITERS, chat_id)
        found, _ = ChatFolder(program.folder / CHATS).read(chat_id)
        assert {message["id"]: message["text"] for message in found.messages} == wanted


def test_a_rename_elsewhere_survives_what_is_said_here(open_page: OpenPage, program: Program) -> None:
    first = open_page(program.url, preferences=SHORT, may_fail=True)
    first.ask("开头")
    second = open_page(program.url, preferences=SHORT, may_fail=True)
    menu(second, "重命名")
    second.page.get_by_role("textbox", name="对话名称").fill("新名字")
    second.button("保存").click()
    titles(second, "新名字")
    first.ask("接着说")
    first.page.reload()
    titles(first, "新名字")
    expect(first.find(".message.user .body")).to_have_text(["开头", "接着说"])


def test_another_browser_learns_of_changes_when_it_is_looked_at(open_page: OpenPage, program: Program) -> None:
    first = open_page(program.url, preferences=SHORT)
    second = open_page(program.url, preferences=SHORT)
    first.ask("新的对话")
    titles(second)
    second.page.evaluate(FOCUS)
    titles(second, "新的对话")


def test_a_change_made_in_an_editor_is_shown(open_page: OpenPage, program: Program) -> None:
    chat = open_page(program.url, preferences=SHORT)
    chat.ask("错别子")
    (file,) = files(program)
    file.write_bytes(file.read_bytes().replace("\n\n错别子\n".encode(), "\r\n\r\n错别字\r\n".encode()))
    chat.page.evaluate(FOCUS)
    expect(chat.find(".message.user .body")).to_have_text("错别字")


def test_what_a_folder_that_cannot_be_used_refuses_the_browser_keeps_and_says_so(
    open_page: OpenPage, program: Program
) -> None:
    place = program.folder / CHATS
    place.write_bytes(b"")
    chat = open_page(program.url, preferences=SHORT, may_fail=True)
    expect(chat.find("#place")).to_contain_text("对话暂时只存在这个浏览器里")
    expect(chat.find("#place")).to_contain_text("“对话”文件夹不能读写")
    answer = chat.ask("先放在浏览器里")
    chat.page.reload()
    expect(chat.find(".message.user .body")).to_have_text("先放在浏览器里")
    place.unlink()
    chat.page.evaluate(FOCUS)
    expect(chat.find("#place")).to_be_hidden()
    wait_for(lambda: len(files(program)) == 1)
    chat.page.wait_for_function(f"({KEPT_NOW})().then((count) => count === 0)")
    elsewhere = open_page(program.url)
    elsewhere.find(".conversation-open").click()
    expect(elsewhere.answers.last).to_have_text(answer, use_inner_text=True)


def test_what_is_said_while_the_disk_is_full_goes_to_the_folder_afterwards(
    open_page: OpenPage, program: Program
) -> None:
    chat = open_page(program.url, preferences=SHORT, may_fail=True)
    chat.ask("有空间")
    (file,) = files(program)
    half = file.with_name(file.name + ".part")
    wait_for(lambda: not half.exists())
    half.symlink_to("/dev/full")
    chat.ask("没空间")
    expect(chat.find("#place")).to_contain_text("磁盘满了")
    half.unlink()
    chat.page.evaluate(FOCUS)
    expect(chat.find("#place")).to_be_hidden()
    elsewhere = open_page(program.url)
    elsewhere.find(".conversation-open").click()
    expect(elsewhere.find(".message.user .body")).to_have_text(["有空间", "没空间"])


def test_what_is_done_while_the_program_is_away_goes_to_the_folder_when_it_is_back(
    open_page: OpenPage, mortal_program: Program
) -> None:
    chat = open_page(mortal_program.url, preferences=SHORT, may_fail=True)
    chat.ask("开头")
    mortal_program.kill()
    expect(chat.find(".pill.bad")).to_have_text("未连接")
    menu(chat, "重命名")
    chat.page.get_by_role("textbox", name="对话名称").fill("停着的时候改的")
    chat.button("保存").click()
    expect(chat.find("#place")).to_contain_text("连上程序后")
    mortal_program.start()
    expect(chat.find("#place")).to_be_hidden(timeout=PATIENCE_MS)
    wait_for(lambda: [path.name[:7] for path in files(mortal_program)] == ["停着的时候改的"])


def test_a_damaged_file_is_named_and_the_others_are_there(open_page: OpenPage, program: Program) -> None:
    chat = open_page(program.url, preferences=SHORT)
    chat.ask("好的")
    name = f"坏的 {'a' * 24}.md"
    (program.folder / CHATS / name).write_bytes(b"\0" * 100)
    chat.page.reload()
    expect(chat.find(".toast")).to_contain_text(name)
    titles(chat, "好的")


def test_nothing_said_is_in_the_log(open_page: OpenPage, program: Program) -> None:
    chat = open_page(program.url, preferences=SHORT, may_fail=True)
    secret = "只有我知道的秘密"
    chat.ask(secret)
    (file,) = files(program)
    file.with_name(file.name + ".part").symlink_to("/dev/full")
    chat.ask(f"{secret}，再说一次")
    chat.page.get_by_role("searchbox").fill(secret)
    expect(chat.find(".conversation mark")).to_have_text(secret)
    for log in (program.folder / "logs").glob("*.log*"):
        assert secret not in log.read_text(encoding="utf-8", errors="replace")
    assert secret not in (program.folder / "window.txt").read_text(encoding="utf-8", errors="replace")
