"""The chat page's files: a table made once from our own folder; no path of a request is ever opened."""

from __future__ import annotations

import hashlib
from pathlib import Path

WEB_FOLDER = Path(__file__).resolve().parents[2] / "web"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
}
"""Files of other types are not served."""
TOKEN_META = '<meta name="oneclick-token" content="">'
"""Stands in index.html; the server fills in the run's token."""
SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}


def table(folder: Path = WEB_FOLDER) -> dict[str, Path]:
    """Return URL path -> file for every file of a known type below ``folder``; ``/`` is index.html."""
    files = {
        "/" + path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.suffix in TYPES and path.is_file()
    }
    index = files.pop("/index.html", None)
    if index is not None:
        files["/"] = index
    return files


def read(path: Path, token: str | None) -> tuple[bytes, str, str]:
    """Return (content, media type, ETag) of a file of the table, with ``token`` in its meta tag."""
    content = path.read_bytes()
    if token is not None and path.name == "index.html":
        filled = TOKEN_META.replace('content=""', f'content="{token}"')
        content = content.replace(TOKEN_META.encode(), filled.encode())
    return content, TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"'
