"""The routes of the conversations, on a live server: for the page alone, bounded, in words, and never in a log."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import requests

from oneclick.server.http.gate import MAX_BODY_BYTES
from oneclick.server.runtime import ServerConfig
from tests.payload.conftest import LiveServer, StartServer
from tests.payload.server.chats.test_document import HEAD, answer, question

ID = "0123456789abcdef01234567"
SECRET = "只有我知道的秘密"
KEY = "a key for other programs"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "对话"


@pytest.fixture
def server(start_server: StartServer, folder: Path) -> LiveServer:
    """A server without a model: conversations can be read before there is one."""
    return start_server(None, config=ServerConfig(chats=folder, api_key=KEY))


def ask(server: LiveServer, method: str, chat_id: str = "", body: Any = None, **headers: str) -> requests.Response:
    """Ask as the page does."""
    path = f"/oneclick/chats/{chat_id}" if chat_id else "/oneclick/chats"
    told = {
        "X-OneClick-Token": server.runtime.token,
        **{name.replace("_", "-"): text for name, text in headers.items()},
    }
    return requests.request(method, server.url + path, json=body, headers=told, timeout=60)


def put(server: LiveServer, text: str = SECRET, revision: str | None = None, title: str = "旅行") -> requests.Response:
    messages = [question(text), answer("成都。", "重庆。")]
    return ask(
        server, "PUT", ID, {"conversation": {**HEAD, "title": title}, "messages": messages, "revision": revision}
    )


def code_of(response: requests.Response) -> str:
    code: str = response.json()["error"]["code"]
    return code


def test_a_conversation_is_saved_listed_read_found_and_deleted(server: LiveServer, folder: Path) -> None:
    assert ask(server, "GET").json() == {"chats": [], "damaged": []}
    saved = put(server)
    assert saved.status_code == 200
    revision = saved.json()["revision"]
    listed = ask(server, "GET")
    assert listed.json() == {"chats": [{**HEAD, "id": ID, "revision": revision}], "damaged": []}
    assert listed.headers["cache-control"] == "no-store"
    read = ask(server, "GET", ID).json()
    assert read["revision"] == revision
    assert [message["id"] for message in read["messages"]] == ["q", "a"]
    assert read["messages"][1]["versions"][1]["text"] == "重庆。"
    assert ask(server, "POST", body={"find": "重庆"}).json() == {"found": [{"id": ID, "text": "重庆。"}]}
    assert (folder / f"旅行 {ID}.md").is_file()
    assert ask(server, "DELETE", ID).json() == {}
    assert code_of(ask(server, "GET", ID)) == "no_such_chat"
    assert (folder / "回收站" / f"旅行 {ID}.md").is_file()


def test_the_later_of_two_writers_is_told(server: LiveServer) -> None:
    revision = put(server).json()["revision"]
    assert put(server, "第一个", revision).status_code == 200
    late = put(server, "第二个", revision)
    assert (late.status_code, code_of(late)) == (409, "chat_changed")
    assert ask(server, "GET", ID).json()["messages"][0]["text"] == "第一个"


@pytest.mark.parametrize(
    "headers",
    [
        {"X_OneClick_Token": ""},
        {"X_OneClick_Token": "wrong", "Authorization": f"Bearer {KEY}"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "file://"},
        {"Origin": "app://obsidian.md"},
    ],
    ids=["no token", "a key", "another page", "a file", "an application"],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
def test_only_the_page_is_answered(server: LiveServer, method: str, headers: dict[str, str]) -> None:
    put(server)
    chat_id = "" if method == "POST" else ID
    headers = {"Authorization": f"Bearer {KEY}", **headers}
    refused = ask(server, method, chat_id, {"find": "x"} if method == "POST" else None, **headers)
    assert (refused.status_code, code_of(refused)) == (403, "token_required")
    assert SECRET not in refused.text
    assert ask(server, "GET", ID).status_code == 200


def test_the_page_s_own_origin_is_answered(server: LiveServer) -> None:
    assert ask(server, "GET", Origin=server.url).status_code == 200


def test_no_other_origin_is_told_in_advance_that_it_may(server: LiveServer) -> None:
    asked = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "PUT"}
    granted = requests.options(f"{server.url}/oneclick/chats/{ID}", headers=asked, timeout=60)
    assert "PUT" not in granted.headers["access-control-allow-methods"]


@pytest.mark.parametrize("chat_id", ["..%2F..%2F设置.toml", "x" * 24, ID.upper(), ID + "0", f"{ID}/x", "a.md"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_what_is_no_id_names_no_file(server: LiveServer, folder: Path, method: str, chat_id: str) -> None:
    body = {"conversation": HEAD, "messages": [], "revision": None} if method == "PUT" else None
    refused = ask(server, method, chat_id, body)
    assert (refused.status_code, code_of(refused)) == (404, "no_such_chat")
    assert not folder.exists()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"conversation": [], "messages": []},
        {"conversation": {**HEAD, "title": 1}, "messages": []},
        {"conversation": HEAD, "messages": [{"role": "user", "text": SECRET}]},
        {"conversation": HEAD, "messages": [{**question(SECRET), "role": "system"}]},
        {"conversation": HEAD, "messages": [{**answer(SECRET), "active": 1}]},
        {"conversation": HEAD, "messages": [{**answer(SECRET), "versions": [SECRET]}]},
        {"conversation": HEAD, "messages": [], "revision": 3},
    ],
)
def test_what_could_not_be_read_again_is_not_saved(server: LiveServer, folder: Path, body: Any) -> None:
    refused = ask(server, "PUT", ID, body)
    assert refused.status_code == 400
    assert SECRET not in refused.text
    assert not folder.exists()


def test_a_conversation_that_is_too_long_is_refused(server: LiveServer, folder: Path) -> None:
    assert put(server, "x" * MAX_BODY_BYTES).status_code == 413
    assert not folder.exists()


@pytest.mark.parametrize("find", [None, "", 3])
def test_a_search_without_words_is_refused(server: LiveServer, find: Any) -> None:
    assert ask(server, "POST", body={"find": find}).status_code == 400


def test_a_full_disk_is_said_and_the_old_version_stays(server: LiveServer, folder: Path) -> None:
    revision = put(server).json()["revision"]
    (folder / f"旅行 {ID}.md.part").symlink_to("/dev/full")
    refused = put(server, "新的", revision)
    assert (refused.status_code, code_of(refused)) == (507, "disk_full")
    assert "磁盘满了" in refused.json()["error"]["message"]
    assert ask(server, "GET", ID).json()["messages"][0]["text"] == SECRET


def test_a_folder_that_cannot_be_used_is_said(server: LiveServer, folder: Path) -> None:
    """A file in its place refuses root, too, which runs these tests."""
    folder.write_bytes(b"")
    for refused in (ask(server, "GET"), put(server), ask(server, "POST", body={"find": "x"})):
        assert (refused.status_code, code_of(refused)) == (507, "folder_unwritable")
        assert "“对话”文件夹不能读写" in refused.json()["error"]["message"]


def test_a_damaged_file_is_named_and_the_others_are_listed(server: LiveServer, folder: Path) -> None:
    put(server)
    bad = "坏 fedcba9876543210fedcba98.md"
    (folder / bad).write_bytes(b"\0" * 100)
    listed = ask(server, "GET").json()
    assert ([chat["id"] for chat in listed["chats"]], listed["damaged"]) == ([ID], [bad])
    refused = ask(server, "GET", bad[-27:-3])
    assert (refused.status_code, code_of(refused)) == (422, "damaged_chat")
    assert bad in refused.json()["error"]["message"]


def test_a_server_without_a_folder_says_so(start_server: StartServer) -> None:
    refused = ask(start_server(None), "GET")
    assert (refused.status_code, code_of(refused)) == (404, "no_folder")


def test_nothing_of_a_conversation_is_logged(
    server: LiveServer, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Titles least of all: they are in the names of files, which errors of the system repeat."""
    caplog.set_level(logging.DEBUG)
    revision = put(server, title=SECRET).json()["revision"]
    ask(server, "GET")
    ask(server, "GET", ID)
    ask(server, "POST", body={"find": SECRET})
    put(server, SECRET, "stale", title=SECRET)
    ask(server, "PUT", ID, {"conversation": HEAD, "messages": [{"role": SECRET, "text": SECRET}]})
    (folder / f"{SECRET} {ID}.md.part").symlink_to("/dev/full")
    assert put(server, "x", revision, title=SECRET).status_code == 507
    (folder / f"{SECRET} {ID}.md").write_bytes(b"\0")
    assert ask(server, "GET", ID).status_code == 422
    (folder / f"{SECRET} {ID}.md").unlink()
    (folder / f"{SECRET} {ID}.md").mkdir()
    assert ask(server, "GET", ID).status_code == 507
    told = [f"{record.getMessage()} {record.args} {record.exc_text}" for record in caplog.records]
    assert any("conversations: " in line for line in told)
    assert all(SECRET not in line for line in told)
    assert all(json.dumps(SECRET)[1:-1] not in line for line in told)
