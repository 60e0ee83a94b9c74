"""The card that asks about those who were turned away, with a foreign page in the same browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from oneclick.folder import CHATS
from oneclick.server.runtime import ServerConfig
from oneclick.settings import read_settings
from tests.payload.conftest import LiveServer, starting
from tests.payload.web.conftest import ONE_THREAD, ChatPage, OpenPage
from tests.support.native_bundle import Program, make_native_bundle

pytestmark = pytest.mark.browser

FOREIGN = "https://chat.example"
EXTENSION = "chrome-extension://bpoadfkcbjbfhfodiogcnhhhpibjhbnh"
# How the buttons of a new card were when they came.
NEW_BUTTONS = """new MutationObserver((changes) => {
  if (!changes.some((change) => change.addedNodes.length > 0)) return;
  const buttons = [...document.querySelectorAll("#stranger-card button")];
  window.newButtons ??= buttons.map((button) => (button.disabled ? "disabled" : "enabled"));
}).observe(document.getElementById("stranger-card"), { childList: true })"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveServer]:
    """The server alone, with a settings file that can be written."""
    with starting() as start:
        server = start(None, config=ServerConfig(settings_file=tmp_path / "设置.toml", chats=tmp_path / CHATS))
        server.runtime.status.set("checking")
        yield server


@pytest.fixture
def chat(open_page: OpenPage, server: LiveServer) -> ChatPage:
    return open_page(server.url)


def come(server: LiveServer, origin: str = "", host: str = "") -> int:
    """Ask as a program does; return the status."""
    headers = {name: value for name, value in (("Origin", origin), ("Host", host)) if value}
    return requests.get(f"{server.url}/v1/models", headers=headers, timeout=60).status_code


def foreign_page(chat: ChatPage) -> Page:
    """Return a page of a website in another tab."""
    page = chat.page.context.new_page()
    page.route(f"{FOREIGN}/**", lambda route: route.fulfill(body="<h1>chat</h1>", content_type="text/html"))
    page.goto(f"{FOREIGN}/")
    return page


def models_of(page: Page, server: LiveServer) -> str:
    """Have the website ask for our models the way its clients do, with a header that needs a preflight."""
    told: str = page.evaluate(
        """url => fetch(url, { headers: { Authorization: "Bearer x", "X-Title": "t" } })
             .then((answer) => answer.text()).catch((error) => `${error}`)""",
        f"{server.url}/v1/models",
    )
    return told


def test_a_website_comes_in_after_a_yes_and_no_sooner(chat: ChatPage, server: LiveServer, tmp_path: Path) -> None:
    chat.page.context.grant_permissions(["local-network-access"], origin=FOREIGN)
    page = foreign_page(chat)
    assert "Failed to fetch" in models_of(page, server)
    chat.page.bring_to_front()
    card = chat.page.get_by_role("group", name="有程序想使用 ChatGLM3")
    expect(card).to_contain_text("有网站想使用 ChatGLM3")
    expect(card.locator("code")).to_have_text(FOREIGN)
    chat.button("一直允许").click()
    expect(chat.find(".toast")).to_have_text("已允许。请回到那边再试一次。")
    expect(card).to_be_hidden()
    assert '"chatglm3-6b"' in models_of(page, server)
    assert read_settings(tmp_path / "设置.toml").allowed_origins == (FOREIGN,)


def test_a_no_ends_it(chat: ChatPage, server: LiveServer) -> None:
    assert come(server, EXTENSION) == 403
    expect(chat.find("#stranger-card .state-title")).to_have_text("有浏览器扩展想使用 ChatGLM3")
    chat.button("不允许").click()
    expect(chat.find("#stranger-card")).to_be_hidden()
    expect(chat.prompt).to_be_focused()
    assert come(server, EXTENSION) == 403


