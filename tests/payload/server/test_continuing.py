"""Going on with an answer that was stopped, cut or interrupted."""

from __future__ import annotations

from tests.payload.conftest import LiveServer

QUESTION = {"role": "user", "content": "hello there"}


def test_a_continued_answer_is_the_one_that_would_have_come(our_server: LiveServer) -> None:
    whole = our_server.answer([QUESTION], max_tokens=24)["choices"][0]["message"]["content"]
    begun = our_server.answer([QUESTION], max_tokens=12)["choices"][0]["message"]["content"]
    answer = {"role": "assistant", "content": begun}
    more = our_server.answer([QUESTION, answer], max_tokens=12, continue_final_message=True)
    assert begun + more["choices"][0]["message"]["content"] == whole
    assert more["usage"]["prompt_tokens_details"]["cached_tokens"] > 12


def test_only_an_answer_can_be_continued(our_server: LiveServer) -> None:
    refused = our_server.chat("hello", continue_final_message=True)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "continue_final_message"
