"""The double-click in this process, as far as no engine is needed for it."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from oneclick.console import Console
from oneclick.doors import run
from oneclick.doors.run import Launcher
from oneclick.folder import BundleFolder
from oneclick.port import browser
from oneclick.stopping import StopSignal
from tests.bundle.release.releases import bundle_json

PATIENCE_S = 60.0


@dataclass
class Run:
    """How a double-click ended."""

    code: int
    window: str
    launcher: Launcher


def double_click(folder: Path, monkeypatch: pytest.MonkeyPatch, visit: Callable[[int], bool], *arguments: str) -> Run:
    """Start the program, whose look at Windows fails, until ``visit(port)`` is true; called again after errors."""
    (folder / "bundle.json").write_bytes(bundle_json())
    monkeypatch.setattr(StopSignal, "listen", lambda self: None)  # signals are the test run's own
    monkeypatch.setattr(run, "spawn", lambda: None)

    def trip(*_: object) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(run, "check_windows", trip)
    screen = io.StringIO()
    launcher = Launcher(BundleFolder(folder), ["--port", "0", *arguments], Console(screen))

    def visit_the_page() -> None:
        give_up = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up:
            with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
                if visit(json.loads((folder / "logs" / "running.json").read_text("utf-8"))["port"]):
                    break
            time.sleep(0.05)
        launcher._stop.request()

    visitor = threading.Thread(target=visit_the_page)
    visitor.start()
    code = launcher.run()
    visitor.join()
    return Run(code, screen.getvalue(), launcher)


def ask(port: int, path: str, method: str = "GET", body: str | None = None, **headers: str) -> tuple[int, str]:
    """Return (status, text)."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.read().decode("utf-8")


def test_a_bug_in_the_start_keeps_the_page_up_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def look(port: int) -> bool:
        told.append(ask(port, "/health")[1])
        return "failed" in told[-1]

    ended = double_click(tmp_path, monkeypatch, look, "--no-browser")
    assert ended.code == 1
    assert "failed" in told[-1] and "a mistake of ours" in ended.window
    assert "a mistake of ours" in str(ended.launcher._status.get().message_values)


def test_who_was_allowed_always_comes_in_after_the_next_double_click(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "host.docker.internal"
    asked: list[tuple[int, str]] = []

    def allow(port: int) -> bool:
        page = ask(port, "/")[1]
        token = re.search('name="oneclick-token" content="([^"]+)"', page)
        assert token is not None
        if ask(port, "/v1/models", Host=name)[0] != 403:
            return False
        answer = json.dumps({"kind": "host", "name": name, "answer": "always"})
        asked.append(ask(port, "/oneclick/strangers", "POST", answer, X_OneClick_Token=token[1]))
        return True

    double_click(tmp_path, monkeypatch, allow, "--no-browser")
    assert asked == [(200, '{"message":null}')]
    assert f"allowed_hosts = ['{name}']" in (tmp_path / "设置.toml").read_text("utf-8")

    def come(port: int) -> bool:
        asked.append(ask(port, "/v1/models", Host=name))
        return True

    double_click(tmp_path, monkeypatch, come, "--no-browser")
    assert asked[-1][0] == 200


@pytest.mark.parametrize("key", ["Sesam", ""])
def test_a_second_double_click_opens_a_page_that_asks_for_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    (tmp_path / "设置.toml").write_text(f"api_key = '{key}'\n", encoding="utf-8")
    opened: list[str] = []
    monkeypatch.setattr(browser, "open_page", opened.append)
    seen: list[int] = []
    window = io.StringIO()

    def click_again(port: int) -> bool:
        seen.append(Launcher(BundleFolder(tmp_path), [], Console(window)).run())
        fragment = urlsplit(opened[-1]).fragment
        seen.append(ask(port, "/status", X_OneClick_Token=fragment.partition("token=")[2])[0])
        seen.append(ask(port, "/status")[0])
        return True

    double_click(tmp_path, monkeypatch, click_again)
    first, second = opened
    assert first == second
    assert ("#token=" in first) is bool(key)
    assert seen == [0, 200, 401 if key else 200]
    assert "token" not in window.getvalue()
    assert not (tmp_path / "logs" / "running.json").exists()