def test_one_is_asked_about_after_the_other_and_a_hasty_click_hits_none(chat: ChatPage, server: LiveServer) -> None:
    come(server, EXTENSION)
    come(server, host="host.docker.internal:8000")
    name = chat.find("#stranger-card code")
    expect(name).to_have_text(EXTENSION)
    expect(chat.find("#stranger-card .state-percent")).to_have_text("还有 1 个")
    chat.page.evaluate(NEW_BUTTONS)
    chat.button("这次允许").click()
    expect(name).to_have_text("host.docker.internal")
    expect(chat.find("#stranger-card")).to_contain_text("这是你给这台电脑起的名字")
    # Whoever double-clicked did not mean this one.
    assert chat.page.evaluate("newButtons") == ["disabled", "disabled", "disabled"]
    assert come(server, EXTENSION) == 200
    assert come(server, host="host.docker.internal") == 403
    expect(chat.button("这次允许")).to_be_enabled()
    chat.button("这次允许").click()
    expect(chat.find("#stranger-card")).to_be_hidden()
    assert come(server, host="host.docker.internal") == 200


def test_a_name_is_text_and_stays_inside_its_card(open_page: OpenPage, server: LiveServer) -> None:
    chat = open_page(server.url, viewport={"width": 360, "height": 640})
    long = "https://" + "xn--a1b2." * 12 + "com"
    assert come(server, "https://a.example/<img src=x onerror=alert(1)>") == 403
    assert come(server, long) == 403
    code = chat.find("#stranger-card code")
    expect(code).to_have_text(long)
    assert code.evaluate("one => one.scrollWidth <= one.clientWidth")
    assert chat.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_file_that_cannot_be_written_is_said(chat: ChatPage, server: LiveServer, tmp_path: Path) -> None:
    path = tmp_path / "设置.toml"
    path.write_text("# mine\n", encoding="utf-8")
    path.chmod(0o444)
    come(server, EXTENSION)
    chat.button("一直允许").click()
    expect(chat.find(".toast")).to_contain_text("没能写进 设置.toml：文件是只读的")
    assert come(server, EXTENSION) == 200


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_the_keyboard_answers(open_page: OpenPage, server: LiveServer, scheme: str) -> None:
    chat = open_page(server.url, color_scheme=scheme)
    come(server, EXTENSION)
    expect(chat.button("这次允许")).to_be_enabled()
    assert Axe().run(chat.page).response["violations"] == []
    chat.button("不允许").focus()
    chat.page.keyboard.press("Tab")
    expect(chat.button("一直允许")).to_be_focused()
    chat.page.keyboard.press("Tab")
    chat.page.keyboard.press("Enter")
    expect(chat.find("#stranger-card")).to_be_hidden()
    assert come(server, EXTENSION) == 200


def test_a_page_that_outlived_its_program_still_asks(open_page: OpenPage, tmp_path: Path) -> None:
    """Every start has a token of its own."""
    (tmp_path / "bundle").mkdir()
    program = Program(make_native_bundle(tmp_path / "bundle"), arguments=ONE_THREAD)
    try:
        chat = open_page(program.url, may_fail=True)
        program.stop()
        expect(chat.find(".pill.bad")).to_be_visible()
        program.start()
        requests.get(f"{program.url}/v1/models", headers={"Origin": EXTENSION}, timeout=60)
        chat.button("一直允许").click()
        expect(chat.find(".toast")).to_have_text("已允许。请回到那边再试一次。")
    finally:
        program.stop()
    assert read_settings(program.folder / "设置.toml").allowed_origins == (EXTENSION,)


def test_the_card_speaks_english(open_page: OpenPage, server: LiveServer) -> None:
    chat = open_page(server.url, locale="en-GB")
    come(server, EXTENSION)
    expect(chat.find("#stranger-card")).to_contain_text("A browser extension wants to use ChatGLM3")
    for name in ("Don't allow", "Allow once", "Always allow"):
        expect(chat.button(name)).to_be_enabled()
