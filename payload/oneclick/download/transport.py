"""One ranged HTTP request, and what every odd answer to it means."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import re
import socket
import ssl
import sys
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

if TYPE_CHECKING:
    import requests
from oneclick.download.faults import GONE, HICCUP, STALL, Fault, Refused, TooMany

USER_AGENT = "chatglm3-oneclick/1.0"
"""Short on purpose: mirrors have refused long ones (tuna/issues#1781, #2603)."""

READ_BYTES = 256 * 1024

REDIRECTS = (301, 302, 303, 307, 308)
MOST_REDIRECTS = 8

CERTIFICATE_DATE_CODES = (9, 10)
"""OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""


def make_session(*, direct: bool = False, follow: bool = False) -> requests.Session:
    """Return a session that checks certificates as this system does and goes through its proxy, or past it (direct).

    Redirects are left to ``_ask``, unless ``follow`` says that another library sends the requests: requests itself
    reads, and unpacks, the whole body of each one.

    Windows' own certificate store decides (truststore; on Python 3.8 and 3.9 the standard library's default
    context, which loads that store), so that company proxies with a certificate of their own work.
    """
    import requests
    from requests.adapters import HTTPAdapter

    context = _tls_context()

    class SystemTrust(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, ssl_context=context, **kwargs)

        def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
            return super().proxy_manager_for(proxy, ssl_context=context, **kwargs)

    class OneAnswer(requests.Session):
        def get_redirect_target(self, resp: requests.Response) -> str | None:
            return super().get_redirect_target(resp) if follow else None

    session = OneAnswer()
    session.trust_env = not direct
    # identity: a compressed answer has no byte positions. Connections wait in the pool, one for each of ours.
    session.headers.update({"User-Agent": USER_AGENT, "Accept-Encoding": "identity", "Accept": "*/*"})
    session.mount("https://", SystemTrust(pool_maxsize=16))
    session.mount("http://", HTTPAdapter(pool_maxsize=16))
    return session


def _tls_context() -> ssl.SSLContext:
    if sys.version_info >= (3, 10):
        with contextlib.suppress(ImportError):
            import truststore

            return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return ssl.create_default_context()


class Body:
    """The body of a checked answer: bytes of the file from ``start`` on."""

    def __init__(self, response: requests.Response, start: int, length: int | None, total: int | None) -> None:
        self._response = response
        self._lock = threading.Lock()
        self._closed = False
        self.start = start
        self.length = length
        """Bytes that will come; None where the server does not say."""
        self.total = total
        """Size of the whole file where the server says it."""
        self.partial = response.status_code == 206
        self.final_url: str = response.url
        self.etag = response.headers.get("ETag", "")

    def read(self) -> bytes:
        """Return the next bytes as soon as there are any, ``b""`` at the end.

        Raises Fault when the body ends early, the connection breaks or is silent for too long.
        """
        from urllib3.exceptions import HTTPError, ReadTimeoutError

        try:
            # One receive per call: a read of a full chunk would let a trickle of bytes pass for life.
            return self._response.raw.read1(READ_BYTES, decode_content=False) or b""
        except ReadTimeoutError as error:
            raise Fault("stalled", STALL) from error
        except (HTTPError, OSError, ValueError, AttributeError) as error:
            # ValueError and AttributeError: ``abort`` closed the socket under this read.
            raise Fault("cut", HICCUP) from error

    def abort(self) -> None:
        """Wake a thread that waits in ``read``; safe to call from any thread, at any time."""
        with self._lock, contextlib.suppress(OSError, ValueError, AttributeError):
            if not self._closed:
                held = socket.socket(fileno=self._response.raw.fileno())
                try:
                    held.shutdown(socket.SHUT_RDWR)
                finally:
                    held.detach()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._response.close()

    def __enter__(self) -> Body:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_range(
    session: requests.Session,
    url: str,
    start: int,
    stop: int | None,
    *,
    size_bytes: int | None,
    connect_timeout_s: float,
    idle_timeout_s: float,
    html_is_wrong: bool = True,
) -> Body:
    """Ask ``url`` for the bytes from ``start`` to before ``stop`` of a file of ``size_bytes`` and check the answer.

    The body may start at 0 instead (a server without ranges): look at ``Body.start``. Raises Fault.
    """
    headers = {}
    if start or stop != size_bytes or stop is None:
        headers["Range"] = f"bytes={start}-" if stop is None else f"bytes={start}-{stop - 1}"
    response = _ask(session, url, headers, (connect_timeout_s, idle_timeout_s))
    try:
        return _check(response, start, stop, size_bytes, html_is_wrong)
    except Fault:
        response.close()
        raise


def _ask(
    session: requests.Session, url: str, headers: Any, timeout: Any, method: str = "GET", redirects: bool = True
) -> requests.Response:
    """Send one request and follow where it leads; ``history`` of the answer is what came before. Raises Fault.

    The body of a redirect is never read. Nothing leads from https to http, nor from the network into this PC or its
    home network: such an answer would make us somebody's hand there.
    """
    first = url
    history: list[requests.Response] = []
    for _ in range(MOST_REDIRECTS + 1):
        response = _send(session, method, url, headers, timeout)
        target = response.headers.get("Location", "")
        if not redirects or response.status_code not in REDIRECTS or not target:
            response.history = history
            return response
        history.append(response)
        response.close()
        url = urljoin(url, target)
        _require_harmless(first, url)
    raise Fault("redirects", GONE)


def _require_harmless(first: str, target: str) -> None:
    was, now = urlsplit(first), urlsplit(target)
    downgrade = was.scheme == "https" and now.scheme != "https"
    if now.scheme not in ("http", "https") or downgrade or (is_private(now.hostname) and not is_private(was.hostname)):
        raise Fault("bad_redirect", GONE, url=f"{now.scheme}://{now.hostname}")


def is_private(host: str | None) -> bool:
    """Tell whether ``host`` names this PC or its own network by an address or a name that says so."""
    try:
        return not ipaddress.ip_address(host or "").is_global
    except ValueError:
        return not host or "." not in host or host.endswith((".localhost", ".local", ".internal", ".home.arpa"))


def _send(session: requests.Session, method: str, url: str, headers: Any, timeout: Any) -> requests.Response:
    """Send one request; turn requests' exceptions into Fault."""
    import requests
    from requests import exceptions

    try:
        return session.request(method, url, headers=headers, stream=True, timeout=timeout, allow_redirects=False)
    except exceptions.ConnectTimeout as error:
        raise Fault("no_connection", STALL, host=_host(url), wait=timeout[0]) from error
    except exceptions.Timeout as error:
        raise Fault("stalled", STALL) from error
    except exceptions.SSLError as error:
        raise _tls_fault(error) from error
    except exceptions.ProxyError as error:
        raise Fault("proxy", STALL) from error
    except exceptions.ConnectionError as error:
        if "resolve" in str(error) or "getaddrinfo" in str(error):
            raise Fault("no_name", STALL, host=_host(url)) from error
        # A connection that broke while we asked (an idle one that the server had closed) is worth another try.
        broke = "NewConnectionError" not in repr(error)
        raise Fault("refused_connection", HICCUP if broke else STALL, host=_host(url)) from error
    except requests.RequestException as error:
        raise Fault("bad_address", GONE, url=url) from error


