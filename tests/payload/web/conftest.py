"""The chat page in a real Chromium, served by the real program with a real engine and a tiny model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect, sync_playwright

from oneclick.folder import CHATS
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
GREEDY = {"temperature": 0}
"""Preferences with which the test models always say something: sampled, one answer in 150 ends before its first word,
and has no figures to wait for."""
SHORT = {**GREEDY, "maxTokens": 16}
LONG = {**GREEDY, "maxTokens": 8192}

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


# Everything the page keeps, or that the browser does not give it.
STORED = """() => Promise.race([
  new Promise((resolve) => setTimeout(() => resolve("the browser does not answer"), 10000)),
  new Promise((resolve) => {
    const request = indexedDB.open("oneclick-chat");
    request.onerror = () => resolve(`${request.error}`);
    request.onsuccess = () => {
      const database = request.result;
      const found = ["conversations", "messages"].map((name) => {
        const all = database.transaction(name).objectStore(name).getAll();
        return new Promise((got) => { all.onsuccess = () => got(all.result); });
      });
      Promise.all(found).then((all) => {
        database.close();
        resolve(JSON.stringify(all).slice(0, 4000));
      });
    };
  }),
])"""


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
    may_fail: bool = False
    """The program goes away or refuses in this test, so requests fail."""
    foreign: list[str] = field(default_factory=list)
    """Addresses of other origins that the page asked for."""
    errors: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    """What the page said, asked for and got, in order: shown when a test fails."""

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
        """Send ``text`` and return the complete answer, which must say something: see GREEDY."""
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

    def note_events(self) -> None:
        """Write down what happens from now on."""
        page, events = self.page, self.events
        page.on("console", lambda message: events.append(f"console {message.type}: {message.text}"))
        page.on("pageerror", lambda error: events.append(f"thrown: {error}"))
        page.on("request", lambda request: events.append(f"asked: {request.method} {request.url}"))
        page.on("requestfinished", lambda request: events.append(f"got: {request.method} {request.url}"))
        page.on("requestfailed", lambda request: events.append(f"failed: {request.url} {request.failure}"))

    def evidence(self) -> str:
        """Return what tells why a test failed: what happened, and what the page and its store hold."""
        told = [event for event in self.events if not event.endswith("/status")][-60:]
        if not self.page.is_closed():
            told += ["on screen:", self.page.locator("body").inner_text(timeout=10_000)]
            told += ["stored:", self.page.evaluate(STORED)]
        return "\n".join(told)


def export_of(messages: list[tuple[str, str]], title: str = "导入") -> str:
    """Return the JSON of an exported conversation."""
    told = [{"role": role, "text": text, "createdAt": "2026-01-02T03:04:05.000Z"} for role, text in messages]
    conversation = {"title": title, "system": "", "messages": told, "createdAt": "2026-01-02T03:04:05.000Z"}
    return json.dumps(
        {"format": "chatglm-oneclick-conversations", "version": 1, "conversations": [conversation]}, ensure_ascii=False
    )


def stored_answer(chat: ChatPage) -> str:
    """Return the newest answer as the program's folder holds it, "" where there is none."""
    text: str = chat.page.evaluate(
        """async () => {
          const { askChats } = await import("/js/api.js");
          const { chats } = await askChats("GET");
          const all = await Promise.all(chats.map(({ id }) => askChats("GET", id)));
          const answers = all.flatMap(({ messages }) => messages).filter((one) => one.role === "assistant");
          const last = answers.sort((a, b) => a.createdAt - b.createdAt).at(-1);
          return last ? last.versions[last.active].text : "";
        }"""
    )
    return text


OpenPage = Callable[..., ChatPage]
PAGES = pytest.StashKey[list[ChatPage]]()


