"""The card for other programs: what it says can be copied and works."""

from __future__ import annotations

import subprocess
import sys

import pytest
from playwright.sync_api import expect

from tests.payload.web.conftest import ChatPage

pytestmark = pytest.mark.browser


def open_tab(chat: ChatPage, name: str) -> None:
    chat.button("连接其他软件").click()
    chat.page.get_by_role("tab", name=name, exact=True).click()


def copied(chat: ChatPage) -> str:
    text: str = chat.page.evaluate("navigator.clipboard.readText()")
    return text


@pytest.mark.parametrize(
    ("client", "row", "tail"),
    [
        ("Chatbox", "API 主机（域名）", ""),
        ("NextChat", "接口地址", ""),
        ("Cherry Studio", "API 主机（域名）", "/v1/"),
        ("Ollama", "API 主机（域名）", ""),
    ],
)
def test_addresses_have_the_real_port_and_are_copied_exactly(chat: ChatPage, client: str, row: str, tail: str) -> None:
    open_tab(chat, client)
    chat.button(f"复制{row}").click()
    assert copied(chat) == chat.url.rstrip("/") + tail
    expect(chat.page.get_by_role("tabpanel")).to_contain_text("chatglm3-6b")


def test_what_keeps_a_program_from_connecting_is_said(chat: ChatPage) -> None:
    open_tab(chat, "NextChat")
    expect(chat.page.get_by_role("tabpanel")).to_contain_text("在弹出的卡片上允许它")
    for words in ("http://", "不要用 localhost", "代理软件"):
        expect(chat.page.get_by_role("dialog")).to_contain_text(words)


def test_chatbox_is_told_to_take_the_compatible_interface(chat: ChatPage) -> None:
    open_tab(chat, "Chatbox")
    expect(chat.page.get_by_role("tabpanel")).to_contain_text("OpenAI API 兼容")
    expect(chat.page.get_by_role("tabpanel")).to_contain_text("不要选自带的“ChatGLM6B”")


def test_the_curl_line_works_as_it_is_copied(chat: ChatPage) -> None:
    open_tab(chat, "curl")
    chat.page.get_by_role("tabpanel").get_by_role("button", name="复制").click()
    line = copied(chat).replace("curl ", "curl --silent --noproxy '*' ", 1)
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=True, timeout=60)
    assert '"role":"assistant"' in done.stdout


def test_the_python_program_works_as_it_is_copied(chat: ChatPage) -> None:
    open_tab(chat, "Python")
    chat.page.get_by_role("tabpanel").get_by_role("button", name="复制").click()
    program = copied(chat).replace("stream=True,", "stream=True, max_tokens=16,")
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_tabs_move_with_the_arrow_keys(chat: ChatPage) -> None:
    open_tab(chat, "Chatbox")
    chat.page.keyboard.press("ArrowRight")
    expect(chat.page.get_by_role("tab", name="NextChat")).to_be_focused()
    expect(chat.page.get_by_role("tab", name="NextChat")).to_have_attribute("aria-selected", "true")
    expect(chat.page.get_by_role("tabpanel")).to_contain_text("不要加 /v1")
