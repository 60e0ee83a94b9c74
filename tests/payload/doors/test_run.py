"""The double-click in this process, as far as no engine is needed for it."""

from __future__ import annotations

import http.client
import io
import json
import threading
import time
from pathlib import Path

import pytest

from oneclick.console import Console
from oneclick.doors import run
from oneclick.doors.run import Launcher
from oneclick.folder import BundleFolder
from oneclick.stopping import StopSignal
from tests.bundle.release.releases import bundle_json

PATIENCE_S = 60.0


def test_a_bug_in_the_start_keeps_the_page_up_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bundle.json").write_bytes(bundle_json())
    monkeypatch.setattr(StopSignal, "listen", lambda self: None)  # signals are the test run's own
    monkeypatch.setattr(run, "spawn", lambda: None)

    def trip(*_: object) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(run, "check_windows", trip)
    screen = io.StringIO()
    launcher = Launcher(BundleFolder(tmp_path), ["--port", "0", "--no-browser"], Console(screen))
    told: list[dict[str, object]] = []

    def look_at_the_page() -> None:
        give_up = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up:
            time.sleep(0.05)
            try:
                port = json.loads((tmp_path / "logs" / "running.json").read_text("utf-8"))["port"]
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                connection.request("GET", "/health")
                health = json.loads(connection.getresponse().read())
                connection.close()
            except (OSError, ValueError, http.client.HTTPException):
                continue
            if "failed" in json.dumps(health):
                told.append(health)
                break
        launcher._stop.request()

    visitor = threading.Thread(target=look_at_the_page)
    visitor.start()
    code = launcher.run()
    visitor.join()
    assert code == 1
    assert told and "a mistake of ours" in screen.getvalue()
    assert "a mistake of ours" in str(launcher._status.get().message_values)
