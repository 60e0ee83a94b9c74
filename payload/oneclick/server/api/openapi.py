"""The server's interface as an OpenAPI 3.1 document, made when asked for.

It says what the server really accepts, no less and no more: the tests generate requests from it.
"""

from __future__ import annotations

from typing import Any, Dict, Sequence

from oneclick.server.chat.request import LARGEST_INT, MAX_CHOICES, MAX_MESSAGES, ROLES, TEXT_PARTS
from oneclick.server.chat.tool_request import MAX_TOOLS

Schema = Dict[str, Any]

_ANY: Schema = {}
_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_FIGURE: Schema = {"type": ["number", "null"]}


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
            "/v1/models": {"get": _operation("listModels", "The models", _ref("ModelList"))},
            "/v1/models/{model}": {
                "get": {
                    **_operation("retrieveModel", "One model; 404 for a name nobody gave it", _ref("Model")),
                    "parameters": [
                        {"name": "model", "in": "path", "required": True, "schema": {**_TEXT, "minLength": 1}}
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
            "/v1/health": {"get": _operation("health", "200 when the model answers, else 503", _ref("Health"))},
            "/status": {"get": _operation("status", "Everything the page shows", _ref("Status"))},
            "/metrics": {"get": _operation("metrics", "Prometheus text", _TEXT, "text/plain")},
            "/oneclick/download": {
                "post": {
                    **_posted(
                        "download", "Start or pause a download (the page only)", "DownloadRequest", "Phase", "202"
                    ),
                    "parameters": [
                        {"name": "X-OneClick-Token", "in": "header", "required": True, "schema": dict(_TEXT)}
                    ],
                }
            },
        },
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "Only where one is set"}},
        },
        "security": [{}, {"key": []}],
    }


def _ollama() -> Schema:
    """The paths of Ollama's interface."""
    posted = {
        "/api/chat": _posted("ollamaChat", "Answer a chat", "OllamaChat", "OllamaAnswer"),
        "/api/generate": _posted("ollamaGenerate", "Answer a prompt", "OllamaGenerate", "OllamaAnswer"),
        "/api/show": _posted("ollamaShow", "About the model", "OllamaShow", "OllamaDetails"),
    }
    asked = {
        "/api/version": _operation("ollamaVersion", "Whose interface this is", _ref("OllamaVersion")),
        "/api/tags": _operation("ollamaTags", "The models", _ref("OllamaModels")),
        "/api/ps": _operation("ollamaRunning", "The models in memory", _ref("OllamaModels")),
    }
    for operation in (*posted.values(), *asked.values()):
        operation["responses"]["default"]["content"]["application/json"]["schema"] = _ref("OllamaError")
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
            "default": {"description": "An error", "content": {"application/json": {"schema": _ref("Error")}}},
        },
    }


def _posted(name: str, summary: str, request: str, answer: str, ok: str = "200", stream: bool = False) -> Schema:
    operation = _operation(name, summary, _ref(answer), ok=ok)
    operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(request)}}}
    if stream:
        operation["responses"][ok]["content"]["text/event-stream"] = {}
    return operation


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Schema, required: Sequence[str] = ()) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required)}


def _always(properties: Schema) -> Schema:
    """An object of an answer: every property is there."""
    return _object(properties, list(properties))


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _range(kind: str, low: float, high: float) -> Schema:
    return {"type": [kind, "null"], "minimum": low, "maximum": high}


def _schemas() -> Schema:
    return {**_request_schemas(), **_answer_schemas()}


def _sampling() -> Schema:
    """What chat and plain completions share."""
    tokens = {"type": ["integer", "null"], "minimum": -2}
    return {
        "model": {"type": ["string", "null"], "description": "Any; the answer repeats it"},
        "stream": {"type": ["boolean", "null"]},
        "stream_options": _or_null(_object({"include_usage": {"type": ["boolean", "null"]}})),
        "max_tokens": {**tokens, "description": "Tokens of the answer; 0, -1 and null: as many as the server allows"},
        "max_completion_tokens": {**tokens, "description": "The same; goes first"},
        "temperature": {**_range("number", 0, 2), "description": "Default 0.95; 0 always takes the likeliest token"},
        "top_p": {**_range("number", 0, 1), "description": "Default 0.7"},
        "top_k": {**_range("integer", 0, LARGEST_INT), "description": "0: all tokens"},
        "repetition_penalty": {**_range("number", 0.01, 10), "description": "Default 1"},
        "presence_penalty": {**_range("number", -2, 2), "description": "Ignored"},
        "frequency_penalty": {**_range("number", -2, 2), "description": "Ignored"},
        "do_sample": {"type": ["boolean", "null"], "description": "false is temperature 0"},
        "cache_prompt": {"type": ["boolean", "null"], "description": "false: evaluate the whole prompt again"},
        "seed": {"description": "Ignored: the engine has none"},
        "n": {**_range("integer", 1, MAX_CHOICES), "description": "Answers, computed one after the other"},
        "stop": {
            "anyOf": [
                {"type": ["string", "null"]},
                {"type": "array", "items": {"type": ["string", "null"]}},
            ]
        },
    }


