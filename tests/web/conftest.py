"""The chat page in a real Chromium, served by the real program with a real engine and a tiny model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect, sync_playwright

from tests.support.native_bundle import Program, add_model, make_native_bundle

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ONE_THREAD = ("--threads", "1")
"""The engine's threads wait by spinning: two of them on a busy machine are slower than one."""
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)
PREFERENCES = "oneclick.preferences"

# Watches what the page's security policy had to stop, and how much the layout moved without the user's doing.
WATCH = """
window.watched = { violations: [], shift: 0, shifts: [], longest: 0 };
addEventListener("securitypolicyviolation", (event) => {
  watched.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
});
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    if (entry.hadRecentInput) continue;
    watched.shift += entry.value;
    watched.shifts.push(entry.sources.map((source) => source.node?.outerHTML?.slice(0, 90) ?? "?"));
  }
}).observe({ type: "layout-shift", buffered: true });
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) watched.longest = Math.max(watched.longest, entry.duration);
}).observe({ type: "longtask", buffered: true });
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium for one module: while it lives, Playwright keeps an event loop running in this thread."""
    executable = shutil.which("chromium")
    assert executable, "Debian's package chromium is needed"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        yield chromium
        chromium.close()


@dataclass
class ChatPage:
    """A browser page with the chat page in it, and the words of a user."""

    page: Page
    url: str
    foreign: list[str] = field(default_factory=list)
    """Addresses of other origins that the page asked for."""
    errors: list[str] = field(default_factory=list)

    def open(self) -> ChatPage:
        self.page.goto(self.url)
        expect(self.page.locator(".pill-words")).not_to_be_empty()
        return self

    def find(self, selector: str) -> Locator:
        return self.page.locator(selector)

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    @property
    def prompt(self) -> Locator:
        return self.page.locator("#prompt")

    @property
    def answers(self) -> Locator:
        return self.page.locator(".message.assistant .body")

    @property
    def figures(self) -> Locator:
        """Shown below an answer once it is complete."""
        return self.page.locator(".answer-figures")

    def set_preferences(self, **values: Any) -> None:
        """Set what the settings window sets, before the page is loaded again."""
        self.page.evaluate(f"value => localStorage['{PREFERENCES}'] = JSON.stringify(value)", values)
        self.page.reload()
        expect(self.page.locator(".pill-words")).not_to_be_empty()

    def send(self, text: str) -> None:
        self.prompt.fill(text)
        self.prompt.press("Enter")
        expect(self.page.locator(".message.user .body").last).to_have_text(text)

    def ask(self, text: str, timeout_ms: float = PATIENCE_MS) -> str:
        """Send ``text`` and return the complete answer."""
        before = self.figures.count()
        self.send(text)
        expect(self.figures).to_have_count(before + 1, timeout=timeout_ms)
        return self.answers.last.inner_text()

    def import_text(self, name: str, text: str) -> None:
        """Import a file through the settings window and open its conversation."""
        before = self.find(".conversation").count()
        self.button("设置").click()
        file = {"name": name, "mimeType": "text/plain", "buffer": text.encode()}
        self.page.locator("dialog input[type=file]").set_input_files([file])  # type: ignore[list-item]
        expect(self.page.locator(".toast").last).to_contain_text("已导入")
        expect(self.find(".conversation")).to_have_count(before + 1)
        self.page.keyboard.press("Escape")
        expect(self.page.get_by_role("dialog")).to_have_count(0)
        self.page.locator(".conversation-open").first.click()

    def import_answer(self, text: str, title: str = "导入") -> Locator:
        """Show ``text`` as an answer, the way a foreign file brings it in; return its body."""
        self.import_text("import.json", export_of([("user", "问题"), ("assistant", text)], title))
        body = self.answers.last
        expect(body).to_have_class("body markdown")
        return body

    def watched(self, name: str) -> Any:
        return self.page.evaluate(f"watched.{name}")


def export_of(messages: list[tuple[str, str]], title: str = "导入") -> str:
    """Return the JSON of an exported conversation."""
    told = [{"role": role, "text": text, "createdAt": "2026-01-02T03:04:05.000Z"} for role, text in messages]
    conversation = {"title": title, "system": "", "messages": told, "createdAt": "2026-01-02T03:04:05.000Z"}
    return json.dumps(
        {"format": "chatglm-oneclick-conversations", "version": 1, "conversations": [conversation]}, ensure_ascii=False
    )


