"""The server's interface as an OpenAPI 3.1 document, made when asked for."""

from __future__ import annotations

from typing import Any


def document(version: str) -> dict[str, Any]:
    """Return the document."""
    return {"openapi": "3.1.0", "info": {"title": "chatglm3-oneclick", "version": version}, "paths": {}}
