"""The server's interface as an OpenAPI 3.1 document, made when asked for.

It says what the server really accepts, no less and no more: the tests generate requests from it.
"""

from __future__ import annotations

from oneclick.server.api.schemas import TEXT, Schema, all_schemas, ref


def document(version: str) -> Schema:
    """Return the document; ``version`` is the bundle's."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ChatGLM3 one-click: local server",
            "version": version or "0",
            "description": "OpenAI-compatible; any API key, any model name. Errors have a Chinese and an English line.",
        },
        "paths": {
            "/v1/models": {"get": _operation("listModels", "The models", ref("ModelList"))},
            "/v1/models/{model}": {
                "get": {
                    **_operation("retrieveModel", "One model; 404 for a name nobody gave it", ref("Model")),
                    "parameters": [
                        {"name": "model", "in": "path", "required": True, "schema": {**TEXT, "minLength": 1}}
                    ],
                }
            },
            "/v1/chat/completions": {
                "post": _posted("createChatCompletion", "Answer a chat", "ChatRequest", "ChatCompletion", stream=True)
            },
            "/v1/completions": {
                "post": _posted("createCompletion", "Continue a text", "CompletionRequest", "Completion", stream=True)
            },
            "/v1/responses": {
                "post": _posted("createResponse", "Answer, statelessly", "ResponsesRequest", "Response", stream=True)
            },
            "/tokenize": {"post": _posted("tokenize", "Count tokens", "TokenizeRequest", "Tokens")},
            "/detokenize": {"post": _posted("detokenize", "Text of tokens", "DetokenizeRequest", "Text")},
            **_ollama(),
            "/v1/health": {"get": _operation("health", "200 when the model answers, else 503", ref("Health"))},
            "/status": {"get": _operation("status", "Everything the page shows", ref("Status"))},
            "/metrics": {"get": _operation("metrics", "Prometheus text", TEXT, "text/plain")},
            "/oneclick/download": {
                "post": {
                    **_posted(
                        "download", "Start or pause a download (the page only)", "DownloadRequest", "Phase", "202"
                    ),
                    "parameters": [
                        {"name": "X-OneClick-Token", "in": "header", "required": True, "schema": dict(TEXT)}
                    ],
                }
            },
            "/oneclick/strangers": {"post": _strangers()},
        },
        "components": {
            "schemas": all_schemas(),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "Only where one is set"}},
        },
        "security": [{}, {"key": []}],
    }


def _strangers() -> Schema:
    """The page's answer about one that was turned away."""
    asked = {"kind": {"enum": ["origin", "host"]}, "name": TEXT, "answer": {"enum": ["once", "always", "no"]}}
    schema = {"type": "object", "properties": asked, "required": list(asked)}
    return {
        **_operation("answerStranger", "Say whether a stranger may come in (the page only)", {"type": "object"}),
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "parameters": [{"name": "X-OneClick-Token", "in": "header", "required": True, "schema": dict(TEXT)}],
    }


def _ollama() -> Schema:
    """The paths of Ollama's interface."""
    posted = {
        "/api/chat": _posted("ollamaChat", "Answer a chat", "OllamaChat", "OllamaAnswer"),
        "/api/generate": _posted("ollamaGenerate", "Answer a prompt", "OllamaGenerate", "OllamaAnswer"),
        "/api/show": _posted("ollamaShow", "About the model", "OllamaShow", "OllamaDetails"),
    }
    asked = {
        "/api/version": _operation("ollamaVersion", "Whose interface this is", ref("OllamaVersion")),
        "/api/tags": _operation("ollamaTags", "The models", ref("OllamaModels")),
        "/api/ps": _operation("ollamaRunning", "The models in memory", ref("OllamaModels")),
    }
    for operation in (*posted.values(), *asked.values()):
        operation["responses"]["default"]["content"]["application/json"]["schema"] = ref("OllamaError")
    for path in ("/api/chat", "/api/generate"):
        posted[path]["responses"]["200"]["content"]["application/x-ndjson"] = {}
    return {
        **{path: {"post": operation} for path, operation in posted.items()},
        **{path: {"get": operation} for path, operation in asked.items()},
    }


def _operation(
    name: str, summary: str, schema: Schema, media_type: str = "application/json", ok: str = "200"
) -> Schema:
    return {
        "operationId": name,
        "summary": summary,
        "responses": {
            ok: {"description": summary, "content": {media_type: {"schema": schema}}},
            "default": {"description": "An error", "content": {"application/json": {"schema": ref("Error")}}},
        },
    }


def _posted(name: str, summary: str, request: str, answer: str, ok: str = "200", stream: bool = False) -> Schema:
    operation = _operation(name, summary, ref(answer), ok=ok)
    operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": ref(request)}}}
    if stream:
        operation["responses"][ok]["content"]["text/event-stream"] = {}
    return operation
