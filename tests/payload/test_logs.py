"""The log file: UTF-8, never larger than a few megabytes, and never a reason not to start."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from oneclick import logs


@pytest.fixture(autouse=True)
def root() -> Iterator[logging.Logger]:
    """Put everything back that ``start_logging`` changes for the whole process."""
    root = logging.getLogger()
    before = (list(root.handlers), root.level, logging.raiseExceptions, threading.excepthook)
    yield root
    for handler in set(root.handlers) - set(before[0]):
        handler.close()
    root.handlers, root.level, logging.raiseExceptions, threading.excepthook = before


def test_the_log_is_utf_8_and_tells_time_level_and_module(tmp_path: Path) -> None:
    assert logs.start_logging(tmp_path / "logs")
    logging.getLogger("oneclick.server").info("模型 👋")
    (line,) = (tmp_path / "logs" / "oneclick.log").read_text(encoding="utf-8").splitlines()
    assert line.endswith(" INFO oneclick.server: 模型 👋")
    assert line.startswith("20")


def test_the_log_starts_anew_when_it_is_full_and_old_ones_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_BYTES", 1000)
    logs.start_logging(tmp_path)
    for number in range(200):
        logging.info("%s", f"{number:0100d}")
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["oneclick.log", *(f"oneclick.log.{number + 1}" for number in range(logs.KEPT_FILES))]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_leaves_warnings_for_the_window(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    assert not logs.start_logging(tmp_path / "logs")
    logging.info("quiet")
    logging.warning("loud")
    told = capsys.readouterr().err
    assert "loud" in told
    assert "quiet" not in told


def test_a_thread_that_dies_leaves_its_traceback(tmp_path: Path) -> None:
    logs.start_logging(tmp_path)
    thread = threading.Thread(target=lambda: 1 // 0, name="doomed")
    thread.start()
    thread.join()
    told = (tmp_path / "oneclick.log").read_text(encoding="utf-8")
    assert "uncaught in" in told
    assert "ZeroDivisionError" in told
