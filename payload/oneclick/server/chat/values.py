"""Single values of a request's JSON: of the right kind and size, or an error that names the field."""

from __future__ import annotations

import math

from oneclick.server.api_errors import invalid
from oneclick.server.chat.body_text import JsonObject


def number(body: JsonObject, name: str, default: float, low: float, high: float) -> float:
    value = body.get(name)
    if value is None:
        return default
    # bool is an int in Python, not in JSON.
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise invalid("server.type", name, name=name, wanted="number")
    if not low <= value <= high or not math.isfinite(value):
        raise invalid("server.range", name, name=name, low=low, high=high)
    return float(value)


def whole(body: JsonObject, name: str, low: int, high: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid("server.type", name, name=name, wanted="integer")
    if not low <= value <= high:
        raise invalid("server.range", name, name=name, low=low, high=high)
    return value


def boolean(body: JsonObject, name: str, shown: str = "") -> bool:
    value = body.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise invalid("server.type", shown or name, name=shown or name, wanted="boolean")
    return value
