"""Forms that an answer must keep: a JSON schema, a call of a tool, llama.cpp's GBNF, as grammars of llguidance."""

from __future__ import annotations

import json
from typing import Any, Sequence

from oneclick.server.api_errors import invalid
from oneclick.server.chat.body_text import JsonObject

WHITESPACE = r"[ \n]{0,20}"
"""Between the parts of JSON: enough to indent, never an endless blank answer."""
_ANY_OBJECT: JsonObject = {"type": "object"}


def asked_grammar(body: JsonObject) -> str:
    """Return the grammar of ``response_format``, or of llama.cpp's ``json_schema`` or ``grammar``; "" for none.

    Raises ApiError 400, also for what a schema asks and nothing here could promise.
    """
    schema = _schema_of_format(body.get("response_format"))
    param = "response_format"
    if schema is None and body.get("json_schema") is not None:
        schema, param = body["json_schema"], "json_schema"
    if schema is not None:
        return _checked(f'start: " "? value\nvalue: %json {_embedded(schema, param)}\n', param)
    grammar = body.get("grammar")
    if grammar in (None, ""):
        return ""
    if not isinstance(grammar, str):
        raise invalid("server.type", "grammar", name="grammar", wanted="string")
    return _checked(_lark_of_gbnf(grammar), "grammar")


def call_grammar(functions: Sequence[JsonObject]) -> str:
    """Return the grammar of a call of one of ``functions``, as ChatGLM3 writes it; arguments keep their schema."""
    calls = " | ".join(f"call{index}" for index in range(len(functions)))
    rules = [f'start: " "? ({calls})']
    for index, function in enumerate(functions):
        schema = _embedded(_arguments_of(function), "tools")
        rules.append(
            rf'call{index}: {json.dumps(function["name"])} "\n" " "? "```python\ntool_call(" value{index} ")\n```"'
        )
        rules.append(f"value{index}: %json {schema}")
    return _checked("\n".join(rules) + "\n", "tools")


def _arguments_of(function: JsonObject) -> JsonObject:
    """Return the schema of a function's arguments; ChatGLM3's demos only list their names."""
    if "params" in function:
        named = [one for one in function["params"] if isinstance(one, dict) and isinstance(one.get("name"), str)]
        required = [one["name"] for one in named if one.get("required")]
        properties: JsonObject = {one["name"]: {} for one in named}
        return {**_ANY_OBJECT, "properties": properties, "required": required, "additionalProperties": False}
    return {**_ANY_OBJECT, **function.get("parameters", {})}


def _schema_of_format(value: Any) -> Any:
    """Return the schema that ``response_format`` asks for, None for text."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise invalid("server.type", "response_format", name="response_format", wanted="object")
    kind = value.get("type")
    if kind == "json_object":
        return value.get("schema", _ANY_OBJECT)  # llama.cpp takes a schema here
    if kind == "json_schema":
        inside = value.get("json_schema", value)  # the Responses interface has no inner object
        return inside.get("schema", _ANY_OBJECT) if isinstance(inside, dict) else inside
    if kind not in (None, "text"):
        wanted = "text | json_object | json_schema"
        raise invalid("server.type", "response_format", name="response_format.type", wanted=wanted)
    return None


def _embedded(schema: Any, param: str) -> str:
    if schema is True:
        schema = {}
    if not isinstance(schema, dict):
        raise invalid("server.type", param, name=f"{param} (JSON schema)", wanted="object")
    return json.dumps({**schema, "x-guidance": {"whitespace_pattern": WHITESPACE}})


def _lark_of_gbnf(grammar: str) -> str:
    try:
        from llguidance.gbnf_to_lark import GbnfToLarkError, gbnf_to_lark
    except ImportError as error:
        raise invalid("server.no_grammar", "grammar", code="unsupported_parameter") from error
    try:
        lark: str = gbnf_to_lark(grammar)
    except (GbnfToLarkError, ValueError, RecursionError) as error:
        raise invalid("server.form", "grammar", code="unsupported_parameter", reason=str(error)[:300]) from error
    return lark


def _checked(lark: str, param: str) -> str:
    """Return the grammar as the worker's llguidance takes it."""
    try:
        # Imported here: a third of a start's time, for what few requests ask.
        from llguidance import LLMatcher
    except ImportError as error:
        raise invalid("server.no_grammar", param, code="unsupported_parameter") from error
    grammar: str = LLMatcher.grammar_from_lark(lark)
    failed, reasons = LLMatcher.validate_grammar_with_warnings(grammar)
    if failed:
        reason = " ".join(reasons)[:300]
        raise invalid("server.form", param, code="unsupported_parameter", reason=reason)
    return grammar
