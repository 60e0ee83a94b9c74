"""The chat page of the finished archive, served by the Windows program, in a real browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import MakeBundle
from tests.payload.web.conftest import PATIENCE_MS, SHORT, OpenPage
from tests.payload.web.conftest import browser as browser
from tests.payload.web.conftest import open_page as open_page

pytestmark = [pytest.mark.wine, pytest.mark.browser]


def test_the_page_of_the_archive_chats_and_keeps_the_conversation(
    make_bundle: MakeBundle,
    open_page: OpenPage,
) -> None:
    bundle = make_bundle("我的 软件(测试)&1!")
    with bundle.running("--port", "0") as running:
        chat = open_page(running.url, preferences=SHORT)
        expect(chat.find(".pill.good")).to_be_visible(timeout=3 * PATIENCE_MS)
        answer = chat.ask("你好", timeout_ms=3 * PATIENCE_MS)
        chat.page.reload()
        expect(chat.find(".message.user .body")).to_have_text("你好")
        expect(chat.answers.last).to_have_text(answer, use_inner_text=True)
        chat.find("#state-pill").click()
        expect(chat.page.get_by_role("dialog", name="程序状态")).to_contain_text("chatglm3-ggml.bin")
