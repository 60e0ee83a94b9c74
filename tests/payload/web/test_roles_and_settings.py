"""Roles the model plays, and settings with what they send to the server."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.payload.web.conftest import ChatPage

pytestmark = pytest.mark.browser


def asked(chat: ChatPage, text: str) -> dict[str, Any]:
    """Send ``text`` and return the request that the page made of it."""
    with chat.page.expect_request("**/v1/chat/completions") as request:
        chat.send(text)
    body: dict[str, Any] = json.loads(request.value.post_data or "")
    expect(chat.find("#send.stop")).to_have_count(0)
    return body


def role_card(chat: ChatPage, name: str) -> Any:
    return chat.page.get_by_role("radio").filter(has_text=name)


def test_the_roles_of_the_tutorial_are_there(chat: ChatPage) -> None:
    for name in ("小红书文案", "人生格言", "外语翻译", "办公小助理", "代码助手"):
        expect(role_card(chat, name)).to_be_visible()


def test_a_chosen_role_is_what_the_model_reads_first(chat: ChatPage) -> None:
    role_card(chat, "外语翻译").click()
    expect(role_card(chat, "外语翻译")).to_be_checked()
    expect(chat.find("#role-chip")).to_contain_text("外语翻译")
    messages = asked(chat, "早上好")["messages"]
    assert messages[0]["role"] == "system"
    assert "专业翻译" in messages[0]["content"]
    assert messages[1] == {"role": "user", "content": "早上好"}


def test_without_a_role_nothing_is_put_before_the_question(chat: ChatPage) -> None:
    assert asked(chat, "早上好")["messages"] == [{"role": "user", "content": "早上好"}]


def test_a_starter_goes_into_the_input_to_be_changed_or_sent(chat: ChatPage) -> None:
    role_card(chat, "计划清单").click()
    chat.find(".starter").first.click()
    expect(chat.prompt).to_have_value("三天两夜成都旅行")
    expect(chat.prompt).to_be_focused()


def test_the_prompt_of_one_conversation_can_be_changed(chat: ChatPage) -> None:
    chat.find("#role-chip").click()
    chat.page.get_by_role("combobox", name="角色").select_option(label="代码助手")
    prompt = chat.page.get_by_role("textbox", name="角色设定")
    expect(prompt).to_have_value(re.compile("有经验的程序员"))
    prompt.fill("只用一个字回答。")
    chat.button("保存").click()
    expect(chat.find("#role-chip")).to_contain_text("代码助手 *")
    assert asked(chat, "你好")["messages"][0] == {"role": "system", "content": "只用一个字回答。"}
    chat.page.reload()
    chat.find("#role-chip").click()
    expect(chat.page.get_by_role("textbox", name="角色设定")).to_have_value("只用一个字回答。")


def test_an_own_role_is_made_used_and_kept(chat: ChatPage) -> None:
    chat.find(".role-card.own").click()
    chat.button("新建角色").click()
    chat.page.get_by_role("textbox", name="名称").fill("诗人")
    chat.page.get_by_role("textbox", name="角色设定").fill("用七言绝句回答。")
    chat.page.get_by_role("textbox", name="推荐问题（每行一个）").fill("写春天\n写大海")
    chat.button("保存").click()
    expect(chat.find(".role-list")).to_contain_text("诗人")
    chat.page.keyboard.press("Escape")
    chat.page.reload()
    role_card(chat, "诗人").click()
    expect(chat.find(".starter")).to_have_text(["写春天", "写大海"])
    assert asked(chat, "写山")["messages"][0]["content"] == "用七言绝句回答。"


def test_a_role_of_ours_can_be_changed_and_put_back(chat: ChatPage) -> None:
    chat.find(".role-card.own").click()
    chat.button("修改“人生格言”").click()
    chat.page.get_by_role("textbox", name="名称").fill("毒鸡汤")
    chat.button("保存").click()
    expect(chat.find(".role-list")).to_contain_text("毒鸡汤")
    chat.button("恢复原样").click()
    expect(chat.find(".role-list")).not_to_contain_text("毒鸡汤")
    chat.button("删除“人生格言”").click()
    expect(chat.find(".role-list")).not_to_contain_text("人生格言")
    chat.button("恢复删除的内置角色").click()
    expect(chat.find(".role-list")).to_contain_text("人生格言")


def test_settings_explain_themselves_and_are_sent(chat: ChatPage) -> None:
    chat.button("设置").click()
    for label, key, steps in (("想象力（temperature）", "ArrowRight", 4), ("用词范围（top-p）", "ArrowRight", 2)):
        slider = chat.page.get_by_role("slider", name=label)
        expect(slider).to_have_accessible_description(re.compile("。$"))
        for _ in range(steps):
            slider.press(key)
    longest = chat.page.get_by_role("slider", name="最长回答")
    longest.press("ArrowRight")
    expect(longest).to_have_attribute("aria-valuetext", "128 token")
    chat.page.keyboard.press("Escape")
    body = asked(chat, "你好")
    assert body["temperature"] == pytest.approx(0.2)
    assert body["top_p"] == pytest.approx(0.9)
    assert body["max_tokens"] == 128


def test_recommended_values_come_back_with_one_button(chat: ChatPage) -> None:
    chat.button("设置").click()
    chat.page.get_by_role("slider", name="想象力（temperature）").press("End")
    chat.button("恢复推荐值").click()
    chat.page.keyboard.press("Escape")
    assert asked(chat, "你好")["temperature"] == pytest.approx(0.8)


def test_settings_that_make_no_sense_are_not_taken_from_storage(chat: ChatPage) -> None:
    chat.set_preferences(temperature=99, topP="x", maxTokens=-5, theme="<b>", language="xx")
    body = asked(chat, "你好")
    assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0.8, 0.8, 1024)


def test_the_language_changes_at_once_and_stays(chat: ChatPage) -> None:
    chat.button("设置").click()
    chat.page.get_by_role("combobox", name="语言 · Language").select_option("en")
    expect(chat.page.get_by_role("dialog", name="Settings")).to_be_visible()
    chat.page.keyboard.press("Escape")
    expect(chat.find(".hero-title")).to_contain_text("Hello")
    expect(chat.find("html")).to_have_attribute("lang", "en")
    chat.page.reload()
    expect(chat.button("New chat").first).to_be_visible()
    chinese = "[...document.body.innerText].filter((letter) => letter >= '\\u4e00' && letter <= '\\u9fff').join('')"
    assert chat.page.evaluate(chinese) == ""


def test_the_automatic_theme_follows_the_system_while_the_page_is_open(chat: ChatPage) -> None:
    root = chat.find("html")
    chat.page.emulate_media(color_scheme="dark")
    expect(root).to_have_attribute("data-theme", "dark")
    chat.page.emulate_media(color_scheme="light")
    expect(root).to_have_attribute("data-theme", "light")


def test_theme_and_text_size_change_the_look(chat: ChatPage) -> None:
    def background() -> str:
        colour: str = chat.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return colour

    light = background()
    chat.button("设置").click()
    chat.page.get_by_role("combobox", name="颜色").select_option("dark")
    assert background() != light
    chat.page.get_by_role("combobox", name="文字大小").select_option("1.3")
    assert chat.page.evaluate("getComputedStyle(document.documentElement).fontSize") == "20.8px"
