"""What only the chat page on this PC may do: hear who was turned away, and let them in.

The token opens it, never the API key: a key is given to other programs and other PCs.
"""

from __future__ import annotations

import asyncio
from typing import Any

from oneclick.server.api_errors import ApiError
from oneclick.server.http import gate
from oneclick.server.http.asgi import JSONResponse, Request, Response
from oneclick.server.runtime import Runtime
from oneclick.server.strangers import ANSWERS


def waiting(runtime: Runtime, request: Request) -> dict[str, Any]:
    """Return what /status has besides, for the page alone: others need not know who uses this PC."""
    return {"strangers": runtime.strangers.waiting()} if gate.is_users_page(request.scope, runtime.token) else {}


async def decide(runtime: Runtime, request: Request, body: Any) -> Response:
    """Follow the user's answer about one that waits; it counts from the next request on."""
    if not gate.is_users_page(request.scope, runtime.token):
        raise ApiError(403, "server.page_token", code="token_required", kind="permission_error")
    kind, name, answer = (body.get(field) for field in ("kind", "name", "answer"))
    if not isinstance(kind, str) or not isinstance(name, str) or answer not in ANSWERS:
        raise ApiError(400, "server.stranger_answer", code="invalid_answer", param="answer")
    strangers = runtime.strangers
    if not strangers.decide(kind, name, answer):
        raise ApiError(409, "server.stranger_gone", code="not_waiting")
    problem: tuple[str, str] | None = None
    if answer == "always":
        problem = await asyncio.get_running_loop().run_in_executor(runtime.helpers, strangers.remember, kind, name)
    return JSONResponse({"message": {"zh": problem[0], "en": problem[1]} if problem else None})