def _function() -> Schema:
    return _object(
        {
            "name": {"type": "string", "pattern": r"\S"},
            "description": {"description": "Text"},
            "parameters": {"description": "A JSON schema"},
            "params": {"description": "A list of parameters, as in ChatGLM3's demos"},
        },
        ["name"],
    )


def _tools() -> Schema:
    """A list of tools; ChatGLM3's demos also send bare functions, or one of them."""
    bare = {
        **_function(),
        "properties": {**_function()["properties"], "type": {"enum": ["function", None]}},
        "not": {"required": ["function"]},
    }
    tool = {"anyOf": [_object({"function": _function()}, ["function"]), bare, {"type": "null"}]}
    return {"anyOf": [{"type": ["array", "null"], "maxItems": MAX_TOOLS, "items": tool}, bare]}


def _request_schemas() -> Schema:
    choice = {"enum": [None, "auto", "none"], "description": '"none" keeps the tools from the model'}
    text = {"type": ["string", "null"]}
    kinds = {"enum": [one for one in TEXT_PARTS if one != "refusal"]}
    part = {
        "anyOf": [
            {**_object({"type": kinds, "text": text}, ["type", "text"]), "not": {"required": ["image_url"]}},
            {
                **_object({"type": {"enum": ["refusal"]}, "refusal": text}, ["type", "refusal"]),
                "not": {"required": ["image_url"]},
            },
        ]
    }
    call = _object({"name": _TEXT, "arguments": _ANY}, ["name"])
    message = _object(
        {
            "role": {"type": "string", "enum": list(ROLES)},
            "content": {
                "anyOf": [
                    {"type": ["string", "null"]},
                    _ref("Part"),
                    {"type": "array", "items": {"anyOf": [_TEXT, _ref("Part")]}},
                ]
            },
            "tool_calls": {"type": ["array", "null"], "items": _object({"function": call}, ["function"])},
            "function_call": _or_null(call),
        },
        ["role"],
    )
    messages = {"type": "array", "minItems": 1, "maxItems": MAX_MESSAGES, "items": _ref("Message")}
    chat = {
        **_sampling(),
        "messages": messages,
        "tools": _tools(),
        "functions": {"type": ["array", "null"], "maxItems": MAX_TOOLS, "items": _or_null(_function())},
        "tool_choice": choice,
        "function_call": choice,
        "continue_final_message": {
            "type": ["boolean", "null"],
            "description": "Go on with the last message, the assistant's; null: where there is one",
        },
        "add_generation_prompt": {"type": ["boolean", "null"], "description": "true: never go on"},
        "response_format": _or_null(_object({"type": {"enum": ["text", None]}})),
    }
    plain = {
        **_sampling(),
        "prompt": {
            "anyOf": [{"type": ["string", "null"]}, {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": 1}]
        },
        "echo": {"type": ["boolean", "null"]},
        "suffix": {"enum": [None, ""]},
        "logprobs": {"enum": [None, 0, False]},
        "best_of": {"type": ["integer", "null"], "enum": [1, None]},
    }
    return {
        "Part": part,
        "Message": message,
        "ChatRequest": _object(chat, ["messages"]),
        "CompletionRequest": _object(plain),
        "TokenizeRequest": {
            "anyOf": [_object({"messages": messages}, ["messages"]), _object({"content": _TEXT}, ["content"])]
        },
        "DetokenizeRequest": _object({"tokens": {"type": "array", "items": {"type": "integer"}}}, ["tokens"]),
        "ResponsesRequest": _object(
            {
                "input": {"anyOf": [_TEXT, {"type": "array", "minItems": 1, "items": _ref("Message")}]},
                "instructions": {"type": ["string", "null"]},
                "max_output_tokens": _sampling()["max_tokens"],
                "tools": _or_null({"type": "array", "maxItems": 0}),
                **{name: _sampling()[name] for name in ("model", "stream", "temperature", "top_p")},
            },
            ["input"],
        ),
        # Without messages or prompt they ask to load the model.
        "OllamaChat": _object({**_ollama_request(), "messages": _or_null({**messages, "minItems": 0})}),
        "OllamaGenerate": _object({**_ollama_request(), "prompt": {"type": ["string", "null"]}}),
        "OllamaShow": _object({"model": _TEXT}, ["model"]),
        "DownloadRequest": _object({"action": {"enum": ["start", "pause"]}, "model": _TEXT}, ["action"]),
    }


def _ollama_request() -> Schema:
    sampling = _sampling()
    options = {"num_predict": sampling["max_tokens"], **{name: sampling[name] for name in ("temperature", "top_p")}}
    return {"model": sampling["model"], "stream": sampling["stream"], "options": _or_null(_object(options))}


def _answer_schemas() -> Schema:
    usage = _always({"prompt_tokens": _COUNT, "completion_tokens": _COUNT, "total_tokens": _COUNT})
    reason = {"enum": ["stop", "length", "tool_calls", "function_call"]}
    message = _object({"role": _TEXT, "content": {"type": ["string", "null"]}}, ["role", "content"])
    model = _always(
        {
            "id": _TEXT,
            "object": {"const": "model"},
            "created": _COUNT,
            "owned_by": _TEXT,
            "name": _TEXT,
            "context_length": _COUNT,
        }
    )

    def completion(kind: str, choice: Schema) -> Schema:
        choice = _always({"index": _COUNT, **choice, "finish_reason": reason, "logprobs": {"type": "null"}})
        return _always(
            {
                "id": _TEXT,
                "object": {"const": kind},
                "created": _COUNT,
                "model": _TEXT,
                "choices": {"type": "array", "items": choice, "minItems": 1, "maxItems": MAX_CHOICES},
                "usage": usage,
                "timings": _ref("Timings"),
            }
        )

    names = ("queue_ms", "prompt_ms", "prompt_per_second", "predicted_ms", "predicted_per_second")
    return {
        "Error": _always(
            {
                "error": _always(
                    {
                        "message": _TEXT,
                        "type": _TEXT,
                        "param": {"type": ["string", "null"]},
                        "code": {"type": ["string", "integer", "null"]},
                    }
                )
            }
        ),
        "Model": model,
        "ModelList": _always({"object": {"const": "list"}, "data": {"type": "array", "items": _ref("Model")}}),
        "ChatCompletion": completion("chat.completion", {"message": message}),
        "Completion": completion("text_completion", {"text": _TEXT}),
        "Timings": _always(
            {**dict.fromkeys(names, _FIGURE), "cache_n": _COUNT, "prompt_n": _COUNT, "predicted_n": _COUNT}
        ),
        "Tokens": _always({"tokens": {"type": "array", "items": _COUNT}, "count": _COUNT, "context": _COUNT}),
        "Text": _always({"content": _TEXT, "prompt": _TEXT}),
        "Response": _always(
            {
                "id": _TEXT,
                "object": {"const": "response"},
                "created_at": _COUNT,
                "status": {"enum": ["completed", "incomplete"]},
                "model": _TEXT,
                "output": {"type": "array", "items": _object({"type": {"enum": ["message", "function_call"]}})},
                "usage": _object({"input_tokens": _COUNT, "output_tokens": _COUNT, "total_tokens": _COUNT}),
            }
        ),
        "OllamaAnswer": _always({"model": _TEXT, "created_at": _TEXT, "done": {"const": True}, "done_reason": _TEXT}),
        "OllamaVersion": _always({"version": _TEXT}),
        "OllamaModels": _always({"models": {"type": "array", "items": {"type": "object"}}}),
        "OllamaDetails": _always({"details": {"type": "object"}, "capabilities": {"type": "array", "items": _TEXT}}),
        "OllamaError": _always({"error": _TEXT}),
        "Phase": _always({"phase": _TEXT}),
        "Health": _always(
            {"status": {"enum": ["ok", "loading", "no_model", "failed"]}, "phase": _TEXT, "progress": _FIGURE}
        ),
        "Status": _always({"phase": _TEXT, "progress": _FIGURE, "details": {"type": "object"}, "port": _COUNT}),
    }