def _host(url: str) -> str:
    match = re.match(r"\w+://([^/]+)", url)
    return match.group(1) if match else url


def _tls_fault(error: BaseException) -> Fault:
    """Tell a wrong clock from a certificate that is not trusted."""
    text = str(error)
    cause: BaseException | None = error
    while cause is not None:
        code = getattr(cause, "verify_code", None)
        if code in CERTIFICATE_DATE_CODES:
            return _clock_fault()
        reason = getattr(cause, "reason", None)
        following = cause.__cause__ or cause.__context__
        cause = reason if isinstance(reason, BaseException) else following
    # Windows' own words when truststore asked it: CERT_E_EXPIRED.
    if any(words in text for words in ("not yet valid", "has expired", "validity period", "CERT_E_EXPIRED")):
        return _clock_fault()
    return Fault("tls", STALL)


def _clock_fault() -> Fault:
    return Fault("clock", STALL, today=datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"))


def _check(
    response: requests.Response, start: int, stop: int | None, size_bytes: int | None, html_is_wrong: bool
) -> Body:
    status = response.status_code
    length = _number(response.headers.get("Content-Length"))
    if status in (200, 206) and html_is_wrong and response.headers.get("Content-Type", "").startswith("text/html"):
        raise Fault("html", GONE)
    if status == 206:
        return _check_partial(response, start, stop, size_bytes, length)
    if status == 200:
        _check_size(length, size_bytes)
        return Body(response, 0, length, length)
    if status == 416:
        total = _number(response.headers.get("Content-Range", "").rpartition("/")[2])
        _check_size(total, size_bytes)
        raise Fault("range_refused", STALL)
    if status == 429 or (status == 503 and "Retry-After" in response.headers):
        raise TooMany("too_many", STALL, retry_after_s=_seconds(response.headers.get("Retry-After")), status=status)
    if status == 403:
        # After a redirect it was the link that had expired: ask for a new one.
        raise Refused("status", HICCUP if response.history else STALL, status=status)
    if status in (401, 404, 410, 451):
        raise Refused("status", GONE, status=status)
    if status >= 500 or status == 408:
        raise Fault("status", HICCUP, status=status)
    raise Fault("status", GONE, status=status)


def _check_partial(
    response: requests.Response, start: int, stop: int | None, size_bytes: int | None, length: int | None
) -> Body:
    match = re.match(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", ""))
    if match is None:
        # hf-mirror has left the header out (huggingface/hf-hub#132); the exact length proves the range well enough.
        if length is None or stop is None or length != stop - start:
            raise Fault("no_content_range", STALL)
        return Body(response, start, length, size_bytes)
    first, last, total = int(match[1]), int(match[2]), _number(match[3])
    _check_size(total, size_bytes)
    if first != start or last < first:
        raise Fault("wrong_range", STALL, asked=start, got=first)
    return Body(response, start, last + 1 - first, total)


def _check_size(announced: int | None, size_bytes: int | None) -> None:
    if announced is None or size_bytes is None or announced == size_bytes:
        return
    if announced == 0:
        raise Fault("empty", GONE)
    raise Fault("wrong_size", GONE, got=announced, expected=size_bytes)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _seconds(retry_after: str | None) -> float | None:
    """Return the seconds a ``Retry-After`` header asks for, which is a number or an HTTP date."""
    if retry_after is None:
        return None
    if retry_after.strip().isdigit():
        return float(retry_after)
    from email.utils import parsedate_to_datetime

    with contextlib.suppress(TypeError, ValueError):
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    return None


def head(session: requests.Session, url: str, timeout_s: float) -> requests.Response:
    """Return the answer to a HEAD of ``url`` itself, redirects not followed. Raises Fault."""
    response = _ask(session, url, {}, (timeout_s, timeout_s), method="HEAD", redirects=False)
    response.close()
    return response


def ask_small(session: requests.Session, url: str, timeout_s: float, max_bytes: int) -> bytes:
    """Return a small answer, such as a hub's listing. Raises Fault; also when it has more than ``max_bytes``."""
    response = _ask(session, url, {}, (timeout_s, timeout_s))
    with Body(_accepted(response), 0, None, None) as body:
        data = b""
        while len(data) <= max_bytes:
            more = body.read()
            if not more:
                return data
            data += more
    raise Fault("too_long", GONE)


def _accepted(response: requests.Response) -> requests.Response:
    if response.status_code != 200:
        response.close()
        raise Fault("status", HICCUP, status=response.status_code)
    return response
