"""GET /v1/models and /v1/models/{id}: one model, the names it answers to, and which of them to take.

A chat may name any model, as clients send whatever was chosen for another service; only here is an unknown name told
from a known one.
"""

from __future__ import annotations

import re
from typing import Any

from oneclick.server.api_errors import ApiError
from oneclick.server.http.asgi import JSONResponse, Request, Response
from oneclick.server.runtime import Runtime

OLD_NAME = "gpt-3.5-turbo"
"""In the list for clients that offer only names they know; what upstream's server called itself."""
_STANDS_FOR_OURS = re.compile(r"(?:chat)?glm[\w.:-]*|gpt[\w.:-]*|chatgpt[\w.:-]*|o\d[\w.:-]*|default(?:-model)?", re.I)
"""Names that programs have built in for OpenAI's models and ChatGLM's, besides ours."""


def names(runtime: Runtime) -> list[str]:
    """Return the ids of the list; the first is the one to take."""
    return list(dict.fromkeys((runtime.config.model_name, OLD_NAME)))


def is_known(runtime: Runtime, name: str) -> bool:
    """Tell whether ``name`` means our model."""
    name = name.rsplit("/", 1)[-1]
    name = name[: -len(":latest")] if name.endswith(":latest") else name
    return name in names(runtime) or _STANDS_FOR_OURS.fullmatch(name) is not None


def model_object(runtime: Runtime, name: str) -> dict[str, Any]:
    """Return what OpenAI and others tell about a model."""
    limits, own = runtime.limits, runtime.config.model_name
    shown = runtime.display_name
    return {
        "id": name,
        "object": "model",
        "created": runtime.model_created,
        "owned_by": "oneclick",
        "permission": [],
        "root": own,
        # What Chatbox and others read about a model. Two entries of one name would leave the user guessing.
        "name": shown if name == own else f"{name} → {shown}",
        "context_length": limits.context,
        "max_model_len": limits.context,
        "max_completion_tokens": limits.default_answer,
        "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
    }


def list_models(runtime: Runtime, request: Request) -> Response:
    """Answer GET /v1/models."""
    return JSONResponse({"object": "list", "data": [model_object(runtime, name) for name in names(runtime)]})


def one_model(runtime: Runtime, request: Request) -> Response:
    """Answer GET /v1/models/{id}; 404 for a name that nobody ever gave this model."""
    name = request.scope["rest"]
    if not is_known(runtime, name):
        own = runtime.config.model_name
        raise ApiError(404, "server.model_unknown", code="model_not_found", param="model", name=name[:100], own=own)
    return JSONResponse(model_object(runtime, name))
