"""docs/api.md against the code: each field is done, ignored or refused, as its table says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oneclick.server.api import ollama, responses
from oneclick.server.api.app import create_app
from oneclick.server.api.openapi import document
from oneclick.server.api_errors import ApiError
from oneclick.server.chat import fields
from oneclick.server.chat.request import parse_chat, parse_completion
from oneclick.server.http import assets
from oneclick.server.runtime import Runtime, ServerConfig
from oneclick.status import Status

DOCS = (Path(__file__).parents[4] / "docs" / "api.md").read_text("utf-8")
HELLO = [{"role": "user", "content": "hi"}]


def ollama_chat(body: dict[str, Any]) -> Any:
    fields.refuse(ollama.CHAT, body)
    return parse_chat({**ollama._sampling(body), "messages": body["messages"], "tools": body.get("tools")})


def ollama_generate(body: dict[str, Any]) -> Any:
    fields.refuse(ollama.GENERATE, body)
    return ollama._sampling(body)


Parse = Callable[[dict[str, Any]], Any]
DOORS: list[tuple[str, fields.Fields, Parse, dict[str, Any]]] = [
    ("/v1/chat/completions", fields.CHAT, parse_chat, {"messages": HELLO}),
    ("/v1/completions", fields.COMPLETION, parse_completion, {"prompt": "hi"}),
    ("/v1/responses", responses.FIELDS, responses.to_chat, {"input": "hi"}),
    ("/api/chat", ollama.CHAT, ollama_chat, {"messages": HELLO}),
    ("/api/generate", ollama.GENERATE, ollama_generate, {"prompt": "hi"}),
]
EVERY = [
    *DOORS,
    (
        "Ollama's options",
        ollama.OPTIONS,
        lambda options: ollama_chat({"messages": HELLO, "options": options}),
        {},
    ),
]
NAMES = [door[0] for door in EVERY]


def table(known: fields.Fields) -> str:
    """Return the table as docs/api.md has it."""
    groups: dict[str, list[str]] = {}
    for name, field in known.items():
        unless = f", unless {json.dumps(field.neutral[0])}" if field.neutral else ""
        groups.setdefault(field.policy + unless, []).append(f"`{name}`")
    order = ("done", "ignored", "refused")
    rows = sorted(groups, key=lambda key: (order.index(key.split(",")[0]), key))
    return "\n".join(["| what | fields |", "|---|---|", *(f"| {row} | {', '.join(groups[row])} |" for row in rows)])


@pytest.mark.parametrize("door", EVERY, ids=NAMES)
def test_the_document_has_the_table(door: Any) -> None:
    name, known, _, _ = door
    section = DOCS.partition(f"### {name}\n\n")[2].partition("\n\n")[0]
    assert section == table(known)


class Watched(dict[str, Any]):
    """A request that notes which fields were looked at."""

    def __init__(self, body: dict[str, Any]) -> None:
        super().__init__(body)
        self.seen: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.seen.add(name)
        return super().get(name, default)

    def __getitem__(self, name: str) -> Any:
        self.seen.add(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self.seen.add(str(name))
        return super().__contains__(name)


@pytest.mark.parametrize("door", DOORS[:3], ids=NAMES[:3])
def test_what_is_done_is_looked_at_and_what_is_ignored_is_not(door: Any) -> None:
    _, known, parse, body = door
    watched = Watched(body)
    parse(watched)
    done = {name for name, field in known.items() if field.policy == "done"}
    assert done <= watched.seen
    # Checked although nothing follows: the penalties, and what only refuses.
    assert not {"user", "metadata", "store", "service_tier"} & watched.seen


@pytest.mark.parametrize("door", EVERY, ids=NAMES)
def test_what_is_refused_is_refused_by_name_unless_it_asks_for_nothing(door: Any) -> None:
    _, known, parse, body = door
    for name, field in known.items():
        if field.policy != "refused":
            continue
        for nothing in (None, False, "", [], {}, *field.neutral):
            parse({**body, name: nothing})
        with pytest.raises(ApiError) as refused:
            parse({**body, name: "something"})
        assert refused.value.status == 400
        assert name in str(refused.value)


@pytest.mark.parametrize("door", EVERY, ids=NAMES)
def test_what_is_ignored_or_unknown_changes_nothing(door: Any) -> None:
    _, known, parse, body = door
    checked = {"presence_penalty", "frequency_penalty"}
    ignored = {name for name, field in known.items() if field.policy == "ignored"} - checked
    assert parse({**body, **dict.fromkeys([*ignored, "nobody_heard_of_this"], "x")}) == parse(body)


def test_every_address_is_in_the_document() -> None:
    router = create_app(Runtime(ServerConfig(), Status()))._app
    ours = (set(router._endpoints) | {path + "{id}" for path in router._prefixes}) - set(assets.table())
    assert [path for path in ours if f" {path}`" not in DOCS] == []
    described = {path.replace("{model}", "{id}") for path in document("")["paths"]}
    for_the_page_alone = {"/oneclick/chats", "/oneclick/chats/{id}"}
    assert ours - described == {"/v1", "/openapi.json", *for_the_page_alone}
