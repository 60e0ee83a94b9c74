"""Pictures of the chat page for README and help, taken from the real page: ``python -m tests.payload.web.screenshots``.

The conversation in them is an example that is imported; states are set in a real server's status.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from oneclick.folder import CHATS
from oneclick.server.runtime import ServerConfig
from tests.payload.conftest import LiveServer, starting
from tests.payload.web.conftest import CHROMIUM_FLAGS, ChatPage, export_of

TARGET = Path(__file__).parents[3] / "docs" / "screenshots"
QUESTION = "帮我计划三天两夜的成都旅行，再用 Python 算一下花费。"
ANSWER = """**三天两夜的成都旅行**可以这样安排，节奏不赶，吃住都方便：

| 天数 | 上午 | 下午 | 晚上 |
|---|---|---|---|
| 第 1 天 | 到达，入住春熙路附近 | 人民公园喝盖碗茶 | 锦里夜游 |
| 第 2 天 | 大熊猫基地（8 点前到） | 宽窄巷子 | 吃火锅 |
| 第 3 天 | 武侯祠 | 杜甫草堂，返程 | 回家 |

**要点：**提前买好熊猫基地的票，记得带身份证。按每人每天 500 元估算：

```python
def total(days: int, per_day: float = 500) -> float:
    # 每天的花费乘以天数
    return days * per_day

print(f"共 {total(3):.0f} 元")  # 共 1500 元
```

> 最容易被忽略的一点：成都早晚温差不小，带一件薄外套。
"""
OTHERS = ["给同事写一封请假邮件", "写春天的小红书文案", "解释一下什么是复利", "“早起的鸟儿”英文怎么说"]


class Studio:
    """A browser, a server whose status we set, and the folder for the pictures."""

    def __init__(self, browser: Browser, server: LiveServer, chats: Path, target: Path) -> None:
        self.browser = browser
        self.server = server
        self.chats = chats
        self.target = target

    def page(self, width: int, height: int, *, scheme: str = "light", scale: float = 1, **options: Any) -> ChatPage:
        shutil.rmtree(self.chats, ignore_errors=True)
        context = self.browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,  # type: ignore[arg-type]
            device_scale_factor=scale,
            locale="zh-CN",
            **options,
        )
        chat = ChatPage(context.new_page(), self.server.url + "/").open()
        for title in OTHERS:
            bring_in(chat.page, export_of([("user", title), ("assistant", "好的。")], title))
        return chat

    def shoot(self, chat: ChatPage, name: str) -> None:
        chat.page.mouse.move(5, 300)
        chat.page.wait_for_timeout(600)
        chat.page.screenshot(path=self.target / f"{name}.png")
        chat.page.context.close()


def bring_in(page: Page, text: str) -> None:
    script = "text => import('/js/transfer.js').then((module) => module.importFiles([new File([text], 'a.json')]))"
    page.evaluate(script, text)


def example(chat: ChatPage) -> ChatPage:
    """Open the example conversation, at its beginning."""
    bring_in(chat.page, export_of([("user", QUESTION), ("assistant", ANSWER)], "三天两夜的成都旅行"))
    chat.page.evaluate("document.querySelector('.conversation-open').click()")
    chat.page.wait_for_timeout(500)
    chat.page.evaluate("document.querySelector('#scroller').scrollTop = 0")
    return chat


def take_all(studio: Studio) -> None:
    status = studio.server.runtime.status
    status.set("ready")
    studio.shoot(studio.page(1280, 800), "empty")
    studio.shoot(example(studio.page(1280, 860)), "chatting")
    studio.shoot(example(studio.page(1280, 860, scheme="dark")), "dark")
    studio.shoot(example(studio.page(360, 720, scale=2, is_mobile=True, has_touch=True)), "phone")
    studio.shoot(example(studio.page(3840, 2160)), "4k")
    clients = studio.page(1280, 800)
    clients.button("连接其他软件").click()
    studio.shoot(clients, "other-programs")
    settings = studio.page(1280, 800)
    settings.button("设置").click()
    studio.shoot(settings, "settings")
    status.set("loading", 0.43)
    studio.shoot(studio.page(1280, 800), "loading")
    figures = {"done_bytes": 1_100_000_000, "total_bytes": 3_514_297_136, "rate_bytes_s": 5_300_000, "left_s": 455}
    status.set("downloading", 0.31, **figures, source="ModelScope", paused=False)
    studio.shoot(studio.page(1280, 800), "downloading")
    status.fail("server.exit_memory", code="0xC0000017")
    studio.shoot(studio.page(1280, 800), "error")


def main() -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    executable = shutil.which("chromium")
    with starting() as start, sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        chats = Path(folder) / CHATS
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        server = start(None, config=ServerConfig(chats=chats), wait=False)
        take_all(Studio(browser, server, chats, TARGET))
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
