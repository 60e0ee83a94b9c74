"""What the model writes and what files bring in is hostile: nothing runs, nothing loads, nothing poses as the page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from playwright.sync_api import Route, expect

from tests.payload.web.conftest import PATIENCE_MS, ChatPage, OpenPage, export_of
from tests.support.native_bundle import Program

pytestmark = pytest.mark.browser

# After OWASP's XSS Filter Evasion Cheat Sheet, its Markdown variants, and known ways around sanitisers.
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<IMG SRC=javascript:alert('XSS')>",
    '<IMG """><SCRIPT>alert("XSS")</SCRIPT>"\\>',
    "<img src=`javascript:alert(1)`>",
    "<a onmouseover=\"alert(1)\" href='#'>x</a>",
    "<svg/onload=alert(1)>",
    "<svg><script href=data:,alert(1) /></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<svg><use href=\"data:image/svg+xml,<svg id='x'><a href='javascript:alert(1)'/></svg>#x\">",
    '<math><mtext></p><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;">',
    "<math><annotation-xml encoding='text/html'><img src=x onerror=alert(1)></annotation-xml></math>",
    "<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
    "<iframe src=javascript:alert(1)></iframe>",
    "<iframe srcdoc='<script>parent.alert(1)</script>'></iframe>",
    "<object data=javascript:alert(1)></object><embed src=javascript:alert(1)>",
    "<body onload=alert(1)><video><source onerror=alert(1)></video>",
    "<details open ontoggle=alert(1)><summary>x</summary></details>",
    "<input autofocus onfocus=alert(1)><select autofocus onfocus=alert(1)><textarea autofocus onfocus=alert(1)>",
    "<style>@import 'http://127.0.0.1:9/x.css';body{background:url(http://127.0.0.1:9/x)}</style>",
    '<div style="background:url(http://127.0.0.1:9/x);position:fixed;inset:0">x</div>',
    "<link rel=stylesheet href=http://127.0.0.1:9/x.css><base href=http://127.0.0.1:9/>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
    "<template><script>alert(1)</script></template><xss id=x tabindex=1 onfocus=alert(1)></xss>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](javascript&colon;alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](vbscript:msgbox(1))",
    "[x](blob:http://127.0.0.1/1)",
    "[x]( javascript:alert(1) 'title\" onmouseover=\"alert(1)')",
    "![x](javascript:alert(1))",
    '![x](https://example.com/a.png"onerror="alert(1))',
    '![x" onerror="alert(1)](x)',
    "[x]: javascript:alert(1)\n\n[x]",
    "<javascript:alert(1)>",
    '<https://example.com/" onclick="alert(1)>',
    "```<img src=x onerror=alert(1)>\n<script>alert(1)</script>\n```",
    '```html" onmouseover="alert(1)\n<b>x</b>\n```',
    "`<img src=x onerror=alert(1)>`",
    "| <img src=x onerror=alert(1)> | b |\n|---|---|\n| <script>alert(1)</script> | d |",
    "# <img src=x onerror=alert(1)>",
    "> <svg onload=alert(1)>",
    "- <input type=image src=x onerror=alert(1)>",
    "<br onclick=alert(1)><kbd onclick=alert(1)>x</kbd>",
    "&lt;script&gt;alert(1)&lt;/script&gt; &#60;img src=x onerror=alert(1)&#62;",
    "<a name=body id=prompt class=send href=https://example.com/>x</a>",
    "<img name=getElementById><form name=body><input name=children></form>",
    "\u202e<script>alert(1)</script>\u0000<scr\u0000ipt>alert(1)</scr\u0000ipt>",
    "<<script>alert(1)//<</script>",
    '<a href="https://example.com" target=_self ping=http://127.0.0.1:9/>x</a>',
]

FIND_DANGER = """() => {
  const tags = "SCRIPT IMG IFRAME OBJECT EMBED VIDEO AUDIO STYLE LINK BASE META FORM SELECT TEXTAREA TEMPLATE MATH"
    + " DETAILS";
  const attributes = ["id", "name", "style", "srcdoc", "ping", "formaction", "xlink:href"];
  const found = [];
  const texts = ".message .body, .conversation-open, #title";
  for (const element of [...document.querySelectorAll(texts)].flatMap((one) => [...one.querySelectorAll("*")])) {
    if (element.closest(".code-copy")) continue;
    const foreign = element instanceof SVGElement || tags.split(" ").includes(element.tagName.toUpperCase());
    if (foreign) found.push(element.outerHTML);
    for (const { name, value } of element.attributes) {
      if (name.startsWith("on") || attributes.includes(name)) found.push(`${name}=${value}`);
      if (["href", "src"].includes(name) && !/^(https?|mailto):/i.test(value)) found.push(`${name}=${value}`);
    }
  }
  return found;
}"""


@pytest.mark.parametrize("growing", [False, True], ids=["imported", "streamed"])
def test_hostile_markdown_does_nothing(open_page: OpenPage, program: Program, growing: bool) -> None:
    chat = open_page(program.url)
    dialogs: list[str] = []
    chat.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    chat.page.evaluate("() => { window.alert = () => { window.attacked = true; }; }")
    if growing:
        stream_texts(chat, HOSTILE)
        for number in range(len(HOSTILE)):
            chat.prompt.fill(f"问题 {number}")
            chat.prompt.press("Enter")
            expect(chat.find(".message.assistant")).to_have_count(number + 1)
            expect(chat.find("#send.stop")).to_have_count(0, timeout=PATIENCE_MS)
    else:
        told = [("user", text) for text in HOSTILE] + [("assistant", text) for text in HOSTILE]
        chat.import_text("import.json", export_of(told, HOSTILE[1]))
        chat.page.evaluate("document.querySelectorAll('.message').forEach((one) => one.scrollIntoView())")
    show_all_as_markdown(chat, len(HOSTILE))
    chat.page.mouse.move(600, 300)
    for _ in range(5):
        chat.page.keyboard.press("Tab")
    assert chat.page.evaluate(FIND_DANGER) == []
    assert chat.page.evaluate("window.attacked") is None
    assert dialogs == []
    assert chat.page.url.startswith(program.url)


