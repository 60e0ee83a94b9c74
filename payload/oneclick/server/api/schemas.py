"""What requests and answers look like, as JSON schemas."""

from __future__ import annotations

from typing import Any, Dict, Sequence

from oneclick.server.chat.request import MAX_MESSAGES, ROLES, TEXT_PARTS
from oneclick.server.chat.sampling_request import LARGEST_INT, LARGEST_SEED, MAX_CHOICES, MOST_LIKELIEST
from oneclick.server.chat.tool_request import MAX_TOOLS

Schema = Dict[str, Any]

ANY: Schema = {}
TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
_FIGURE: Schema = {"type": ["number", "null"]}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def object_of(properties: Schema, required: Sequence[str] = ()) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required)}


def _always(properties: Schema) -> Schema:
    """An object of an answer: every property is there."""
    return object_of(properties, list(properties))


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _range(kind: str, low: float, high: float) -> Schema:
    return {"type": [kind, "null"], "minimum": low, "maximum": high}


def all_schemas() -> Schema:
    return {**_request_schemas(), **_answer_schemas()}


def _sampling() -> Schema:
    """What chat and plain completions share."""
    tokens = {"type": ["integer", "null"], "minimum": -2}
    return {
        "model": {"type": ["string", "null"], "description": "Any; the answer repeats it"},
        "stream": {"type": ["boolean", "null"]},
        "stream_options": _or_null(object_of({"include_usage": {"type": ["boolean", "null"]}})),
        "max_tokens": {**tokens, "description": "Tokens of the answer; 0, -1 and null: as many as the server allows"},
        "max_completion_tokens": {**tokens, "description": "The same; goes first"},
        "temperature": {**_range("number", 0, 2), "description": "Default 0.95; 0 always takes the likeliest token"},
        "top_p": {**_range("number", 0, 1), "description": "Default 0.7"},
        "top_k": {**_range("integer", 0, LARGEST_INT), "description": "0: all tokens"},
        "min_p": {**_range("number", 0, 1), "description": "Leave out what is less likely than this share of the best"},
        "repetition_penalty": {**_range("number", 0, 10), "description": "Default 1; counts prompt and answer"},
        "repeat_penalty": {**_range("number", 0, 10), "description": "llama.cpp's name for it"},
        "presence_penalty": {**_range("number", -2, 2), "description": "Counts the answer alone"},
        "frequency_penalty": {**_range("number", -2, 2), "description": "Counts the answer alone"},
        "logit_bias": {"type": ["object", "null"], "maxProperties": 0, "description": "Token id -> -100 to 100"},
        "do_sample": {"type": ["boolean", "null"], "description": "false is temperature 0"},
        "cache_prompt": {"type": ["boolean", "null"], "description": "false: evaluate the whole prompt again"},
        "seed": {**_range("integer", -LARGEST_SEED, LARGEST_SEED), "description": "-1: any"},
        "n": {**_range("integer", 1, MAX_CHOICES), "description": "Answers, computed one after the other"},
        "stop": {
            "anyOf": [
                {"type": ["string", "null"]},
                {"type": "array", "items": {"type": ["string", "null"]}},
            ]
        },
    }


def _function() -> Schema:
    return object_of(
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
    tool = {"anyOf": [object_of({"function": _function()}, ["function"]), bare, {"type": "null"}]}
    return {"anyOf": [{"type": ["array", "null"], "maxItems": MAX_TOOLS, "items": tool}, bare]}


def _part() -> Schema:
    text = {"type": ["string", "null"]}
    kinds = {"enum": [one for one in TEXT_PARTS if one != "refusal"]}
    return {
        "anyOf": [
            {**object_of({"type": kinds, "text": text}, ["type", "text"]), "not": {"required": ["image_url"]}},
            {
                **object_of({"type": {"enum": ["refusal"]}, "refusal": text}, ["type", "refusal"]),
                "not": {"required": ["image_url"]},
            },
        ]
    }


def _message() -> Schema:
    call = object_of({"name": TEXT, "arguments": ANY}, ["name"])
    return object_of(
        {
            "role": {"type": "string", "enum": list(ROLES)},
            "content": {
                "anyOf": [
                    {"type": ["string", "null"]},
                    ref("Part"),
                    {"type": "array", "items": {"anyOf": [TEXT, ref("Part")]}},
                ]
            },
            "tool_calls": {"type": ["array", "null"], "items": object_of({"function": call}, ["function"])},
            "function_call": _or_null(call),
        },
        ["role"],
    )


def _request_schemas() -> Schema:
    choice = {"enum": [None, "auto", "none"], "description": '"none" keeps the tools from the model'}
    messages = {"type": "array", "minItems": 1, "maxItems": MAX_MESSAGES, "items": ref("Message")}
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
        "logprobs": {"type": ["boolean", "null"]},
        "top_logprobs": {**_range("integer", 0, MOST_LIKELIEST), "description": "Needs logprobs: true"},
        "response_format": _or_null(object_of({"type": {"enum": ["text", None]}})),
    }
    plain = {
        **_sampling(),
        "prompt": {
            "anyOf": [{"type": ["string", "null"]}, {"type": "array", "items": TEXT, "minItems": 1, "maxItems": 1}]
        },
        "echo": {"type": ["boolean", "null"]},
        "suffix": {"enum": [None, ""]},
        "logprobs": _range("integer", 0, MOST_LIKELIEST),
        "best_of": {"type": ["integer", "null"], "enum": [1, None]},
    }
    return {
        "Part": _part(),
        "Message": _message(),
        "ChatRequest": object_of(chat, ["messages"]),
        "CompletionRequest": object_of(plain),
        "TokenizeRequest": {
            "anyOf": [object_of({"messages": messages}, ["messages"]), object_of({"content": TEXT}, ["content"])]
        },
        "DetokenizeRequest": object_of({"tokens": {"type": "array", "items": {"type": "integer"}}}, ["tokens"]),
        "ResponsesRequest": object_of(
            {
                "input": {"anyOf": [TEXT, {"type": "array", "minItems": 1, "items": ref("Message")}]},
                "instructions": {"type": ["string", "null"]},
                "max_output_tokens": _sampling()["max_tokens"],
                "tools": _or_null({"type": "array", "maxItems": 0}),
                **{name: _sampling()[name] for name in ("model", "stream", "temperature", "top_p")},
            },
            ["input"],
        ),
        # Without messages or prompt they ask to load the model.
        "OllamaChat": object_of({**_ollama_request(), "messages": _or_null({**messages, "minItems": 0})}),
        "OllamaGenerate": object_of({**_ollama_request(), "prompt": {"type": ["string", "null"]}}),
        "OllamaShow": object_of({"model": TEXT}, ["model"]),
        "DownloadRequest": object_of({"action": {"enum": ["start", "pause"]}, "model": TEXT}, ["action"]),
    }


