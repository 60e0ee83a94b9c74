"""Errors of the API in OpenAI's format, each said in Chinese and English."""

from __future__ import annotations

import math
from typing import Any, Mapping

from oneclick.messages import both

RETRY_AFTER_S = 2
"""What a client is told to wait when the server is loading."""
LONGEST_RETRY_AFTER_S = 60
"""OpenAI's libraries obey a Retry-After up to a minute and take their own half second for longer ones."""


class ApiError(Exception):
    """An answer that is an error; ``key`` names the sentence in messages/server.py.

    Only states that pass by themselves are 5xx without ``retry=False``: clients repeat those (Chatbox five times).
    """

    def __init__(
        self,
        status: int,
        key: str,
        *,
        code: str | None = None,
        param: str | None = None,
        kind: str = "invalid_request_error",
        retry: bool = False,
        headers: Mapping[str, str] | None = None,
        **values: Any,
    ) -> None:
        super().__init__(key)
        self.status = status
        self.key = key
        self.code = code
        self.param = param
        self.kind = kind
        self.values = values
        self.headers: dict[str, str] = dict(headers or {})
        if status >= 500:
            # Read by OpenAI's own libraries.
            self.headers["x-should-retry"] = "true" if retry else "false"
        if retry:
            self.headers["retry-after"] = str(RETRY_AFTER_S)

    def retry_after(self, seconds: float) -> None:
        """Tell the client to wait so long, within the bounds of what clients obey."""
        self.headers["retry-after"] = str(max(1, min(LONGEST_RETRY_AFTER_S, math.ceil(seconds))))

    def __str__(self) -> str:
        return both(self.key, **self.values)[1]

    def body(self) -> dict[str, Any]:
        """Return the JSON body: OpenAI's Error object. Its message has a Chinese line and then English."""
        chinese, english = both(self.key, **self.values)
        chinese = " ".join(chinese.split("\n"))
        return {
            "error": {
                "message": f"{chinese}\n{english}",
                "type": self.kind,
                "param": self.param,
                "code": self.code,
            }
        }

    def ollama_body(self) -> dict[str, Any]:
        """Return the JSON body as Ollama's clients read it: the words alone."""
        return {"error": self.body()["error"]["message"]}


def unavailable(key: str, code: str, **values: Any) -> ApiError:
    """Return a 503 that passes by itself."""
    return ApiError(503, key, code=code, kind="unavailable_error", retry=True, **values)


def broken(key: str, code: str, **values: Any) -> ApiError:
    """Return a 500 that repeating would not change."""
    return ApiError(500, key, code=code, kind="server_error", **values)


def invalid(key: str, param: str | None = None, code: str | None = None, **values: Any) -> ApiError:
    """Return a 400."""
    return ApiError(400, key, code=code, param=param, **values)


def too_large(limit_bytes: int) -> ApiError:
    """Return the 413 for a body of more than ``limit_bytes``."""
    return ApiError(413, "server.body", code="request_too_large", limit_mib=limit_bytes >> 20)
