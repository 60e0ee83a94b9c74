"""The functions a request lets the model call, in every form that clients and ChatGLM3's own demos send."""

from __future__ import annotations

from typing import Any, Sequence

from oneclick.server.api_errors import invalid
from oneclick.server.chat.body_text import JsonObject, clean

MAX_TOOLS = 128
_NAMED = "function "


def offered_tools(body: JsonObject) -> tuple[tuple[JsonObject, ...], bool]:
    """Return the functions the model may call, and whether they came in the old ``functions`` field."""
    tools, functions = _listed(body, "tools"), _listed(body, "functions")
    legacy = tools is None and functions is not None
    if tools is None and functions is None:
        tools = _tools_of_system(body)
    # Both are checked, one is used.
    offered = [_function(_inside(tool), "tools") for tool in tools or ()]
    older = [_function(function, "functions") for function in functions or ()]
    if not _may_call(body):
        return (), legacy
    return tuple(older if legacy else offered), legacy


def _tools_of_system(body: JsonObject) -> list[Any] | None:
    """Return the tools in a system message, where ChatGLM3's own demos keep them."""
    messages = body["messages"]
    found = [message for message in messages if message.get("role") == "system" and message.get("tools")]
    return _listed(found[0], "tools") if found else None


def _listed(body: JsonObject, name: str) -> list[Any] | None:
    """Return a list of tools; the demos also send one bare function, or an object of them by name."""
    listed = body.get(name)
    if isinstance(listed, dict) and isinstance(listed.get("name"), str):
        listed = [listed]
    elif isinstance(listed, dict):
        listed = [
            {"name": key, **value} if isinstance(value, dict) and "function" not in value else value
            for key, value in listed.items()
        ]
    if listed is not None and (not isinstance(listed, list) or len(listed) > MAX_TOOLS):
        raise invalid("server.tools", name, limit=MAX_TOOLS)
    return None if listed is None else [tool for tool in listed if tool is not None]


def _inside(tool: Any) -> Any:
    """Return the function object of a tool: inside it, or the tool itself where it is bare."""
    if not isinstance(tool, dict):
        return None
    kind = tool.get("type", "function")
    if "function" not in tool and kind not in (None, "function"):
        raise invalid("server.tool_type", "tools", code="unsupported_parameter", asked=str(kind)[:40])
    return tool.get("function", tool)


def _function(function: Any, name: str) -> JsonObject:
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"].strip():
        raise invalid("server.tool", name)
    kept: dict[str, Any] = {"name": clean(function["name"]).strip()}
    if isinstance(function.get("description"), str):
        kept["description"] = clean(function["description"])
    parameters = function.get("parameters")
    if isinstance(parameters, dict):
        kept["parameters"] = {key: value for key, value in parameters.items() if key != "$schema"}
    elif isinstance(function.get("params"), list):
        kept["params"] = function["params"]
    return kept


def forced_tools(body: JsonObject, offered: Sequence[JsonObject]) -> tuple[JsonObject, ...]:
    """Return the functions of ``offered`` one of which must be called; none where the model may choose."""
    for name in ("tool_choice", "function_call"):
        choice = _choice(body.get(name), name)
        if choice in ("required", "any"):
            if not offered:
                raise invalid("server.no_tools", name)
            return tuple(offered)
        if choice not in (None, "auto", "none"):
            wanted = choice[len(_NAMED) :]
            found = tuple(function for function in offered if function["name"] == wanted)
            if not found:
                raise invalid("server.unknown_tool", name, tool=wanted[:100])
            return found
    return ()


def _may_call(body: JsonObject) -> bool:
    """Return False for ``tool_choice: "none"``."""
    choices = [_choice(body.get(name), name) for name in ("tool_choice", "function_call")]
    return next((choice for choice in choices if choice is not None), "auto") != "none"


def _choice(value: Any, name: str) -> str | None:
    """Return a choice as a word, a function's name behind ``_NAMED``; None where there is none."""
    if value is None:
        return None
    if isinstance(value, dict):
        kind = value.get("type", "function")
        inside = value.get("function", value)
        if kind == "function" and isinstance(inside, dict) and isinstance(inside.get("name"), str):
            return _NAMED + clean(inside["name"]).strip()
        value = kind
    if value not in ("auto", "none", "required", "any"):
        raise invalid("server.tool_choice", name, code="unsupported_parameter", name=name)
    return str(value)
