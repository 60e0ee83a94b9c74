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

import ast
import json
import keyword
import re
import secrets
import unicodedata
from typing import Any, Mapping, Sequence

from oneclick.server.chat.request import ToolCall, clean

PREAMBLE = "Answer the following questions as best as you can. You have access to the following tools:\n"
_FENCED = re.compile(r"```(?:python)?[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,128}")


def system_text(text: str, functions: Sequence[Mapping[str, Any]]) -> str:
    """Return the system message that offers ``functions``, after the client's own ``text``."""
    listed = json.dumps(list(functions), indent=4, ensure_ascii=False)
    return clean((text + "\n\n" if text else "") + PREAMBLE + listed)


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
    return name.isidentifier() and name == folded and not keyword.iskeyword(name) and name != "__debug__"


def new_call_id() -> str:
    """Return an id that clients send back with the result."""
    return "call_" + secrets.token_hex(12)


def parse_call(text: str, names: Sequence[str]) -> ToolCall | None:
    """Return the call in ``text`` of one of the functions ``names``, or None where it is ordinary text.

    Only keyword arguments whose values are literals count.
    """
    head, line_break, rest = text.strip().partition("\n")
    name = head.strip()
    if not line_break or name not in names or not _NAME.fullmatch(name):
        return None
    fenced = _FENCED.search(rest)
    arguments = _keywords(fenced.group(1) if fenced else rest)
    if arguments is None:
        return None
    try:
        return ToolCall(name, json.dumps(arguments, ensure_ascii=False, allow_nan=False))
    except (TypeError, ValueError):
        return None  # a literal that JSON does not have: bytes, a set, a complex number


def _keywords(code: str) -> dict[str, Any] | None:
    """Return the keyword arguments of the one call that ``code`` is, read as literals."""
    try:
        tree = ast.parse(code.strip(), mode="eval")
        call = tree.body
        if not isinstance(call, ast.Call) or call.args:
            return None
        arguments: dict[str, Any] = {}
        for given in call.keywords:
            value = ast.literal_eval(given.value)
            if given.arg is not None:
                arguments[given.arg] = value
            elif isinstance(value, dict) and all(isinstance(key, str) for key in value):
                arguments.update(value)
            else:
                return None
        return arguments
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
