"""What the program is doing can be seen, and the page finds back by itself."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import expect

from bundle.model.random_model import write_random_model
from oneclick.folder import CHATS
from oneclick.server.runtime import ServerConfig
from tests.payload.conftest import LiveServer, standing_still, starting
from tests.payload.web.conftest import LONG, ONE_THREAD, PATIENCE_MS, SHORT, ChatPage, OpenPage, export_of
from tests.support.bad_server import BadServer, ok, trickle
from tests.support.native_bundle import MODEL_NAME, Program, catalogue_entry, make_native_bundle

pytestmark = pytest.mark.browser

StartProgram = Callable[..., Program]


@pytest.fixture
def start_program(tmp_path: Path) -> Iterator[StartProgram]:
    """Start the program in a folder without a model."""
    programs: list[Program] = []

    def start(*arguments: str, **more: object) -> Program:
        folder = tmp_path / "bundle"
        folder.mkdir()
        make_native_bundle(folder, **more)  # type: ignore[arg-type]
        programs.append(Program(folder, arguments=(*ONE_THREAD, *arguments)))
        return programs[-1]

    yield start
    for program in programs:
        program.stop()


@pytest.fixture
def bare_server(tmp_path: Path) -> Iterator[LiveServer]:
    """The server alone; the test sets its status as launcher and worker do."""
    with starting() as start:
        yield start(None, config=ServerConfig(chats=tmp_path / CHATS), wait=False)


@pytest.fixture
def locked_server() -> Iterator[LiveServer]:
    """One that asks for a key."""
    with starting() as start:
        server = start(None, config=ServerConfig(api_key="Sesam"), wait=False)
        server.runtime.status.set("checking")
        yield server


@pytest.fixture
def tiny_model(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.bin"
    write_random_model(path, "tiny")
    return path


def test_loading_shows_how_far_it_is_and_a_question_can_already_be_sent(
    open_page: OpenPage, bare_server: LiveServer
) -> None:
    bare_server.runtime.status.set("loading", 0.43)
    chat = open_page(bare_server.url)
    expect(chat.find(".pill")).to_have_text("加载模型 43%")
    expect(chat.find(".state-title")).to_have_text("正在把模型读进内存")
    expect(chat.page.get_by_role("progressbar", name="进度")).to_have_js_property("value", 0.43)
    chat.send("你好")
    expect(chat.find(".phase-words")).to_have_text("模型还没准备好，准备好后马上回答")
    bare_server.runtime.status.set("loading", 0.77)
    expect(chat.find(".state-percent")).to_have_text("77%")


@pytest.mark.parametrize(
    ("phase", "pill", "title"),
    [
        ("starting", "启动中", "程序正在启动"),
        ("checking", "检查中", "正在检查电脑和模型"),
        ("verifying", "核对模型", "正在核对模型文件"),
        ("restarting", "恢复中", "模型刚才退出了，正在恢复"),
    ],
)
def test_every_phase_has_words(open_page: OpenPage, bare_server: LiveServer, phase: str, pill: str, title: str) -> None:
    bare_server.runtime.status.set(phase)
    chat = open_page(bare_server.url)
    expect(chat.find(".pill")).to_have_text(pill)
    expect(chat.find(".state-title")).to_have_text(title)


def test_a_failure_is_told_in_the_servers_words_in_either_language(
    open_page: OpenPage, bare_server: LiveServer
) -> None:
    bare_server.runtime.status.fail("server.exit_memory", code="0xC0000017")
    chat = open_page(bare_server.url)
    card = chat.page.get_by_role("alert")
    expect(card).to_contain_text("模型没能启动")
    expect(card).to_contain_text("内存")
    english = open_page(bare_server.url, locale="en-US")
    expect(english.page.get_by_role("alert")).to_contain_text("Memory ran out")


def test_a_model_dropped_into_the_folder_is_taken_without_a_reload(
    open_page: OpenPage, start_program: StartProgram, tiny_model: Path
) -> None:
    program = start_program()
    chat = open_page(program.url)
    expect(chat.find(".pill")).to_have_text("缺少模型")
    expect(chat.find(".state-card")).to_contain_text(MODEL_NAME)
    shutil.copy(tiny_model, program.folder / MODEL_NAME)
    expect(chat.find(".pill.good")).to_be_visible(timeout=PATIENCE_MS)
    chat.ask("你好")


def test_the_page_starts_pauses_and_resumes_the_download_of_the_model(
    open_page: OpenPage, start_program: StartProgram, tiny_model: Path
) -> None:
    slow = trickle(rate_bytes_s=tiny_model.stat().st_size / 100)  # never complete before it is paused
    with BadServer() as source:
        program = start_program(models=[catalogue_entry(tiny_model, source.page("/model.bin", tiny_model, slow))])
        chat = open_page(program.url)
        chat.button("下载模型").click()
        expect(chat.find(".state-title")).to_have_text("正在下载模型", timeout=PATIENCE_MS)
        expect(chat.find(".state-figures")).to_contain_text("/s", timeout=PATIENCE_MS)
        chat.button("暂停下载").click()
        expect(chat.find(".state-title")).to_have_text("下载已暂停", timeout=PATIENCE_MS)
        source.pages["/model.bin"].behaviours = [ok()]
        chat.button("继续下载").click()
        expect(chat.find(".pill.good")).to_be_visible(timeout=3 * PATIENCE_MS)
    chat.ask("你好")


def test_a_waiting_question_says_its_place_in_the_queue(open_page: OpenPage, slow_program: Program) -> None:
    first = open_page(slow_program.url, preferences=LONG)
    first.send("长回答")
    expect(first.answers.last).not_to_be_empty()
    second = open_page(slow_program.url, preferences=SHORT)
    with standing_still(slow_program.status()["worker"]["pid"]):
        second.send("短回答")
        expect(second.find(".phase-words")).to_have_text("排队中，前面还有 1 个")
    first.button("停止回答").click()
    expect(second.figures).to_have_count(1, timeout=PATIENCE_MS)


def test_reading_a_long_conversation_shows_its_progress(open_page: OpenPage, slow_program: Program) -> None:
    chat = open_page(slow_program.url, preferences=SHORT)
    seen = """() => {
      window.seen = [];
      const look = () => seen.push(document.querySelector(".phase-words")?.textContent);
      new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
    }"""
    chat.page.evaluate(seen)
    chat.ask("好" * 2000, timeout_ms=4 * PATIENCE_MS)
    words = "".join(word or "" for word in chat.page.evaluate("seen"))
    assert "正在阅读对话 " in words
    assert "%" in words


def test_a_full_context_shows_its_fill_and_says_what_was_left_out(
    open_page: OpenPage, start_program: StartProgram, tiny_model: Path
) -> None:
    program = start_program("--context", "512")
    shutil.copy(tiny_model, program.folder / MODEL_NAME)
    program.wait_ready()
    chat = open_page(program.url, may_fail=True, preferences=SHORT)
    chat.import_text(
        "a.json", export_of([pair for n in range(12) for pair in (("user", f"问 {n}"), ("assistant", "答" * 50))])
    )
    chat.ask("现在呢？")
    expect(chat.find(".hint-line")).to_contain_text("没有用到最早的")
    expect(chat.find("#figures")).to_contain_text("/ 512")
    expect(chat.find("#figures")).to_contain_text("token/秒")
    too_long = "很长" * 2000
    chat.prompt.fill(too_long)
    chat.prompt.press("Enter")
    error = chat.find(".end.serious").last
    expect(error).to_contain_text(re.compile(r"最多 4\d\d 个。请缩短"))
    expect(error).to_have_attribute("role", "alert")
    assert "\n" not in error.inner_text() or "context" not in error.inner_text().lower()


def test_a_dead_worker_is_told_of_and_the_next_question_works(open_page: OpenPage, slow_program: Program) -> None:
    chat = open_page(slow_program.url, preferences=LONG)
    chat.send("长回答")
    expect(chat.answers.last).not_to_be_empty()
    psutil.Process(slow_program.status()["worker"]["pid"]).kill()
    expect(chat.find(".end.serious")).to_be_visible()
    assert chat.answers.last.inner_text()
    chat.set_preferences(**SHORT)
    expect(chat.find(".pill.good")).to_be_visible(timeout=PATIENCE_MS)
    chat.ask("还在吗")


def test_where_a_key_is_wanted_the_page_asks_for_it(open_page: OpenPage, locked_server: LiveServer) -> None:
    chat = open_page(locked_server.url, may_fail=True)
    expect(chat.find(".pill")).to_have_text("需要密钥")
    chat.button("填写密钥").click()
    chat.page.get_by_label("访问密钥").fill("Sesam")
    chat.button("保存").click()
    expect(chat.find(".pill")).to_have_text("检查中")


def test_the_page_that_the_program_opened_needs_no_key_and_hides_what_it_was_given(
    open_page: OpenPage, locked_server: LiveServer
) -> None:
    chat = open_page(locked_server.url, may_fail=True)
    chat.page.goto(f"{locked_server.url}/?again=1#token={locked_server.runtime.token}")
    expect(chat.find(".pill")).to_have_text("检查中")
    assert locked_server.runtime.token not in chat.page.url
    chat.page.reload()
    expect(chat.find(".pill")).to_have_text("检查中")


def test_the_pill_opens_the_facts(chat: ChatPage) -> None:
    chat.find("#state-pill").click()
    facts = chat.page.get_by_role("dialog", name="程序状态")
    expect(facts).to_contain_text("chatglm3-6b · q4_0 · chatglm3-ggml.bin")
    expect(facts).to_contain_text("8,192 token")
    expect(facts).to_contain_text(chat.url.rstrip("/"))
