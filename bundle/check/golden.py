"""What the real ChatGLM3-6B is known to read and to say: facts from the tests of chatglm.cpp (chatglm_test.cpp).

The ids of a prompt are told by the sha256 of their JSON; the sentences are greedy answers of the q4_0 file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

TOKENIZER_SHA256 = "e7dc4c393423b76e4373e5157ddc34803a0189ba96b21ddbb40269d31468a6f2"
"""Of the sentencepiece model that every published ChatGLM3 carries."""
DTYPE = "q4_0"
"""Whose sentences these are."""


def _parameter(name: str, description: str, kind: str) -> dict[str, Any]:
    return {"name": name, "description": description, "type": kind, "required": True}


_TOOLS = {
    "random_number_generator": {
        "name": "random_number_generator",
        "description": "Generates a random number x, s.t. range[0] <= x < range[1]",
        "params": [
            _parameter("seed", "The random seed used by the generator", "int"),
            _parameter("range", "The range of the generated numbers", "tuple[int, int]"),
        ],
    },
    "get_weather": {
        "name": "get_weather",
        "description": "Get the current weather for `city_name`",
        "params": [_parameter("city_name", "The name of the city to be queried", "str")],
    },
}
"""Of ChatGLM3's own demo."""
_SYSTEM = "Answer the following questions as best as you can. You have access to the following tools:\n" + json.dumps(
    _TOOLS, indent=4
)
GREETING = "你好👋！我是人工智能助手 ChatGLM3-6B，很高兴见到你，欢迎问我任何问题。"
CALL = "```python\ntool_call(seed=42, range=(0, 100))\n```"


@dataclass(frozen=True)
class Golden:
    """One conversation: what its prompt must be in tokens, and how the answer must read."""

    name: str
    messages: tuple[dict[str, Any], ...]
    ids_sha256: str = ""
    """Empty: nobody published them."""
    answer: str = ""
    """Which the answer holds; empty: nobody published one."""


def ids_digest(ids: Sequence[int]) -> str:
    """Return how a prompt's ids are told here."""
    return hashlib.sha256(json.dumps(list(ids)).encode()).hexdigest()


def _said(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "content": content}


_ASKED = (_said("system", _SYSTEM), _said("user", "生成一个随机数"))
CONVERSATIONS = (
    Golden(
        "a greeting",
        (_said("user", "你好"),),
        "80dc48aae7147f33d617f0b7cf829c00d975bf50665edcf4f47a5e26bac338f3",
        GREETING,
    ),
    Golden(
        "three turns",
        (_said("user", "你好"), _said("assistant", GREETING), _said("user", "晚上睡不着应该怎么办")),
        "1342eef11599b0dfbef06d114aac36c4da3909a6a3bac556825b8fe17246e178",
    ),
    Golden(
        "a tool is called",
        _ASKED,
        "d5bce9d033b48cb6c113502a612c3e04a5186c01627b2e1631f52667ae8e5333",
        CALL,
    ),
    Golden(
        "its result is told",
        (
            *_ASKED,
            {"role": "assistant", "content": CALL, "metadata": "random_number_generator"},
            _said("observation", "22"),
        ),
        answer="根据您的要求，我使用随机数生成器API生成了一个在0和100之间的随机数，结果为22。",
    ),
)
