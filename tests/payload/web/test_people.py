"""Made for people: every size of screen, light and dark, keyboard, screen reader, fast and light."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from oneclick.folder import CHATS
from oneclick.server.runtime import ServerConfig
from tests.payload.conftest import starting
from tests.payload.web.conftest import ChatPage, OpenPage, export_of
from tests.support.native_bundle import Program

pytestmark = pytest.mark.browser

WEB = Path(__file__).parents[3] / "payload" / "oneclick" / "web"
LARGEST_PAGE_BYTES = 300_000
WIDE_ANSWER = (
    "# 很长的标题"
    + "题" * 60
    + "\n\n| "
    + " | ".join(f"第 {n} 列" for n in range(12))
    + " |\n|"
    + "---|" * 12
    + "\n| "
    + " | ".join("内容" for _ in range(12))
    + " |\n\n```python\n"
    + "x = "
    + "'长'" * 80
    + "\n```\n\n"
    + "https://example.com/"
    + "a" * 200
)
SIZES = [
    (360, 640, "zh-CN"),
    (360, 640, "en-US"),
    (768, 1024, "en-US"),
    (1280, 800, "zh-CN"),
    (3840, 2160, "zh-CN"),
]


def open_everything(chat: ChatPage) -> list[str]:
    """Go through what the page can show; return the places it is wider than the window."""
    too_wide: list[str] = []

    def look(place: str) -> None:
        wide = """() => {
          const frames = [...document.querySelectorAll("dialog[open], .scroller, .dialog-body")];
          const over = frames.map((one) => one.scrollWidth - one.clientWidth);
          return Math.max(document.documentElement.scrollWidth - innerWidth, ...over);
        }"""
        if chat.page.evaluate(wide) > 0:
            too_wide.append(place)

    look("empty")
    chat.page.evaluate("import('/js/settings-dialog.js').then((module) => module.openSettings())")
    expect(chat.page.get_by_role("dialog")).to_be_visible()
    look("settings")
    file = {
        "name": "a.json",
        "mimeType": "text/plain",
        "buffer": export_of([("user", "长" * 300), ("assistant", WIDE_ANSWER)], "很长的名字" * 9).encode(),
    }
    chat.find("dialog input[type=file]").set_input_files([file])  # type: ignore[list-item]
    expect(chat.find(".conversation")).to_have_count(1)
    chat.page.keyboard.press("Escape")
    chat.page.evaluate("document.querySelector('.conversation-open').click()")
    expect(chat.find(".body.markdown")).to_be_visible()
    look("messages")
    for module, function in (("clients", "openClients"), ("roles", "openRoles"), ("roles", "openConversationRole")):
        chat.page.evaluate(f"import('/js/{module}-dialog.js').then((module) => module.{function}())")
        expect(chat.page.get_by_role("dialog")).to_be_visible()
        look(function)
        chat.page.keyboard.press("Escape")
        expect(chat.page.get_by_role("dialog")).to_have_count(0)
    return too_wide


@pytest.mark.parametrize(("width", "height", "language"), SIZES)
def test_nothing_is_wider_than_the_screen(
    open_page: OpenPage, program: Program, width: int, height: int, language: str
) -> None:
    chat = open_page(program.url, viewport={"width": width, "height": height}, locale=language)
    assert open_everything(chat) == []


def test_text_grows_on_very_wide_screens(open_page: OpenPage, program: Program) -> None:
    size = "parseFloat(getComputedStyle(document.querySelector('#prompt')).fontSize)"
    normal = open_page(program.url).page.evaluate(size)
    assert normal == 16
    assert open_page(program.url, viewport={"width": 3840, "height": 2160}).page.evaluate(size) >= 1.5 * normal


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("width", "language"), [(1280, "zh-CN"), (360, "en-US")], ids=["desktop-chinese", "phone-english"]
)
def test_axe_finds_nothing(open_page: OpenPage, program: Program, scheme: str, width: int, language: str) -> None:
    chat = open_page(program.url, viewport={"width": width, "height": 800}, locale=language, color_scheme=scheme)
    found: list[str] = []

    def check(place: str) -> None:
        # Colours fade in; axe would measure the middle of it. What never ends, a spinner, is not waited for.
        chat.page.wait_for_function(
            """() => document.getAnimations().every(
              (one) => one.playState !== "running" || one.effect.getTiming().iterations === Infinity)"""
        )
        for violation in Axe().run(chat.page).response["violations"]:
            nodes = "; ".join(node["html"][:120] for node in violation["nodes"][:3])
            found.append(f"{place}: {violation['impact']} {violation['id']}: {nodes}")

    check("empty")
    open_everything(chat)
    check("messages")
    for module, function in (
        *(("settings", "openSettings"), ("clients", "openClients"), ("roles", "openRoles")),
        ("roles", "openConversationRole"),
    ):
        chat.page.evaluate(f"import('/js/{module}-dialog.js').then((module) => module.{function}())")
        expect(chat.page.get_by_role("dialog")).to_be_visible()
        check(function)
        chat.page.keyboard.press("Escape")
        expect(chat.page.get_by_role("dialog")).to_have_count(0)
    chat.page.evaluate("document.querySelector('#sidebar-show').click()")
    chat.page.evaluate("document.querySelector('.conversation .icon-button').click()")
    expect(chat.find(".menu")).to_be_visible()
    check("menu")
    assert found == []


def test_axe_finds_nothing_while_something_is_wrong(open_page: OpenPage, tmp_path: Path) -> None:
    with starting() as start:
        server = start(None, config=ServerConfig(chats=tmp_path / CHATS), wait=False)
        server.runtime.status.fail("server.exit_abort", code="3")
        chat = open_page(server.url)
        expect(chat.page.get_by_role("alert")).to_be_visible()
        assert Axe().run(chat.page).response["violations"] == []
        server.runtime.status.set("downloading", 0.3, done_bytes=10**9, total_bytes=3 * 10**9, rate_bytes_s=10**6)
        expect(chat.button("暂停下载")).to_be_visible()
        assert Axe().run(chat.page).response["violations"] == []


def test_everything_is_reached_with_the_keyboard(chat: ChatPage) -> None:
    page = chat.page
    page.keyboard.press("Control+k")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.press("Control+Shift+O")
    expect(chat.prompt).to_be_focused()
    page.keyboard.type("你好")
    page.keyboard.press("Enter")
    expect(chat.figures).to_have_count(1)
    page.evaluate("document.activeElement.blur(); document.querySelector('.skip').focus()")
    for _ in range(40):
        if page.evaluate("document.activeElement.matches('.conversation .icon-button')"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="重命名")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.keyboard.type("键盘")
    page.keyboard.press("Enter")
    expect(chat.find(".conversation-title")).to_have_text(["键盘"])


def test_the_roles_move_with_the_arrow_keys(chat: ChatPage) -> None:
    chat.page.get_by_role("radio").first.focus()
    chat.page.keyboard.press("ArrowRight")
    expect(chat.page.get_by_role("radio", checked=True)).to_contain_text("小红书文案")
    expect(chat.page.get_by_role("radio", checked=True)).to_be_focused()


def test_closing_a_window_gives_the_focus_back(chat: ChatPage) -> None:
    for name in ("设置", "连接其他软件"):
        chat.button(name).focus()
        chat.page.keyboard.press("Enter")
        expect(chat.page.get_by_role("dialog", name=name)).to_be_visible()
        chat.page.keyboard.press("Escape")
        expect(chat.button(name)).to_be_focused()


def test_a_screen_reader_hears_beginning_and_end_but_not_every_word(chat: ChatPage) -> None:
    heard = """() => {
      window.heard = [];
      const announcer = document.querySelector("#announcer");
      const listen = () => heard.push(announcer.textContent);
      new MutationObserver(listen).observe(announcer, { childList: true, characterData: true, subtree: true });
    }"""
    chat.page.evaluate(heard)
    chat.ask("你好")
    words = chat.page.evaluate("heard")
    assert words[0] == "已发送，正在等待回答"
    assert words[-1].startswith("回答结束")
    assert len(words) <= 3


def test_on_a_phone_the_conversations_are_a_drawer(open_page: OpenPage, program: Program) -> None:
    chat = open_page(program.url, viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    expect(chat.find("#sidebar")).not_to_be_in_viewport()
    chat.button("展开对话列表").click()
    expect(chat.find("#new-chat")).to_be_in_viewport()
    expect(chat.find("#new-chat")).to_be_focused()
    chat.page.keyboard.press("Escape")
    expect(chat.find("#sidebar")).not_to_be_in_viewport()
    expect(chat.button("展开对话列表")).to_be_focused()


def test_the_sidebar_stays_hidden_when_it_was_hidden(chat: ChatPage) -> None:
    chat.button("收起对话列表").click()
    expect(chat.find("#sidebar")).to_be_hidden()
    chat.page.reload()
    expect(chat.find("#sidebar")).to_be_hidden()
    chat.button("展开对话列表").click()
    expect(chat.find("#sidebar")).to_be_visible()


def test_the_page_is_there_before_any_model(open_page: OpenPage, tmp_path: Path) -> None:
    with starting() as start:
        server = start(None, config=ServerConfig(chats=tmp_path / CHATS), wait=False)
        chat = open_page(server.url)
        expect(chat.find(".hero-title")).to_be_visible()
        expect(chat.prompt).to_be_editable()
        expect(chat.find(".pill")).to_have_text("启动中")


def test_a_browser_that_cannot_run_the_page_is_told_what_to_do(browser: Browser, program: Program) -> None:
    page = browser.new_page()
    page.route("**/*.js", lambda route: route.abort())
    page.goto(program.url)
    expect(page.locator(".too-old")).to_contain_text("Microsoft Edge")
    expect(page.locator(".too-old")).to_be_visible(timeout=10_000)
    page.close()


def test_the_whole_page_is_light() -> None:
    files = [file for file in WEB.rglob("*") if file.is_file()]
    assert sum(len(gzip.compress(file.read_bytes(), mtime=0)) for file in files) < LARGEST_PAGE_BYTES


def test_the_page_works_without_the_network(chat: ChatPage) -> None:
    addresses: set[str] = set()
    chat.page.on("request", lambda request: addresses.add(request.url))
    chat.page.reload()
    chat.ask("你好")
    assert all(address.startswith(chat.url) for address in addresses)
    names = {address.removeprefix(chat.url).split("/")[0].split("?")[0] for address in addresses}
    assert names <= {"", "css", "js", "vendor", "icon.svg", "status", "oneclick", "v1", "#"}
