"""One conversation as Markdown that people can read and that is read back exactly.

    # title
                                              every block: a comment for the program, a heading for people, the text
    <!-- {"title": ..., "updatedAt": ...} -->

    <!-- {"role": "user", "id": ...} -->
    ## 我

    the question

    <!-- {"role": "assistant", "active": 1, "version": {"state": "done", ...}} -->
    ## ChatGLM3

    the first answer

    <!-- {"version": {...}} -->
    ...

The shapes are the page's (top of web/js/store.js); what is not known here stays as it is. The comments decide, headings
are for people. Texts may be edited: whatever an editor did to line breaks and encoding is understood.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Dict, Iterable

from oneclick.messages import say
from oneclick.server.api_errors import ApiError
from oneclick.server.chat.body_text import clean, decode, parse_json

Json = Dict[str, Any]

_MARKER = re.compile(r"<!-- (\{.*\}) -->")
_LIKE_A_MARKER = re.compile(r"\\*<!-- \{")
_ESCAPED = re.compile(r"\\+<!-- \{")
_TEXT_FIELDS = ("text", "conversation")
"""Of messages and versions: what stands below the comment, and what the file itself says."""


class NoChat(ValueError):
    """Whatever it is, it is no conversation; the text says where."""


@dataclass(frozen=True)
class Chat:
    """A conversation with its messages, as the page has them."""

    conversation: Json
    messages: list[Json]

    def texts(self) -> Iterable[str]:
        """Yield everything said, newest first."""
        for message in reversed(self.messages):
            yield from [version["text"] for version in message.get("versions", (message,))]


def checked(conversation: Any, messages: Any) -> Chat:
    """Return the chat; NoChat where something that is relied on is missing or has the wrong type."""
    if not isinstance(conversation, dict) or not isinstance(messages, list):
        raise NoChat("conversation")
    updated = conversation.get("updatedAt")
    if not isinstance(conversation.get("title"), str) or type(updated) not in (int, float):
        raise NoChat("title or updatedAt")
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("id"), str):
            raise NoChat(f"messages[{number}]")
        versions = message.get("versions") if message.get("role") == "assistant" else [message]
        if message.get("role") not in ("user", "assistant") or not isinstance(versions, list) or not versions:
            raise NoChat(f"messages[{number}].role")
        if not all(isinstance(version, dict) and isinstance(version.get("text"), str) for version in versions):
            raise NoChat(f"messages[{number}].text")
        if versions[0] is not message and message.get("active") not in range(len(versions)):
            raise NoChat(f"messages[{number}].active")
    return Chat(conversation, messages)


def to_file(chat: Chat) -> bytes:
    """Return the content of the conversation's file."""
    title = " ".join(chat.conversation["title"].split())
    lines = [f"# {title}", "", _comment(chat.conversation), ""]
    for message in chat.messages:
        about = {name: value for name, value in message.items() if name not in (*_TEXT_FIELDS, "versions")}
        versions = message.get("versions")
        if versions is None:
            lines += _block(about, say("chats.me"), message["text"])
            continue
        for number, version in enumerate(versions, 1):
            about["version"] = {name: value for name, value in version.items() if name != "text"}
            heading = "ChatGLM3" if len(versions) == 1 else f"ChatGLM3 ({number}/{len(versions)})"
            lines += _block(about, heading, version["text"])
            about = {}
    return clean("\n".join(lines)).encode("utf-8")


def _block(about: Json, heading: str, text: str) -> list[str]:
    told = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    safe = ["\\" + line if _LIKE_A_MARKER.match(line) else line for line in told]
    return [_comment(about), f"## {heading}", "", *safe, ""]


def _comment(about: Json) -> str:
    # In JSON a ">" stands in strings alone; escaped, none of them ends the comment.
    return "<!-- " + json.dumps(about, ensure_ascii=False).replace(">", "\\u003e") + " -->"


def from_file(content: bytes, wanted: str = "") -> Chat:
    """Return the conversation in a file; NoChat where there is none, or none that says ``wanted`` (lower case)."""
    try:
        text = decode(content, "").replace("\r\n", "\n")
        if wanted not in text.lower():
            raise NoChat("other words")
        blocks = list(_blocks(text.split("\n")))
        if not blocks:
            raise NoChat("no comment")
        messages: list[Json] = []
        for about, text in blocks[1:]:
            version = about.pop("version", None)
            if "role" in about:
                messages.append(about)
            if version is None:
                messages[-1]["text"] = text
            else:
                messages[-1].setdefault("versions", []).append({**version, "text": text})
        return checked(blocks[0][0], messages)
    except (ApiError, IndexError, TypeError) as error:
        raise NoChat(str(error)) from error


def _blocks(lines: list[str]) -> Iterable[tuple[Json, str]]:
    """Yield what each comment says, with the text below its heading."""
    starts = [number for number, line in enumerate(lines) if _MARKER.fullmatch(line)]
    for start, end in zip(starts, [*starts[1:], len(lines)]):
        told = [line[1:] if _ESCAPED.match(line) else line for line in lines[start + 3 : end - 1]]
        yield dict(parse_json(lines[start][len("<!-- ") : -len(" -->")])), "\n".join(told)