def show_all_as_markdown(chat: ChatPage, count: int) -> None:
    """Scroll through the conversation until every answer is shown as Markdown."""
    for answer in chat.answers.all():
        answer.scroll_into_view_if_needed()
    expect(chat.find(".message.assistant .body.plain")).to_have_count(0)
    expect(chat.find(".message.assistant .body.markdown")).to_have_count(count)


def stream_texts(chat: ChatPage, texts: list[str]) -> None:
    """Answer the page's next questions with ``texts``, three letters at a time, as a hostile model would."""
    waiting = list(texts)

    def answer(route: Route) -> None:
        text = waiting.pop(0)
        parts = [text[at : at + 3] for at in range(0, len(text), 3)]
        events = [{"choices": [{"index": 0, "delta": {"content": part}}]} for part in parts]
        events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})  # type: ignore[dict-item]
        body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
        route.fulfill(status=200, content_type="text/event-stream", body=body)

    chat.page.route("**/v1/chat/completions", answer)


def test_images_are_links_and_load_nothing(chat: ChatPage) -> None:
    body = chat.import_answer("看图：![一只猫](https://example.com/cat.png) 和 ![](https://example.com/b.png)")
    expect(body.locator("img")).to_have_count(0)
    link = body.get_by_role("link", name="图片链接 一只猫")
    expect(link).to_have_attribute("href", "https://example.com/cat.png")
    expect(body.get_by_role("link")).to_have_count(2)


def test_html_in_an_answer_is_shown_as_written(chat: ChatPage) -> None:
    body = chat.import_answer('用 <div class="a"> 标签，换行用<br>这样\n\n<section>\n块\n</section>')
    expect(body).to_contain_text('用 <div class="a"> 标签')
    expect(body).to_contain_text("<section>")
    assert body.locator("br").count() >= 1


def test_hostile_fields_of_an_imported_file_are_not_taken(chat: ChatPage) -> None:
    file = json.loads(export_of([("user", "问"), ("assistant", "答"), ("system", "藏"), ("<b>", "x")]))
    one = file["conversations"][0]
    one |= {
        "id": "__proto__",
        "__proto__": {"polluted": True},
        "title": ["<img src=x onerror=alert(1)>"],
        "system": {"a": 1},
    }
    one["messages"][1] |= {"versions": [1, None, "好"], "active": 99, "state": "running", "error": {"words": "<b>"}}
    one["messages"] += [None, 5, "x", {"role": "user"}, {"role": "assistant", "text": 7}]
    chat.import_text("a.json", json.dumps(file))
    expect(chat.find(".message.user .body").first).to_have_text("问")
    expect(chat.answers.first).to_have_text("好")
    expect(chat.find(".conversation-title")).to_have_text(["未命名的对话"])
    assert chat.page.evaluate("({}).polluted") is None


def test_the_policy_allows_nothing_inline_and_nothing_foreign(chat: ChatPage, foreign_server: str) -> None:
    policy = chat.page.request.get(chat.url).headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    attempts = """async (foreign) => {
      const script = document.createElement("script");
      const refused = [];
      const attempt = async (name, work) => { try { await work(); } catch { refused.push(name); } };
      await attempt("script address", () => script.setAttribute("src", foreign + "/x.js"));
      await attempt("script text", () => { script.text = "window.ran = 1"; document.body.append(script); });
      await attempt("html", () => { document.body.innerHTML += "<b>x</b>"; });
      await attempt("fetch", () => fetch(foreign + "/x"));
      await attempt("image", () => new Promise((resolve, reject) => {
        const image = new Image();
        image.onerror = reject;
        image.onload = resolve;
        image.src = foreign + "/x.png";
      }));
      return { refused, ran: window.ran ?? null };
    }"""
    refused = ["script address", "script text", "html", "fetch", "image"]
    assert chat.page.evaluate(attempts, foreign_server) == {"refused": refused, "ran": None}
    assert len(chat.watched("violations")) >= 3
    # These were the test's own doing.
    chat.page.evaluate("watched.violations = []")
    chat.foreign.clear()
    chat.errors.clear()


@pytest.fixture
def foreign_server() -> Iterator[str]:
    """Another origin on this machine, which would answer anything."""

    class Everything(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Everything)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_no_other_site_may_frame_the_page(chat: ChatPage) -> None:
    headers = chat.page.request.get(chat.url).headers
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_texts_made_to_exhaust_the_parser_are_shown_all_the_same(chat: ChatPage) -> None:
    parts = ["**a ", "*a ", "[a](", "> ", "`a ", "<a ", "***a", "  - a\n", "|a|\n|-|\n", "http://a "]
    texts = [(part * 40_000)[:30_000] for part in parts] + ["好" * 500_000]
    told = [("user", "?"), *(("assistant", text) for text in texts)]
    chat.import_text("a.json", export_of(told))
    show_all_as_markdown(chat, len(texts))
    expect(chat.find(".as-is").last).to_contain_text("好好好")
    expect(chat.find(".pill.good")).to_be_visible()
