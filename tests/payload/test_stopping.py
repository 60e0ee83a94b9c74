from __future__ import annotations

import os
import signal
import threading
import time

from oneclick.remembered import Remembered
from oneclick.stopping import StopSignal


def test_ctrl_c_wakes_a_waiting_main_thread() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    stop = StopSignal()
    try:
        stop.listen()
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        began = time.monotonic()
        assert stop.wait()
        assert time.monotonic() - began < 2
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])


def test_waiting_with_a_limit_tells_whether_to_stop() -> None:
    stop = StopSignal()
    assert stop.wait(0.01) is False
    stop.request()
    assert stop.wait(0.01) is True


def test_what_was_remembered_survives_and_damage_is_forgotten(tmp_path: object) -> None:
    from pathlib import Path

    file = Path(str(tmp_path)) / "logs" / "remembered.json"
    Remembered(file).put("threads", "cpu", 4)
    Remembered(file).put("threads", "other", 8)
    assert Remembered(file).get("threads", "cpu") == 4
    file.write_text("{")
    assert Remembered(file).get("threads", "cpu") is None
