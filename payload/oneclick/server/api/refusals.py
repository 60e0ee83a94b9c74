"""Addresses of other interfaces that are not offered: each told in words, with what to use instead."""

from __future__ import annotations

from oneclick.server.api_errors import ApiError

_CHAT = "/v1/chat/completions"
_NOT_DONE = {
    **dict.fromkeys(("/v1/embeddings", "/v1/rerank", "/api/embed", "/api/embeddings"), "server.no_embeddings"),
    "/v1/images": "server.no_images",
    **dict.fromkeys(("/v1/audio", "/v1/realtime"), "server.no_audio"),
    "/v1/conversations": "server.stateless",
    **dict.fromkeys(("/v1/messages", "/v1/complete"), "server.no_messages"),
    **dict.fromkeys(
        [f"/api/{name}" for name in ("pull", "push", "create", "copy", "delete", "blobs")], "server.no_model_changes"
    ),
    **dict.fromkeys(
        [
            f"/v1/{name}"
            for name in (
                *("moderations", "files", "uploads", "batches", "fine_tuning", "fine-tunes", "vector_stores"),
                *("assistants", "threads", "videos", "evals", "edits"),
            )
        ],
        "server.only_chat",
    ),
}
"""The first two parts of a path -> what to say."""


def refusal(path: str) -> ApiError | None:
    """Return the error for ``path``, None where nobody knows the address."""
    key = _NOT_DONE.get("/".join(path.split("/", 3)[:3]))
    if path.startswith("/v1/responses/"):
        key = "server.stateless"
    return ApiError(404, key, code="not_supported", path=path[:100], use=_CHAT) if key else None


API_PATHS = tuple(path[len("/v1/") :] for path in _NOT_DONE if path.startswith("/v1/"))
"""What these addresses are called below /v1."""
