"""Who may talk to the server: decided from the request's head, before its body is read.

A web page on the internet can make its visitor's browser send requests to 127.0.0.1, and a name of its own can be made
to point there (DNS rebinding). So the Host header must name this machine, and an Origin header, which browsers
add to what pages send, must be one of a local page or application.
"""

from __future__ import annotations

import hmac
import re
from typing import Any, Iterable, MutableMapping

from oneclick.server.api_errors import ApiError, too_large
from oneclick.server.strangers import HOST, ORIGIN, can_be_asked

Scope = MutableMapping[str, Any]

MAX_BODY_BYTES = 8 << 20
LONGEST_SHOWN = 200
"""Characters of a name that a refusal repeats."""
LOOPBACK_NAMES = frozenset(("127.0.0.1", "localhost", "[::1]"))
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:@/\\\[\]\s]+)(?::([0-9]{1,5}))?")
_LOCAL_ORIGIN = re.compile(
    r"https?://(?:localhost|127\.0\.0\.1|\[::1\]|tauri\.localhost)(?::[0-9]{1,5})?"
    # Pages of applications: Chatbox and other Electron programs, Tauri, editors; Capacitor's and Ionic's on phones.
    r"|file://|(?:app|tauri|vscode-webview)://[A-Za-z0-9._~-]*|(?:capacitor|ionic)://localhost",
    re.IGNORECASE,
)
_HEADER_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,100}")
_EXPOSED = "x-request-id, x-oneclick-dropped-messages, retry-after"


def headers_of(scope: Scope) -> dict[str, list[str]]:
    """Return the request's headers, names in lower case."""
    headers: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return headers


def host_allowed(values: list[str], extra: frozenset[str], http_version: str) -> bool:
    """True for exactly one Host header that names this machine; HTTP/1.0 may leave it out.

    Exact names only: ``localhost.`` with a dot, ``evil.localhost`` and ``127.0.0.1.evil.com`` can belong to others.
    """
    if not values:
        return http_version == "1.0"
    match = _HOST.fullmatch(values[0]) if len(values) == 1 else None
    if match is None or (match.group(2) and int(match.group(2)) > 65535):
        return False
    return match.group(1).lower() in LOOPBACK_NAMES | extra


def origin_allowed(origin: str, extra: Iterable[str]) -> bool:
    """True for the origin of a local page or application, or one the user allowed.

    ``extra`` may hold ``scheme://*``. ``null`` is not allowed: local files share it with sandboxed frames of websites.
    """
    if _LOCAL_ORIGIN.fullmatch(origin) is not None:
        return True
    allowed = {one.lower().rstrip("/") for one in extra}
    return origin.lower() in allowed or f"{origin.lower().partition('://')[0]}://*" in allowed


def own_address(scope: Scope) -> str:
    """Return the address of this PC that the request came to, as a Host header names it; empty on loopback.

    It is a good Host whenever it is one of ours, also a new one from DHCP: no name can be made to look like it.
    """
    host = (scope.get("server") or ("",))[0]
    if not host or host.startswith("127.") or host == "::1":
        return ""
    return f"[{host}]" if ":" in host else str(host)


def cors_headers(origin: str) -> list[tuple[bytes, bytes]]:
    """Return what lets the page at ``origin`` read the answer; never with credentials."""
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", _EXPOSED.encode()),
        (b"vary", b"Origin"),
    ]


def preflight_headers(headers: dict[str, list[str]]) -> list[tuple[bytes, bytes]]:
    """Return the answer to an OPTIONS request of an allowed origin: it may send the headers it asks for."""
    asked = [name.strip().lower() for name in ",".join(headers.get("access-control-request-headers", [])).split(",")]
    granted = [name for name in asked if _HEADER_NAME.fullmatch(name) and name != "cookie"]
    answer = [
        (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
        (b"access-control-allow-headers", ", ".join(granted).encode("latin-1")),
        (b"access-control-max-age", b"600"),
    ]
    if headers.get("access-control-request-private-network") == ["true"]:
        # Chrome 104 to 141 asked for it; later ones ask the user.
        answer.append((b"access-control-allow-private-network", b"true"))
    return answer


def key_given(headers: dict[str, list[str]]) -> str | None:
    """Return the API key a request carries, as ``Authorization: Bearer`` or ``X-Api-Key``."""
    for value in headers.get("authorization", []):
        scheme, _, key = value.partition(" ")
        if scheme.lower() == "bearer":
            return key.strip()
    return next(iter(headers.get("x-api-key", [])), None)


def same_secret(given: str | None, wanted: str) -> bool:
    """Compare in a time that does not tell how much was right; ``given`` is a header's bytes read as Latin-1."""
    return given is not None and hmac.compare_digest(given.encode("latin-1", "replace"), wanted.encode("utf-8"))


def is_own_page(scope: Scope, headers: dict[str, list[str]]) -> bool:
    """True where the chat page on this PC itself may be asking, which alone is given the token and may use it.

    A name that points here, also one the user allowed, may be a website's: its pages must never get so far.
    """
    client, named = scope.get("client"), headers.get("host", [])
    if client is None or client[0] not in ("127.0.0.1", "::1"):
        return False
    match = _HOST.fullmatch(named[0]) if len(named) == 1 else None
    if match is None or match.group(1).lower() not in LOOPBACK_NAMES:
        return False
    return headers.get("origin", [f"http://{named[0].lower()}"]) == [f"http://{named[0].lower()}"]


def is_users_page(scope: Scope, token: str) -> bool:
    """True for our own page with this run's ``token``: what the user alone may do is open to it, to no API key."""
    headers = headers_of(scope)
    return same_secret(next(iter(headers.get("x-oneclick-token", [])), None), token) and is_own_page(scope, headers)


def check_head(scope: Scope, headers: dict[str, list[str]], hosts: frozenset[str], origins: Iterable[str]) -> None:
    """Raise ApiError 403 or 413 for a request that must not reach a handler."""
    named = headers.get("host", [])
    if not host_allowed(named, hosts | {own_address(scope)} - {""}, scope["http_version"]):
        shown = _name_of_host(named)
        key = "server.host" if can_be_asked(HOST, shown) else "server.host_unknown"
        raise ApiError(403, key, code="host_not_allowed", kind="permission_error", host=shown)
    found = headers.get("origin", [])
    own_page = [f"http://{named[0].lower()}"] if named else []  # what a phone opened is our own page
    if len(found) > 1 or (found and found[0].lower() not in own_page and not origin_allowed(found[0], origins)):
        shown = found[0][:LONGEST_SHOWN] if len(found) == 1 else ""
        key = "server.origin" if can_be_asked(ORIGIN, shown) else "server.origin_unknown"
        raise ApiError(403, key, code="origin_not_allowed", kind="permission_error", origin=shown)
    length = headers.get("content-length", ["0"])[0]
    if not length.isdigit() or int(length) > MAX_BODY_BYTES:
        raise too_large(MAX_BODY_BYTES)


def _name_of_host(named: list[str]) -> str:
    """Return the name in a Host header, as it was sent, without the port that may follow it."""
    match = _HOST.fullmatch(named[0]) if len(named) == 1 else None
    return (match.group(1) if match else "".join(named))[:LONGEST_SHOWN]
