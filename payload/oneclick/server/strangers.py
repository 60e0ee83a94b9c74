"""Web pages and programs that were turned away at the door, and what the user says about each.

Nobody is let in by itself: the window names them, the chat page asks, and only the answer of that page counts
(``gate.is_own_page`` with its token). What is allowed "always" is written into ``设置.toml``; everything else is
forgotten with this run.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import deque
from pathlib import Path
from typing import Any, Iterable

from oneclick.errors import OneClickError
from oneclick.messages import both, say
from oneclick.server.api_errors import ApiError
from oneclick.settings import CHECKS, BadValue
from oneclick.settings_file import add_to_list

log = logging.getLogger("oneclick.server")

ORIGIN, HOST = "origin", "host"
SETTING = {ORIGIN: "allowed_origins", HOST: "allowed_hosts"}
CODE = {"origin_not_allowed": ORIGIN, "host_not_allowed": HOST}
ANSWERS = ("once", "always", "no")
MOST_STRANGERS = 20
"""Different ones in one run: a page that comes under many names must not fill window and page."""
LONGEST_NAME = 120
_PLAIN_NAME = re.compile(r"[A-Za-z0-9+.:/_~%\[\]-]+")
"""No ``*``, which the settings take for all of a scheme, and nothing that looks like something else."""


def can_be_asked(kind: str, name: str) -> bool:
    """True where a yes would let in ``name`` and nobody else, and the user can read all of it."""
    if len(name) > LONGEST_NAME or not _PLAIN_NAME.fullmatch(name):
        return False
    try:
        return bool(CHECKS[SETTING[kind]]([name]))
    except BadValue:
        return False


class Strangers:
    """Who may come in besides this PC's own, who waits for an answer, and who got a no; the event loop's thread.

    ``settings_file`` is where "always" is written; None: nowhere.
    """

    def __init__(self, origins: Iterable[str], hosts: Iterable[str], settings_file: Path | None) -> None:
        self.origins: tuple[str, ...] = tuple(origins)
        self.hosts: frozenset[str] = frozenset(name.lower() for name in hosts)
        self.sentences: deque[str] = deque(maxlen=MOST_STRANGERS)
        """About those that were turned away, for the window; taken from the left by any thread."""
        self._known: set[tuple[str, str]] = set()
        self._waiting: list[tuple[str, str]] = []
        self._settings_file = settings_file
        self._writing = threading.Lock()

    def turned_away(self, error: ApiError) -> None:
        """Have window and page tell of it once: a browser hides our answer from its page."""
        kind = CODE.get(error.code or "")
        if kind is None:
            return
        name = str(error.values[kind])
        known = (kind, name.lower())
        if known in self._known or len(self._known) >= MOST_STRANGERS:
            return
        self._known.add(known)
        self.sentences.append(say(error.key, **error.values))
        if can_be_asked(kind, name):
            self._waiting.append((kind, name))

    def waiting(self) -> list[dict[str, str]]:
        """Return whom the page shall ask about, the first first."""
        return [{"kind": kind, "name": name} for kind, name in self._waiting]

    def decide(self, kind: str, name: str, answer: str) -> bool:
        """Follow the user's ``answer`` about one that waits; False where it does not wait (any more)."""
        if (kind, name) not in self._waiting:
            return False
        self._waiting.remove((kind, name))
        if answer == "no":
            return True
        log.info("the user allows %s: %s %s", answer, kind, name)
        if kind == ORIGIN:
            self.origins = (*self.origins, name)
        else:
            self.hosts |= {name.lower()}
        return True

    def remember(self, kind: str, name: str) -> tuple[str, str] | None:
        """Write an allowed one into the settings; return what to tell the user (Chinese, English) where that failed.

        Any thread; waits while another program holds the file.
        """
        key = SETTING[kind]
        try:
            if self._settings_file is None:
                raise OneClickError("settings.unknown_shape")
            with self._writing:
                add_to_list(self._settings_file, key, name)
        except OneClickError as error:
            chinese, english = error.both()
        except OSError as error:
            log.warning("%s is not written: %s", key, error)
            chinese = english = error.strerror or str(error)
        else:
            return None
        values: dict[str, Any] = {"line": f"{key} = ['{name}']", "chinese": chinese, "english": english}
        return both("server.not_remembered", **values)
