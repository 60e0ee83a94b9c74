"""Tokens to text: whole characters, stop strings, nothing that is no text."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.model import random_tokenizer
from oneclick.errors import OneClickError
from oneclick.server.chat.text import TextStream
from oneclick.server.chat.tokenizer import ChatTokenizer

TOKENIZER = ChatTokenizer(random_tokenizer.make_proto(), 2)


def read(ids: list[int], stop: tuple[str, ...] = (), strip_start: bool = False) -> tuple[str, TextStream]:
    stream = TextStream(TOKENIZER, stop, strip_start)
    text = "".join(stream.feed(token) for token in ids) + stream.finish()
    return text, stream


def bytes_of(text: str) -> list[int]:
    """Return ``text`` spelled in byte tokens: every character is split."""
    return [3 + byte for byte in text.encode("utf-8")]


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=60))
def test_text_that_was_encoded_reads_the_same(text: str) -> None:
    ids = TOKENIZER.encode(text)
    expected = TOKENIZER._pieces.processor.DecodeIds(ids)
    assert read(ids)[0] == expected


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=40))
def test_characters_split_into_bytes_come_out_whole(text: str) -> None:
    stream = TextStream(TOKENIZER, strip_start=False)
    parts = [stream.feed(token) for token in [300, *bytes_of(text)]]
    parts.append(stream.finish())
    assert all("\ufffd" not in part or "\ufffd" in text for part in parts)
    assert "".join(parts).endswith(text)


@given(st.lists(st.integers(0, 1100), max_size=60))
def test_any_ids_at_all_give_valid_text(ids: list[int]) -> None:
    read(ids)[0].encode("utf-8")


def test_the_bytes_of_an_unfinished_character_are_dropped() -> None:
    ids = bytes_of("你👋")[:-1]
    text, stream = read(ids)
    assert text == "你"
    assert not stream.is_exact


def test_special_and_unknown_ids_are_no_text() -> None:
    text, stream = read([TOKENIZER.special["<|user|>"], TOKENIZER.special["[gMASK]"], 0x7FFF, 2, *bytes_of("好")])
    assert text == "好"
    assert stream.foreign == 4
    assert not stream.is_exact


def test_white_space_before_the_answer_is_dropped_once() -> None:
    ids = [*TOKENIZER.encode("\n"), *bytes_of(" \n 好\n 吗 ")]
    assert read(ids, strip_start=True)[0] == "好\n 吗 "


def test_a_stop_string_is_found_across_tokens() -> None:
    text, stream = read(bytes_of("一二STOP三"), ("STOP",))
    assert text == "一二"
    assert stream.stopped


def test_text_that_only_begins_like_a_stop_string_is_held_and_then_given() -> None:
    stream = TextStream(TOKENIZER, ("STOP",), strip_start=False)
    assert "".join(map(stream.feed, bytes_of("xSTO"))) == "x"
    assert "".join(map(stream.feed, bytes_of("X"))) == "STOX"
    assert "".join(map(stream.feed, bytes_of("ST"))) == ""
    assert stream.finish() == "ST"


def test_the_place_of_the_training_date_is_filled() -> None:
    stream = TextStream(TOKENIZER, strip_start=False)
    assert "".join(map(stream.feed, bytes_of("到[[训练时间"))) == "到"
    assert "".join(map(stream.feed, bytes_of("]]为止[[训练时间]]"))) == "2023年为止2023年"
    assert read(bytes_of("[[训练]]"))[0] == "[[训练]]"
    assert read(bytes_of("[[训练时间"))[0] == "[[训练时间"


def test_hundreds_of_stop_strings_cost_nothing() -> None:
    stops = tuple(f"{letter}{number}" for letter in "xyz" for number in range(400))
    assert read(bytes_of("天气y399好"), stops)[0] == "天气"


alphabet = st.text("ab好", max_size=24)


@given(alphabet, st.lists(st.text("ab好", min_size=1, max_size=3), max_size=4))
@settings(max_examples=300)
def test_stopping_is_the_same_as_cutting_the_whole_text(text: str, stops: list[str]) -> None:
    # What streams out is cut where, reading token by token, a stop string was first complete.
    ends = []
    for end in range(len(text) + 1):
        found = [text.find(stop, 0, end) for stop in stops if stop in text[:end]]
        if found:
            ends.append(min(found))
            break
    expected = text[: ends[0]] if ends else text
    got, stream = read(bytes_of(text), tuple(stops))
    assert got == expected
    assert stream.stopped == bool(ends)


def test_every_single_token_reads_as_sentencepiece_reads_it() -> None:
    decode = TOKENIZER._pieces.processor.DecodeIds
    for token in range(TOKENIZER.piece_count):
        if 3 <= token < 259:
            continue  # single bytes, most of them no characters
        expected = decode([300, token])[len(decode([300])) :] if token else ""  # 0: what has no piece
        stream = TextStream(TOKENIZER, strip_start=False)
        stream.feed(300)
        assert stream.feed(token) + stream.finish() == expected, token


def test_long_answers_are_read_in_linear_time() -> None:
    ids = random.Random(1).choices(range(259, 900), k=20_000)
    assert len(read(ids, ("never", "nor this"))[0]) > 20_000


@pytest.mark.parametrize("proto", [bytes(512), b"\xff" * 512, b"no tokenizer"])
def test_a_damaged_tokenizer_is_said_to_be_the_models_fault(proto: bytes) -> None:
    with pytest.raises(OneClickError) as told:
        ChatTokenizer(proto, 2)
    assert told.value.key == "model.damaged_tokenizer" and all(told.value.both())
