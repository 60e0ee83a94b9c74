"""The random-weight models: the same bytes everywhere, loaded and chatting in the real engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from sentencepiece import SentencePieceProcessor

from bundle.errors import StorageError, UsageError
from bundle.model import random_tokenizer
from bundle.model.random_model import model_plan, write_random_model
from oneclick.model.header import SPECIAL_TOKENS, pack_header
from oneclick.model.layout import expected_size
from oneclick.update.integrity import file_sha256
from tests.support.native_chat import chat


def vocabulary() -> SentencePieceProcessor:
    processor = SentencePieceProcessor()
    processor.LoadFromSerializedProto(random_tokenizer.make_proto())
    return processor


def test_the_same_arguments_give_the_same_bytes_on_every_machine(tmp_path: Path) -> None:
    write_random_model(tmp_path / "model.bin")
    assert file_sha256(tmp_path / "model.bin") == "617ae6dac4d5a3adf91264d43cd740f74abcb29e784f576ab9d5f1dc46829472"


def test_the_full_shape_is_the_published_file_to_the_byte_count() -> None:
    header, kinds, proto = model_plan("full", "q4_0", 0, 8192, 1)
    assert expected_size(header) == 3_514_297_136
    assert pack_header(header)[:40].hex().endswith("00fe000000100000200000001c0000008035000000200000")
    assert (len(kinds), len(proto)) == (64789, 1_018_370)


def test_the_tiny_vocabulary_has_no_spare_rows() -> None:
    header, kinds, _ = model_plan("tiny", "q4_0", 0, 8192, 1)
    assert header.vocab_size == len(kinds) + len(SPECIAL_TOKENS)


@pytest.mark.parametrize(
    "text", ["你好，世界", "hello world", "  two  spaces\n\ttab", "🙂 zażółć \U0001f9d1‍\U0001f4bb", "", "\x00\x7f"]
)
def test_any_text_can_be_encoded_and_comes_back(text: str) -> None:
    processor = vocabulary()
    ids = processor.Encode(text)
    assert processor.Decode(ids) == text
    assert 0 not in ids  # <unk>


def test_the_tokenizer_is_written_as_sentencepiece_writes_it() -> None:
    assert vocabulary().serialized_model_proto() == random_tokenizer.make_proto()


@pytest.mark.parametrize("dtype", ["q4_0", "q8_0", "f16"])
def test_the_engine_loads_it_and_says_words(tmp_path: Path, dtype: str) -> None:
    write_random_model(tmp_path / "模型.bin", dtype=dtype)
    (answer,) = chat(tmp_path / "模型.bin", "你好")
    pieces = [kind for _, _, kind in random_tokenizer.pieces()]
    assert all(pieces[token] == random_tokenizer.NORMAL for token in answer["answer"])
    assert len(set(answer["answer"])) > 5


def test_the_answer_depends_on_the_beginning_of_the_prompt(tmp_path: Path) -> None:
    write_random_model(tmp_path / "model.bin")
    first, second = chat(tmp_path / "model.bin", "one two three four five six", "ten two three four five six")
    assert first["answer"] != second["answer"]


def test_speech_of_bytes_is_made_of_bytes(tmp_path: Path) -> None:
    write_random_model(tmp_path / "model.bin", speech="bytes")
    (answer,) = chat(tmp_path / "model.bin", "你好")
    assert all(3 <= token < 259 for token in answer["answer"])


def test_padded_rows_soon_say_what_no_tokenizer_knows(tmp_path: Path) -> None:
    header = write_random_model(tmp_path / "model.bin", padded_vocab=5)
    (answer,) = chat(tmp_path / "model.bin", "你好")
    assert any(token >= header.vocab_size - 5 for token in answer["answer"])


def test_an_unknown_shape_or_type_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tiny, small, full"):
        write_random_model(tmp_path / "model.bin", "huge")
    with pytest.raises(UsageError, match="q4_0"):
        write_random_model(tmp_path / "model.bin", dtype="q3")


def test_without_room_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(StorageError, match="1000 are free"):
        write_random_model(tmp_path / "model.bin")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match=r"model\.bin cannot be written"):
        write_random_model(tmp_path / "file" / "model.bin")


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    write_random_model(tmp_path / "new" / "folder" / "model.bin")
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["model.bin"]
