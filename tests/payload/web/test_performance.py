"""Smooth: a quick start, no jumping while an answer streams in, long conversations that scroll."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import CDPSession, expect

from tests.payload.web.conftest import GREEDY, PATIENCE_MS, ChatPage, OpenPage, export_of
from tests.support.native_bundle import Program

pytestmark = pytest.mark.browser

SCRIPT_LIMIT_S = 0.2
FRAME_S = 1 / 30
"""Measured: about 4 ms a frame on the machine that wrote this. The limit leaves room for slow ones without a graphics
card; work that grows with the conversation would be far above it."""
LONG_ANSWER = (
    "## 第 {n} 部分\n\n"
    + "这一段讲的是怎样把事情一步一步做好，内容要长一些才像真的。" * 12
    + "\n\n- 第一点\n- 第二点\n\n"
    "| 甲 | 乙 |\n|---|---|\n| 1 | 2 |\n\n```python\nfor i in range({n}):\n    print(i)\n```\n"
)


def processor_time(chat: ChatPage) -> CDPSession:
    """Measure the page's own processor time: what else this machine does must not matter."""
    devtools: CDPSession = chat.page.context.new_cdp_session(chat.page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
    return devtools


def metrics(devtools: CDPSession) -> dict[str, float]:
    found: dict[str, Any] = devtools.send("Performance.getMetrics")
    return {metric["name"]: metric["value"] for metric in found["metrics"]}


def test_the_start_takes_little_script(open_page: OpenPage, program: Program) -> None:
    chat = open_page(program.url)
    devtools = processor_time(chat)
    before = metrics(devtools)
    chat.page.reload()
    expect(chat.find(".hero-title")).to_be_visible()
    expect(chat.find(".pill.good")).to_be_visible(timeout=PATIENCE_MS)
    after = metrics(devtools)
    # Counters start anew with the page in some versions of Chromium.
    used = after["ScriptDuration"] - (
        before["ScriptDuration"] if after["ScriptDuration"] >= before["ScriptDuration"] else 0
    )
    assert used < SCRIPT_LIMIT_S


def test_nothing_moves_while_the_page_starts_and_an_answer_streams_in(chat: ChatPage) -> None:
    chat.set_preferences(**GREEDY, maxTokens=600)
    expect(chat.find(".pill.good")).to_be_visible(timeout=PATIENCE_MS)
    chat.ask("你好")
    chat.ask("再来")
    assert chat.watched("shift") < 0.01, chat.watched("shifts")


def test_an_answer_that_grows_keeps_the_end_in_view_unless_the_reader_scrolled_up(slow_chat: ChatPage) -> None:
    page = slow_chat.page
    slow_chat.send("长回答")
    distance = """() => {
      const scroller = document.querySelector("#scroller");
      return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
    }"""
    long_enough = """() => {
      const scroller = document.querySelector("#scroller");
      return scroller.scrollHeight > scroller.clientHeight + 300;
    }"""
    page.wait_for_function(long_enough, timeout=60_000)
    assert page.evaluate(distance) < 60
    page.mouse.move(600, 300)
    page.mouse.wheel(0, -250)
    expect(slow_chat.button("回到最新消息")).to_be_visible()
    top = page.evaluate("document.querySelector('#scroller').scrollTop")
    page.wait_for_timeout(800)
    assert page.evaluate("document.querySelector('#scroller').scrollTop") == pytest.approx(top, abs=2)
    slow_chat.button("回到最新消息").click()
    page.wait_for_timeout(300)
    assert page.evaluate(distance) < 60
    slow_chat.button("停止回答").click()


def test_two_hundred_long_messages_open_and_scroll_smoothly(chat: ChatPage) -> None:
    told = [(("user", f"问题 {n}"), ("assistant", LONG_ANSWER.replace("{n}", str(n)))) for n in range(100)]
    chat.import_text("long.json", export_of([message for pair in told for message in pair], "很长的对话"))
    expect(chat.find(".message")).to_have_count(200)
    expect(chat.answers.last).to_have_class("body markdown")
    expect(chat.find(".message.assistant .body.plain")).to_have_count(0, timeout=PATIENCE_MS)
    devtools = processor_time(chat)
    chat.page.mouse.move(700, 400)
    count_frames = """() => {
      window.frameCount = 0;
      const count = () => { frameCount += 1; requestAnimationFrame(count); };
      count();
    }"""
    chat.page.evaluate(count_frames)
    before = metrics(devtools)
    steps = 60
    for _ in range(steps):
        chat.page.mouse.wheel(0, -700)
        chat.page.wait_for_timeout(16)
    chat.page.wait_for_timeout(300)
    after = metrics(devtools)
    used = {name: after[name] - before[name] for name in ("TaskDuration", "ScriptDuration", "LayoutDuration")}
    frames = chat.page.evaluate("frameCount")
    scrolled = "() => { const one = document.querySelector('#scroller'); return one.scrollHeight - one.scrollTop; }"
    assert chat.page.evaluate(scrolled) > 20_000
    assert used["TaskDuration"] / frames < FRAME_S
    # What the page itself does, besides Chromium's painting without a graphics card.
    assert (used["ScriptDuration"] + used["LayoutDuration"]) / steps < FRAME_S / 2
