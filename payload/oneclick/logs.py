"""Log files in ``logs/``: UTF-8, rotating, without anything a user or the model wrote, and without secrets."""

from __future__ import annotations

import logging
import logging.handlers
import sys
import threading
from pathlib import Path

from oneclick.masking import without_secrets

MAX_BYTES = 1 << 20
KEPT_FILES = 3
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _Formatter(logging.Formatter):
    """Tracebacks and errors of libraries name addresses as they were asked for."""

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


def start_logging(folder: Path) -> bool:
    """Log everything of this process to ``oneclick.log`` in ``folder``; return False where it cannot be written.

    A read-only folder must not stop the program: then only warnings go anywhere, to the window.
    """
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    logging.raiseExceptions = False
    try:
        folder.mkdir(exist_ok=True)
        handler: logging.Handler = logging.handlers.RotatingFileHandler(
            str(folder / "oneclick.log"), maxBytes=MAX_BYTES, backupCount=KEPT_FILES, encoding="utf-8"
        )
    except OSError:
        handler = logging.StreamHandler(sys.stderr)
        handler.setLevel(logging.WARNING)
    handler.setFormatter(_Formatter(FORMAT))
    root.addHandler(handler)
    _log_what_nobody_caught()
    return isinstance(handler, logging.FileHandler)


def _log_what_nobody_caught() -> None:
    """Keep the traceback of a thread that died; the main thread's is logged where it is told to the user."""

    def in_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            caught = (args.exc_type, args.exc_value, args.exc_traceback)
            logging.getLogger("oneclick").error("uncaught in %s", args.thread, exc_info=caught)

    threading.excepthook = in_thread
