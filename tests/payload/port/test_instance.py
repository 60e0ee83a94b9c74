from __future__ import annotations

import asyncio
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oneclick.port.instance import RUN_HEADER, Instance, TellRun, announce, announced, new_instance, running, withdraw


class Answering(http.server.BaseHTTPRequestHandler):
    run = ""

    def do_GET(self) -> None:
        self.send_response(503)
        self.send_header(RUN_HEADER, self.run)
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[http.server.HTTPServer]:
    with http.server.HTTPServer(("127.0.0.1", 0), Answering) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield listening
        listening.shutdown()
        thread.join()


def test_our_own_server_is_recognised_while_it_still_loads(
    server: http.server.HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = new_instance("127.0.0.1", server.server_port)
    announce(instance, tmp_path / "logs" / "running.json")
    monkeypatch.setattr(Answering, "run", instance.run)
    assert running(tmp_path / "logs" / "running.json") == instance


def test_a_foreign_program_on_the_port_is_not_ours(server: http.server.HTTPServer, tmp_path: Path) -> None:
    announce(new_instance("127.0.0.1", server.server_port), tmp_path / "running.json")
    assert running(tmp_path / "running.json") is None


def test_what_a_crash_left_behind_is_not_running(tmp_path: Path) -> None:
    announce(Instance("127.0.0.1", 9, "x"), tmp_path / "running.json")
    assert running(tmp_path / "running.json") is None


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"host": 1, "port": "x", "run": 2}', "\x00"])
def test_a_damaged_file_is_no_instance(tmp_path: Path, content: str) -> None:
    (tmp_path / "running.json").write_text(content)
    assert announced(tmp_path / "running.json") is None


def test_only_its_own_announcement_is_withdrawn(tmp_path: Path) -> None:
    file = tmp_path / "running.json"
    announce(Instance("127.0.0.1", 1, "other"), file)
    withdraw(Instance("127.0.0.1", 1, "mine"), file)
    assert file.is_file()
    withdraw(Instance("127.0.0.1", 1, "other"), file)
    assert not file.exists()


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:1/"), ("0.0.0.0", "http://127.0.0.1:1/"), ("::1", "http://[::1]:1/")],
)
def test_the_page_has_an_address_a_browser_can_open(host: str, url: str) -> None:
    assert Instance(host, 1, "x").url == url


def test_every_answer_tells_the_run() -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Any:
        return {}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(TellRun(app, "run-1")({"type": "http"}, receive, send))
    assert sent[0]["headers"] == [(b"a", b"b"), (b"x-oneclick-run", b"run-1")]
