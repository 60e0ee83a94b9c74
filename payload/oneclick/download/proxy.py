"""Through the system's proxy or past it: a proxy that leads abroad makes hosts in mainland China slow or dead."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Sequence
from urllib.parse import urlsplit

from oneclick.download.files import Source
from oneclick.download.transport import make_session
from oneclick.messages import say

if TYPE_CHECKING:
    import requests

IN_CHINA = (".cn", "hf-mirror.com", ".npmmirror.com", ".huaweicloud.com")
"""How the names of hosts end that are quickest without a proxy."""


class Lines:
    """The sessions of one download: one as the system wants it, and one past the proxy once it is asked for.

    A session that was given stays open; close() ends what was made here.
    """

    def __init__(self, session: requests.Session | None = None) -> None:
        self._ours: list[requests.Session] = []
        self._lock = threading.Lock()
        self._system = session or self._make(direct=False)
        self._direct: requests.Session | None = None

    def _make(self, *, direct: bool) -> requests.Session:
        session = make_session(direct=direct)
        self._ours.append(session)
        return session

    def of(self, source: Source) -> requests.Session:
        """Return the session over which ``source`` is asked."""
        if not source.direct:
            return self._system
        with self._lock:
            if self._direct is None:
                self._direct = self._make(direct=True)
            return self._direct

    def close(self) -> None:
        for session in self._ours:
            session.close()


def with_direct_lines(sources: Sequence[Source]) -> list[Source]:
    """Return ``sources``, each one in China that the system would ask through a proxy followed by itself without.

    Both are probed and timed like any two sources, so the faster one is used and a dead proxy costs nothing. Hosts
    elsewhere are asked as the system says: a proxy may be the only way to them, and meant to be.
    """
    lines = []
    for source in sources:
        lines.append(source)
        if isinstance(source.url, str) and not source.direct and _is_in_china(source.url) and _has_proxy(source.url):
            lines.append(replace(source, name=say("download.without_proxy", name=source.name), direct=True))
    return lines


def _is_in_china(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return any(host == end.lstrip(".") or host.endswith("." + end.lstrip(".")) for end in IN_CHINA)


def _has_proxy(url: str) -> bool:
    from requests.utils import get_environ_proxies, select_proxy

    return bool(select_proxy(url, get_environ_proxies(url)))
