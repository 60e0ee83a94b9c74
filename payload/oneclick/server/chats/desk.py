"""The conversations over HTTP, for the page alone.

    GET    /oneclick/chats        {"chats": [{...conversation, "id", "revision"}], "damaged": ["file name"]}
    POST   /oneclick/chats        {"find": "words"} -> {"found": [{"id", "text"}]}   text: a message, around the words
    GET    /oneclick/chats/ID     {"conversation", "messages", "revision"}
    PUT    /oneclick/chats/ID     {"conversation", "messages", "revision": the one that was read, null for a new one}
                                  -> {"revision"}; 409 where the file is another one by now: read, merge, try again
    DELETE /oneclick/chats/ID     {}; its file goes to the trash

Each needs this run's token, never the API key, which other programs are given. Nothing of a conversation, not even the
title in a file's name, gets into a log. Refusals of the file system are 507: the page then keeps what it has to save.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Mapping

from oneclick.download.checks import is_full
from oneclick.server.api_errors import ApiError, invalid
from oneclick.server.chats.document import Json, NoChat, checked
from oneclick.server.chats.store import ID, ChatFolder
from oneclick.server.http.asgi import ClientDisconnect, JSONResponse, Request, Response
from oneclick.server.http.gate import is_users_page
from oneclick.server.http.streams import read_json
from oneclick.server.runtime import Runtime

log = logging.getLogger("oneclick.server")

LONGEST_SEARCH = 200
"""Characters."""


class Desk:
    """What the routes do with one folder: one thing at a time, beside the event loop."""

    def __init__(self, folder: Path) -> None:
        self._chats = ChatFolder(folder)
        self._thread = ThreadPoolExecutor(1, "chats")
        self._thread.submit(self._chats.empty_trash)

    async def do(self, method: str, chat_id: str, body: Mapping[str, Any]) -> Json:
        """Return the answer's JSON; ApiError where there is none."""
        work = partial(self._do, method, chat_id, body)
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _do(self, method: str, chat_id: str, body: Mapping[str, Any]) -> Json:
        try:
            if not chat_id:
                return self._find(body) if method == "POST" else self._list()
            if method == "PUT":
                return {"revision": self._save(chat_id, body)}
            if method == "DELETE":
                self._chats.delete(chat_id)
                return {}
            chat, revision = self._chats.read(chat_id)
            return {"conversation": chat.conversation, "messages": chat.messages, "revision": revision}
        except OSError as error:
            reason = error.strerror or type(error).__name__
            log.warning("conversations: %s", reason)  # its own text names the file, and the file the title
            if is_full(error):
                raise ApiError(507, "chats.full", code="disk_full") from None
            raise ApiError(507, "chats.unwritable", code="folder_unwritable", reason=reason) from None

    def _list(self) -> Json:
        heads, damaged = self._chats.listed()
        return {"chats": heads, "damaged": damaged}

    def _find(self, body: Mapping[str, Any]) -> Json:
        wanted = body.get("find")
        if not isinstance(wanted, str) or not wanted:
            raise invalid("chats.invalid", "find", where="find")
        return {"found": self._chats.find(wanted[:LONGEST_SEARCH])}

    def _save(self, chat_id: str, body: Mapping[str, Any]) -> str:
        revision = body.get("revision")
        if revision is not None and not isinstance(revision, str):
            raise invalid("chats.invalid", "revision", where="revision")
        try:
            chat = checked(body.get("conversation"), body.get("messages"))
        except NoChat as error:
            raise invalid("chats.invalid", "messages", where=error) from error
        return self._chats.save(chat_id, chat, revision)


_desk = lru_cache(maxsize=None)(Desk)


async def answer(runtime: Runtime, request: Request) -> Response:
    """Answer one request of the page."""
    if not is_users_page(request.scope, runtime.token):
        raise ApiError(403, "chats.page_only", code="token_required", kind="permission_error")
    folder, method, chat_id = runtime.config.chats, request.scope["method"], request.scope.get("rest", "")
    if folder is None:
        raise ApiError(404, "chats.no_folder", code="no_folder")
    if not (method in ("GET", "PUT", "DELETE") and ID.fullmatch(chat_id) if chat_id else method in ("GET", "POST")):
        raise ApiError(404, "chats.gone", code="no_such_chat")
    try:
        body = await read_json(request) if method in ("POST", "PUT") else {}
    except ClientDisconnect:
        return Response(status_code=499)
    return JSONResponse(await _desk(folder).do(method, chat_id, body), headers={"cache-control": "no-store"})
