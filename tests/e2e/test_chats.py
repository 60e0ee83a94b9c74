"""Conversations of the finished archive, written by the Windows program: they go where the folder goes."""

from __future__ import annotations

import random
import re
import threading
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.conftest import MakeBundle
from tests.support.wine import Bundle, Running

pytestmark = pytest.mark.wine

ID = "0123456789abcdef01234567"


class Visitor:
    """What the page of ``running`` asks for."""

    def __init__(self, running: Running) -> None:
        token = re.search(r'name="oneclick-token" content="([^"]+)"', running.page())
        assert token
        self._url = f"{running.url}/oneclick/chats"
        self._headers = {"X-OneClick-Token": token.group(1)}

    def ask(self, method: str, chat_id: str = "", body: Any = None) -> requests.Response:
        url = f"{self._url}/{chat_id}".rstrip("/")
        return requests.request(method, url, json=body, headers=self._headers, timeout=60)

    def put(self, text: str, revision: str | None, title: str = '旅行: "三天"?') -> requests.Response:
        message = {"id": "q", "role": "user", "position": 1, "createdAt": 1, "text": text}
        conversation = {"title": title, "updatedAt": 1}
        return self.ask("PUT", ID, {"conversation": conversation, "messages": [message], "revision": revision})

    def save_until_killed(self, number: int, revision: str | None) -> int:
        """Save ``number`` and what follows; return the last that was saved for certain."""
        while True:
            try:
                revision = self.put(f"{number} " * 50_000, revision).json()["revision"]
            except requests.ConnectionError:
                return number - 1
            number += 1


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.md"))


def test_they_go_with_the_folder_to_another_place_and_port(make_bundle: MakeBundle) -> None:
    bundle = make_bundle("我的 软件(测试)&1!")
    with bundle.running("--port", "0") as running:
        first_port, page = running.port, Visitor(running)
        saved = page.put("第一\n第二", None)
        assert saved.status_code == 200, saved.text
        revision = saved.json()["revision"]
        assert page.put("另一个窗口", None).status_code == 409
        renamed = page.put("第一\n第二", revision, title="去 CON.txt")
        assert renamed.status_code == 200, renamed.text
    assert names(bundle.folder / "对话") == [f"去 CON txt {ID}.md"]
    moved = Bundle(bundle.folder.rename(bundle.folder.with_name("U 盘")), bundle.prefix)
    with moved.running("--port", "0") as running:
        page = Visitor(running)
        assert running.port != first_port
        assert [chat["id"] for chat in page.ask("GET").json()["chats"]] == [ID]
        assert page.ask("GET", ID).json()["messages"][0]["text"] == "第一\n第二"
        assert page.ask("POST", body={"find": "第二"}).json()["found"][0]["id"] == ID
        assert page.ask("DELETE", ID).status_code == 200
        assert page.ask("GET").json()["chats"] == []
    assert names(moved.folder / "对话" / "回收站") == [f"去 CON txt {ID}.md"]
    for secret in ("第一", "CON"):
        assert secret not in moved.log()


def test_a_program_killed_while_it_saves_leaves_the_old_or_the_new_version(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    dice = random.Random(3)
    written = 0
    for _ in range(3):
        with bundle.running("--port", "0") as running:
            page = Visitor(running)
            listed = page.ask("GET").json()
            assert listed["damaged"] == []
            revision = listed["chats"][0]["revision"] if listed["chats"] else None
            if revision:
                text = page.ask("GET", ID).json()["messages"][0]["text"]
                number = int(text.split()[0])
                assert text == f"{number} " * 50_000
                assert number in (written, written + 1)
                written = number
            killer = threading.Timer(0.5 + dice.random(), bundle.prefix.kill, ["python.exe"])
            killer.start()
            written = page.save_until_killed(written + 1, revision)
            killer.join()
    assert written > 0