@pytest.fixture
def open_page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[OpenPage]:
    """Give a function that opens the page of a program in a fresh browser profile.

    Afterwards nothing may have been stopped by the security policy, asked of another origin, or thrown.
    ``may_fail``: the program goes away or refuses in this test, so requests fail. ``preferences``: what the settings
    window sets. ``again``: the profile of another page.
    """
    contexts: list[BrowserContext] = []
    pages = request.node.stash.setdefault(PAGES, [])

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
        chat = ChatPage(page, url + "/", may_fail)
        page.on("request", lambda request: _note_foreign(chat, request.url, url))
        page.on("pageerror", lambda error: chat.errors.append(str(error)))
        page.on("console", lambda message: _note_error(chat, message))
        chat.note_events()
        pages.append(chat)
        return chat.open()

    yield open_one
    try:
        for chat in pages:
            if chat.page.is_closed():
                continue
            assert chat.watched("violations") == []
            assert chat.foreign == []
            assert chat.may_fail or chat.errors == []
    finally:
        for context in contexts:
            context.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failed test what its pages and its programs went through."""
    report = yield
    if call.when == "call" and report.failed:
        for chat in item.stash.get(PAGES, []):
            report.sections.append((f"page {chat.url}", _or_why_not(chat.evidence)))
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, Program):
                report.sections.append((name, _or_why_not(value.evidence)))
    return report


def _or_why_not(tell: Callable[[], str]) -> str:
    try:
        return tell()
    except Exception as error:  # Whatever it is, the test's own failure must be shown.
        return f"{type(error).__name__}: {error}"


def _note_error(chat: ChatPage, message: ConsoleMessage) -> None:
    # A server that is not there is no mistake of the page's, and some tests end their server first.
    if message.type == "error" and "ERR_CONNECTION_REFUSED" not in message.text:
        chat.errors.append(message.text)


def _note_foreign(chat: ChatPage, address: str, own: str) -> None:
    if not address.startswith((own + "/", "data:", "blob:")):
        chat.foreign.append(address)


def run_program(folder: Path, shape: str) -> Iterator[Program]:
    """Give a program with a model of ``shape`` that is ready, and end it."""
    make_native_bundle(folder)
    add_model(folder, shape)
    yield from run_bundle(folder)


def run_bundle(folder: Path) -> Iterator[Program]:
    """Give the program in ``folder`` once its model is ready, and end it."""
    program = Program(folder, arguments=ONE_THREAD)
    try:
        program.wait_ready()
        yield program
    finally:
        program.stop()


def forget_chats(program: Program) -> None:
    """Remove the program's conversations, and what stands in their place."""
    chats = program.folder / CHATS
    if chats.is_dir():
        shutil.rmtree(chats)
    chats.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def quick_program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The program with a model that answers at once, for all tests."""
    yield from run_program(tmp_path_factory.mktemp("bundle"), "tiny")


@pytest.fixture
def program(quick_program: Program) -> Program:
    """The program with a model that answers at once, without conversations."""
    forget_chats(quick_program)
    return quick_program


@pytest.fixture(scope="session")
def watchable_program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The program with a model slow enough to be watched, for all tests."""
    yield from run_program(tmp_path_factory.mktemp("bundle"), "small")


@pytest.fixture
def slow_program(watchable_program: Program) -> Program:
    """The program with a model slow enough to be watched, without conversations."""
    forget_chats(watchable_program)
    return watchable_program


@pytest.fixture
def chat(open_page: OpenPage, program: Program) -> ChatPage:
    """The page with a ready model, short answers, before the first message."""
    page = open_page(program.url, preferences={**GREEDY, "maxTokens": 64})
    expect(page.find(".pill.good")).to_be_visible(timeout=PATIENCE_MS)
    return page


@pytest.fixture
def slow_chat(open_page: OpenPage, slow_program: Program) -> ChatPage:
    """The page with a slow model and long answers."""
    page = open_page(slow_program.url, preferences=LONG)
    expect(page.find(".pill.good")).to_be_visible(timeout=PATIENCE_MS)
    return page
