"""What a request leaves in the log: its id and its figures, never its words."""

from __future__ import annotations

import logging
import re

import pytest
import requests

from tests.payload.conftest import LiveServer, wait_for

SECRET = "只有我知道的秘密"


def lines_of(caplog: pytest.LogCaptureFixture, request_id: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if request_id in record.getMessage()]


def test_an_answer_is_logged_with_its_id_and_figures(our_server: LiveServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    response = our_server.chat("你好", max_tokens=3, temperature=0)
    (line,) = lines_of(caplog, response.headers["x-request-id"])
    assert re.search(
        r"length, queue \d+\.\d\d s, prompt \d+ \(\d+ kept\) in \d+\.\d\d s, answer 3 in \d+\.\d\d s$", line
    )


@pytest.mark.parametrize("stream", [False, True])
def test_neither_question_nor_answer_is_logged(
    our_server: LiveServer, caplog: pytest.LogCaptureFixture, stream: bool
) -> None:
    caplog.set_level(logging.DEBUG, "oneclick")
    caplog.set_level(logging.DEBUG, "uvicorn")
    plain = our_server.chat(SECRET, max_tokens=20, temperature=0)
    answer = plain.json()["choices"][0]["message"]["content"]
    if stream:
        plain = our_server.chat(SECRET, max_tokens=20, temperature=0, stream=True)
    wait_for(lambda: lines_of(caplog, plain.headers["x-request-id"]) != [])
    told = "\n".join(f"{record.getMessage()} {record.args}" for record in caplog.records)
    assert answer
    assert SECRET not in told
    assert answer not in told


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"messages": SECRET}, 400),
        ({"messages": [{"role": SECRET, "content": SECRET}]}, 400),
        ({"messages": [{"role": "user", "content": SECRET * 20_000}]}, 400),
        ({"messages": [{"role": "user", "content": SECRET}], "max_tokens": SECRET}, 400),
    ],
    ids=["no list", "unknown role", "too long", "no number"],
)
def test_a_refused_request_is_not_logged_with_its_words(
    our_server: LiveServer, caplog: pytest.LogCaptureFixture, body: dict[str, object], code: int
) -> None:
    caplog.set_level(logging.DEBUG, "oneclick")
    assert our_server.post("/v1/chat/completions", body).status_code == code
    assert all(SECRET not in record.getMessage() for record in caplog.records)


def test_a_refused_page_is_logged_by_its_code_alone(our_server: LiveServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    headers = {"Origin": "https://evil.example"}
    response = requests.get(our_server.url + "/v1/models", headers=headers, timeout=60)
    (line,) = lines_of(caplog, response.headers["x-request-id"])
    assert line.endswith("403 origin_not_allowed")