def _ollama_request() -> Schema:
    sampling = _sampling()
    options = {"num_predict": sampling["max_tokens"], **{name: sampling[name] for name in ("temperature", "top_p")}}
    return {"model": sampling["model"], "stream": sampling["stream"], "options": _or_null(object_of(options))}


def _completion(kind: str, choice: Schema) -> Schema:
    usage = _always({"prompt_tokens": COUNT, "completion_tokens": COUNT, "total_tokens": COUNT})
    reason = {"enum": ["stop", "length", "tool_calls", "function_call"]}
    choice = _always({"index": COUNT, **choice, "finish_reason": reason, "logprobs": {"type": ["object", "null"]}})
    return _always(
        {
            "id": TEXT,
            "object": {"const": kind},
            "created": COUNT,
            "model": TEXT,
            "choices": {"type": "array", "items": choice, "minItems": 1, "maxItems": MAX_CHOICES},
            "usage": usage,
            "timings": ref("Timings"),
        }
    )


def _ollama_answers() -> Schema:
    return {
        "OllamaAnswer": _always({"model": TEXT, "created_at": TEXT, "done": {"const": True}, "done_reason": TEXT}),
        "OllamaVersion": _always({"version": TEXT}),
        "OllamaModels": _always({"models": {"type": "array", "items": {"type": "object"}}}),
        "OllamaDetails": _always({"details": {"type": "object"}, "capabilities": {"type": "array", "items": TEXT}}),
        "OllamaError": _always({"error": TEXT}),
    }


def _answer_schemas() -> Schema:
    message = object_of({"role": TEXT, "content": {"type": ["string", "null"]}}, ["role", "content"])
    model = _always(
        {
            "id": TEXT,
            "object": {"const": "model"},
            "created": COUNT,
            "owned_by": TEXT,
            "name": TEXT,
            "context_length": COUNT,
        }
    )

    names = ("queue_ms", "prompt_ms", "prompt_per_second", "predicted_ms", "predicted_per_second")
    return {
        "Error": _always(
            {
                "error": _always(
                    {
                        "message": TEXT,
                        "type": TEXT,
                        "param": {"type": ["string", "null"]},
                        "code": {"type": ["string", "integer", "null"]},
                    }
                )
            }
        ),
        "Model": model,
        "ModelList": _always({"object": {"const": "list"}, "data": {"type": "array", "items": ref("Model")}}),
        "ChatCompletion": _completion("chat.completion", {"message": message}),
        "Completion": _completion("text_completion", {"text": TEXT}),
        "Timings": _always(
            {**dict.fromkeys(names, _FIGURE), "cache_n": COUNT, "prompt_n": COUNT, "predicted_n": COUNT}
        ),
        "Tokens": _always({"tokens": {"type": "array", "items": COUNT}, "count": COUNT, "context": COUNT}),
        "Text": _always({"content": TEXT, "prompt": TEXT}),
        "Response": _always(
            {
                "id": TEXT,
                "object": {"const": "response"},
                "created_at": COUNT,
                "status": {"enum": ["completed", "incomplete"]},
                "model": TEXT,
                "output": {"type": "array", "items": object_of({"type": {"enum": ["message", "function_call"]}})},
                "usage": object_of({"input_tokens": COUNT, "output_tokens": COUNT, "total_tokens": COUNT}),
            }
        ),
        **_ollama_answers(),
        "Phase": _always({"phase": TEXT}),
        "Health": _always(
            {"status": {"enum": ["ok", "loading", "no_model", "failed"]}, "phase": TEXT, "progress": _FIGURE}
        ),
        "Status": _always({"phase": TEXT, "progress": _FIGURE, "details": {"type": "object"}, "port": COUNT}),
    }
