"""Bodies as Chinese Windows sends them: code pages, byte order marks, lost characters, compression."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import zlib
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from oneclick.server.api_errors import ApiError
from oneclick.server.chat.body_text import decode, unpack
from tests.payload.conftest import LiveServer

TEXT = json.dumps({"messages": [{"role": "user", "content": "你好，龘𠮷"}]}, ensure_ascii=False)
COMMON = json.dumps({"messages": [{"role": "user", "content": "你好"}]}, ensure_ascii=False)
JSON = "application/json"


@pytest.mark.parametrize(
    "charset", ["", "; charset=utf-8", ";charset=UTF-8", "; charset=iso-8859-1", "; charset=nonsense"]
)
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16", "utf-16-le", "utf-16-be", "utf-32"], ids=str
)
def test_what_chinese_windows_sends_is_read_whatever_the_header_claims(encoding: str, charset: str) -> None:
    assert decode(TEXT.encode(encoding), JSON + charset) == TEXT


@pytest.mark.parametrize("charset", ["gbk", "gb2312", "GB18030", "cp936", "big5", '"gbk"'])
def test_the_header_names_the_encoding(charset: str) -> None:
    assert decode(COMMON.encode(charset.strip('"')), f"{JSON}; charset={charset}") == COMMON


@pytest.mark.parametrize("charset", ["hex", "punycode", "idna", "unicode_escape", "utf-7"])
def test_codecs_that_no_client_means_are_not_tried(charset: str) -> None:
    assert decode(b'{"a": "\\\\u4f60+AGE-"}', f"{JSON}; charset={charset}") == '{"a": "\\\\u4f60+AGE-"}'


@given(st.binary(max_size=60), st.text(max_size=20))
def test_any_bytes_are_text_or_refused(body: bytes, charset: str) -> None:
    with contextlib.suppress(ApiError):
        decode(body, f"{JSON}; charset={charset}")


def test_a_bomb_is_refused_before_it_unfolds() -> None:
    bomb = gzip.compress(b" " * 10_000_000, mtime=0)
    with pytest.raises(ApiError) as refused:
        unpack(bomb, "gzip", 1_000_000)
    assert refused.value.status == 413


def send(server: LiveServer, body: bytes, **headers: str) -> requests.Response:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.post(server.url + "/v1/chat/completions", data=body, headers=headers, timeout=60)


def request_of(content: str, **more: Any) -> bytes:
    body = {"messages": [{"role": "user", "content": content}], "max_tokens": 2, "temperature": 0, **more}
    return json.dumps(body, ensure_ascii=False).encode()


def prompt_tokens(response: requests.Response) -> int:
    assert response.status_code == 200, response.text
    tokens: int = response.json()["usage"]["prompt_tokens"]
    return tokens


def test_curl_in_cmd_is_understood(our_server: LiveServer) -> None:
    told = prompt_tokens(send(our_server, request_of("你好"), content_type=JSON))
    gbk = request_of("你好").decode().encode("gbk")
    assert prompt_tokens(send(our_server, gbk, content_type=JSON)) == told
    assert prompt_tokens(send(our_server, gbk, content_type=f"{JSON}; charset=utf-8")) == told
    assert prompt_tokens(send(our_server, gbk, content_type="application/x-www-form-urlencoded")) == told


def test_the_help_pages_line_works_as_cmd_sends_it(our_server: LiveServer) -> None:
    """Where cmd has code page 936: curl hands on the argument's bytes as they are."""
    help_page = (Path(__file__).parents[4] / "templates" / "help.html.j2").read_text("utf-8")
    found = re.search(r'<pre>curl \S+ -H "Content-Type: (\S+)" -d "(.*)"</pre>', help_page)
    assert found
    body = found.group(2).replace('\\"', '"')
    told = prompt_tokens(send(our_server, request_of("你好"), content_type=JSON))
    assert prompt_tokens(send(our_server, body.encode("gbk"), content_type=found.group(1))) == told


@pytest.mark.parametrize("compress", [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_body_is_read(our_server: LiveServer, compress: Any) -> None:
    name, pack = compress
    told = prompt_tokens(send(our_server, request_of("你好"), content_type=JSON))
    assert prompt_tokens(send(our_server, pack(request_of("你好")), content_encoding=name)) == told


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("br", b"x", 415),
        ("gzip", b"not gzip", 400),
        ("gzip", gzip.compress(request_of("hi"), mtime=0)[:-6], 400),
        ("gzip", gzip.compress(b" " * (20 << 20), mtime=0), 413),
    ],
)
def test_a_body_that_cannot_be_unpacked_is_refused_in_words(
    our_server: LiveServer, encoding: str, body: bytes, status: int
) -> None:
    response = send(our_server, body, content_encoding=encoding)
    assert response.status_code == status
    assert response.json()["error"]["message"]


@pytest.mark.parametrize("content", ["??", "?????", "?? ???", "? ?", "??\n??"])
def test_characters_that_were_lost_on_the_way_are_told(our_server: LiveServer, content: str) -> None:
    response = send(our_server, request_of(content), content_type=JSON)
    assert response.status_code == 400
    assert "UTF-8" in response.json()["error"]["message"]


@pytest.mark.parametrize("content", ["?", "what??", "？？"])
def test_a_question_mark_is_no_lost_character(our_server: LiveServer, content: str) -> None:
    assert send(our_server, request_of(content), content_type=JSON).status_code == 200


def test_a_browser_may_send_question_marks(our_server: LiveServer) -> None:
    assert send(our_server, request_of("??"), sec_fetch_mode="cors").status_code == 200


@pytest.mark.parametrize("path", ["/v1/models", "/status", "/health", "/openapi.json", "/nothing"])
def test_every_json_says_that_it_is_utf_8(our_server: LiveServer, path: str) -> None:
    response = requests.get(our_server.url + path, timeout=10)
    assert response.headers["content-type"] == "application/json; charset=utf-8"
