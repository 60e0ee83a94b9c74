"""Tool calls in ChatGLM3's own format, without ever evaluating what a model wrote.

The model is given the functions in its system message. It calls one by ending its turn with

     name
     ```python
     tool_call(key='value', other=3)
     ```

and the token <|observation|>; the result follows as a message of that role.
Source: the chat template of THUDM/chatglm3-6b (tokenization_chatglm.py, modeling_chatglm.py: process_response).
"""

from __future__ import annotations

import json
import keyword
import re
import secrets
import unicodedata
from typing import Any, Iterator, Mapping, Sequence

from oneclick.server.chat.body_text import clean
from oneclick.server.chat.call_reader import NAME, NotACall, read_arguments
from oneclick.server.chat.request import ToolCall

PREAMBLE = "Answer the following questions as best as you can. You have access to the following tools:\n"
_FENCE = re.compile(r"```[A-Za-z]*[ \t]*\n?")
_OBJECT = re.compile(r"tool_call\(\s*(\{.*\})\s*\)", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,128}")


def system_text(text: str, functions: Sequence[Mapping[str, Any]]) -> str:
    """Return the system message that offers ``functions``, after the client's own ``text``."""
    listed = json.dumps(list(functions), indent=4, ensure_ascii=False)
    own = text.rstrip()
    if own.endswith(PREAMBLE.rstrip()):
        own = own[: -len(PREAMBLE.rstrip())].rstrip()  # ChatGLM3's demos say it themselves
    return clean((own + "\n\n" if own else "") + PREAMBLE + listed)


def parameter_names(functions: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Return the functions' names with the names of their parameters, in order."""
    return {function["name"]: tuple(_parameters(function)) for function in functions}


def _parameters(function: Mapping[str, Any]) -> Iterator[str]:
    properties = function.get("parameters", {}).get("properties")
    if isinstance(properties, dict):
        yield from (name for name in properties if isinstance(name, str))
    for one in function.get("params", ()):
        if isinstance(one, dict) and isinstance(one.get("name"), str):
            yield one["name"]


def call_text(call: ToolCall) -> str:
    """Return an earlier call as the model once wrote it; the tool's name goes into the message's head."""
    try:
        arguments = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        arguments = None
    if isinstance(arguments, dict) and all(_is_plain(name) for name in arguments):
        inside = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    elif isinstance(arguments, dict):
        inside = f"**{arguments!r}"
    else:
        inside = repr(call.arguments)
    return clean(f"```python\ntool_call({inside})\n```")


def _is_plain(name: str) -> bool:
    """Tell whether Python reads ``name=`` as exactly this name: it folds Unicode forms and has keywords."""
    folded = unicodedata.normalize("NFKC", name)
    return (
        NAME.fullmatch(name) is not None
        and name.isidentifier()
        and name == folded
        and not keyword.iskeyword(name)
        and name != "__debug__"
    )


def new_call_id() -> str:
    """Return an id that clients send back with the result."""
    return "call_" + secrets.token_hex(12)


def parse_call(text: str, names: Mapping[str, Sequence[str]]) -> ToolCall | None:
    """Return the call in ``text`` of one of the functions ``names``, or None where it is ordinary text.

    ``names`` holds the names of each function's parameters: those of arguments that are given without one.
    """
    name, rest = split_call(text, names)
    if not name:
        return None
    for code in _codes(rest):
        written = _json_arguments(code)
        if written:
            return ToolCall(name, clean(written))
        try:
            arguments = read_arguments(code, names[name])
            return ToolCall(name, clean(json.dumps(arguments, ensure_ascii=False, allow_nan=False)))
        except (NotACall, TypeError, ValueError):
            continue  # TypeError, ValueError: what JSON does not have, such as an infinite number
    return None


def _json_arguments(code: str) -> str:
    """Return the arguments of ``tool_call({...})`` as they stand, where they are JSON; "" otherwise."""
    match = _OBJECT.fullmatch(code)
    try:
        return match.group(1) if match and isinstance(json.loads(match.group(1), parse_constant=_refuse), dict) else ""
    except (ValueError, RecursionError):
        return ""


def _refuse(constant: str) -> None:
    raise ValueError(constant)  # NaN and Infinity are Python's, not JSON's


def split_call(text: str, names: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """Return the function that the first line of ``text`` names and the lines after it; ``("", text)`` for none."""
    head, line_break, rest = text.lstrip().partition("\n")
    name = head.strip()
    if line_break and name in names and _NAME.fullmatch(name) and rest.strip():
        return name, rest
    return "", text


def _codes(text: str) -> Iterator[str]:
    """Yield what may be the code: up to the first closing fence, to the last one (for a fence in a string), or all."""
    opening = _FENCE.search(text)
    inside = text[opening.end() :] if opening else text
    ends = dict.fromkeys((inside.find("```"), inside.rfind("```")))
    yield from (inside[:end].strip() for end in ends if end >= 0)
    yield inside.strip()


def says_call(text: str, calls: Sequence[ToolCall]) -> bool:
    """Tell whether a message's ``text`` is nothing but one of its ``calls``, as the model wrote it."""
    for call in calls:
        for written in (text, f"{call.name}\n{text}"):
            if parse_call(written, {call.name: ()}) is not None:
                return True
    return False