def stored_answer(chat: ChatPage) -> str:
    """Return the newest answer as IndexedDB holds it, "" where there is none."""
    text: str = chat.page.evaluate(
        """() => new Promise((resolve) => {
          const request = indexedDB.open("oneclick-chat");
          request.onsuccess = () => {
            const all = request.result.transaction("messages").objectStore("messages").getAll();
            all.onsuccess = () => {
              const answers = all.result.filter((one) => one.role === "assistant");
              const last = answers.sort((a, b) => a.createdAt - b.createdAt).at(-1);
              request.result.close();
              resolve(last ? last.versions[last.active].text : "");
            };
          };
        })"""
    )
    return text


OpenPage = Callable[..., ChatPage]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Give a function that opens the page of a program in a fresh browser profile.

    Afterwards nothing may have been stopped by the security policy, asked of another origin, or thrown.
    ``may_fail``: the program goes away or refuses in this test, so requests fail. ``preferences``: what the settings
    window sets. ``again``: the profile of another page.
    """
    contexts: list[BrowserContext] = []
    pages: list[tuple[ChatPage, bool]] = []

    def open_one(
        url: str,
        *,
        may_fail: bool = False,
        again: BrowserContext | None = None,
        preferences: dict[str, Any] | None = None,
        **options: Any,
    ) -> ChatPage:
        options.setdefault("locale", "zh-CN")
        options.setdefault("viewport", {"width": 1200, "height": 800})
        context = again or browser.new_context(permissions=["clipboard-read", "clipboard-write"], **options)
        if again is None:
            context.add_init_script(WATCH)
            context.add_init_script(f"localStorage['{PREFERENCES}'] ??= {json.dumps(json.dumps(preferences or {}))}")
            contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        chat = ChatPage(page, url + "/")
        page.on("request", lambda request: _note_foreign(chat, request.url, url))
        page.on("pageerror", lambda error: chat.errors.append(str(error)))
        page.on("console", lambda message: _note_error(chat, message))
        pages.append((chat, may_fail))
        return chat.open()

    yield open_one
    for chat, may_fail in pages:
        if chat.page.is_closed():
            continue
        assert chat.watched("violations") == []
        assert chat.foreign == []
        assert may_fail or chat.errors == []
    for context in contexts:
        context.close()


def _note_error(chat: ChatPage, message: ConsoleMessage) -> None:
    # A server that is not there is no mistake of the page's, and some tests end their server first.
    if message.type == "error" and "ERR_CONNECTION_REFUSED" not in message.text:
        chat.errors.append(message.text)


def _note_foreign(chat: ChatPage, address: str, own: str) -> None:
    if not address.startswith((own + "/", "data:", "blob:")):
        chat.foreign.append(address)


def _program(folder: Path, shape: str) -> Iterator[Program]:
    make_native_bundle(folder)
    add_model(folder, shape)
    program = Program(folder, arguments=ONE_THREAD)
    program.wait_ready()
    yield program
    program.stop()


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The program with a model that answers at once."""
    yield from _program(tmp_path_factory.mktemp("bundle"), "tiny")


@pytest.fixture(scope="session")
def slow_program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The program with a model slow enough to be watched."""
    yield from _program(tmp_path_factory.mktemp("bundle"), "small")


@pytest.fixture
def chat(open_page: OpenPage, program: Program) -> ChatPage:
    """The page with a ready model, short answers, before the first message."""
    page = open_page(program.url, preferences={"maxTokens": 64})
    expect(page.find(".pill.good")).to_be_visible(timeout=PATIENCE_MS)
    return page


@pytest.fixture
def slow_chat(open_page: OpenPage, slow_program: Program) -> ChatPage:
    """The page with a slow model and long answers."""
    page = open_page(slow_program.url, preferences={"maxTokens": 8192, "temperature": 0})
    expect(page.find(".pill.good")).to_be_visible(timeout=PATIENCE_MS)
    return page
