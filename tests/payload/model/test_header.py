"""Headers, sizes, damage, memory and digests of model files."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.model.random_model import write_random_model
from oneclick.errors import OneClickError
from oneclick.hashing import DigestMemory, digest_of, sha256_of
from oneclick.messages import both, model
from oneclick.model import header as model_file
from oneclick.model.check import check_model, read_tokenizer, readable_versions
from oneclick.model.header import DTYPES, HEADER_BYTES, ModelHeader, kind_of, parse_header, read_header
from oneclick.model.layout import expected_size, tensor_layout
from oneclick.model.memory import memory_need

REAL_START = bytes.fromhex(
    "67676d6c030000000100000002000000 00fe0000001000002000 00001c0000008035000000200000".replace(" ", "")
)
"""The first 40 bytes of the published chatglm3-ggml.bin (q4_0, 8k)."""
REAL_REST = struct.pack("<6i", -1, 2, 0, -1, 2, 1_018_370)
"""bos, eos, pad, sep, kv heads, and the size of tokenizer.model."""
PUBLISHED_SIZES = {
    "q4_0": 3_514_297_136,
    "q4_1": 3_904_498_480,
    "q5_0": 4_294_699_824,
    "q5_1": 4_684_901_168,
    "q8_0": 6_635_907_888,
    "f16": 12_488_928_048,
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "chatglm3-ggml.bin"
    write_random_model(path)
    return path


def real_header() -> ModelHeader:
    return parse_header((REAL_START + REAL_REST).ljust(HEADER_BYTES, b"\0"))


def key_of(path: Path, **options: object) -> str:
    with pytest.raises(OneClickError) as caught:
        check_model(path, **options)  # type: ignore[arg-type]
    return caught.value.key


def test_the_published_header_is_understood() -> None:
    header = real_header()
    assert (header.architecture, header.version, header.dtype) == ("ChatGLM3", 1, "q4_0")
    assert (header.vocab_size, header.hidden_size, header.num_layers) == (65024, 4096, 28)
    assert (header.num_heads, header.num_kv_heads, header.intermediate_size) == (32, 2, 13696)
    assert (header.sequence_length, header.eos_token_id, header.pad_token_id) == (8192, 2, 0)
    assert (header.tokenizer_offset, header.tokenizer_length) == (64, 1_018_370)


@pytest.mark.parametrize(("dtype", "size_bytes"), PUBLISHED_SIZES.items())
def test_the_computed_size_is_the_published_one(dtype: str, size_bytes: int) -> None:
    assert expected_size(dataclasses.replace(real_header(), dtype=dtype)) == size_bytes


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_written_model_reads_back(tmp_path: Path, dtype: str, version: int) -> None:
    path = tmp_path / "model.bin"
    written = write_random_model(path, dtype=dtype, header_version=version, sequence_length=32768)
    assert check_model(path) == written
    assert path.stat().st_size == expected_size(written)


def test_every_tensor_starts_at_a_multiple_of_sixteen(tiny: Path) -> None:
    assert all(tensor.offset % 16 == 0 for tensor in tensor_layout(read_header(tiny)))


def test_the_tokenizer_inside_is_one_that_sentencepiece_reads(tiny: Path) -> None:
    from sentencepiece import SentencePieceProcessor

    processor = SentencePieceProcessor()
    processor.LoadFromSerializedProto(read_tokenizer(tiny))
    assert processor.Decode(processor.Encode("你好 hello 🙂")) == "你好 hello 🙂"


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (b"", "model.empty"),
        (b"<!DOCTYPE html><html><body>403</body></html>", "model.html"),
        (b"\xef\xbb\xbf\r\n <html lang='zh'>", "model.html"),
        (b'{"Code":10010205001,"Message":"not found"}', "model.text"),
        ("下载链接已过期，请重新获取".encode() * 3, "model.text"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0635\nsize 3514297136\n", "model.lfs_pointer"),
        (b"GGUF\x03\x00\x00\x00" + bytes(60), "model.gguf"),
        (b"PK\x03\x04" + bytes(60), "model.archive"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(60), "model.archive"),
        (struct.pack("<Q", 100) + b'{"a":{}}', "model.archive"),
        (bytes(4096), "model.zeros"),
        (b"lmgg" + bytes(range(1, 80)), "model.not_a_model"),
        (b"ggml", "model.truncated"),
        (REAL_START, "model.truncated"),
    ],
)
def test_a_file_that_is_no_model_is_named_for_what_it_is(tmp_path: Path, content: bytes, key: str) -> None:
    path = tmp_path / "chatglm3-ggml.bin"
    path.write_bytes(content)
    assert key_of(path) == key


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    assert key_of(tmp_path / "none.bin") == "model.missing"
    assert key_of(tmp_path) == "model.not_a_file"


def test_a_file_the_system_does_not_open_is_told_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    with socket.socket(socket.AF_UNIX) as held:  # exists, but open() fails, also for root
        held.bind(str(path))
        with pytest.raises(OneClickError, match="No such device") as caught:
            check_model(path)
    assert caught.value.key == "model.unreadable"


def test_a_disk_that_fails_while_reading_is_told(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.symlink_to("/proc/self/mem")  # opens, then answers reads at its start with an I/O error
    assert key_of(path) == "model.unreadable"
    with pytest.raises(OneClickError) as caught:
        sha256_of(path)
    assert caught.value.key == "model.unreadable"


def test_a_file_that_went_away_is_missing(tmp_path: Path) -> None:
    with pytest.raises(OneClickError) as caught:
        digest_of(tmp_path / "gone.bin", DigestMemory(tmp_path / "digests.json"))
    assert caught.value.key == "model.missing"


@pytest.mark.parametrize("number", [1, 2, 4, 1024, 1280, 77])
def test_another_architecture_is_refused_by_name(tmp_path: Path, tiny: Path, number: int) -> None:
    path = tmp_path / "other.bin"
    data = bytearray(tiny.read_bytes())
    data[4:8] = struct.pack("<i", number)
    path.write_bytes(data)
    with pytest.raises(OneClickError, match=model_file.ARCHITECTURES.get(number, "77")) as caught:
        check_model(path)
    assert caught.value.key == "model.wrong_architecture"


@pytest.mark.parametrize(
    ("offset", "value", "key"),
    [
        (8, 3, "model.unknown_version"),
        (12, 5, "model.unknown_dtype"),
        (16, 0, "model.bad_header"),
        (20, 4095, "model.bad_header"),
        (24, 7, "model.bad_header"),
        (28, 1_000_000, "model.bad_header"),
        (32, -32, "model.bad_header"),
        (36, 0, "model.bad_header"),
        (56, 3, "model.bad_header"),
        (60, 1 << 30, "model.bad_header"),
        (60, -1, "model.bad_header"),
    ],
)
def test_an_impossible_figure_is_refused(tmp_path: Path, tiny: Path, offset: int, value: int, key: str) -> None:
    path = tmp_path / "odd.bin"
    data = bytearray(tiny.read_bytes())
    data[offset : offset + 4] = struct.pack("<i", value)
    path.write_bytes(data)
    assert key_of(path) == key


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.99])
def test_a_file_cut_off_anywhere_is_told_with_both_sizes(tmp_path: Path, tiny: Path, share: float) -> None:
    path = tmp_path / "cut.bin"
    data = tiny.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(OneClickError, match=f"{int(len(data) * share)}.*{len(data)}") as caught:
        check_model(path)
    assert caught.value.key == "model.truncated"


def test_a_tokenizer_cut_off_is_not_returned(tmp_path: Path, tiny: Path) -> None:
    path = tmp_path / "cut.bin"
    path.write_bytes(tiny.read_bytes()[:5000])
    with pytest.raises(OneClickError) as caught:
        read_tokenizer(path)
    assert caught.value.key == "model.truncated"


def test_bytes_at_the_end_are_not_ignored(tmp_path: Path, tiny: Path) -> None:
    path = tmp_path / "long.bin"
    path.write_bytes(tiny.read_bytes() + b"\0")
    assert key_of(path) == "model.too_long"


def test_a_damaged_tensor_record_is_found_before_the_engine_walks_into_it(tmp_path: Path, tiny: Path) -> None:
    data = bytearray(tiny.read_bytes())
    record = tensor_layout(read_header(tiny))[7].record_offset
    data[record + 10] ^= 1
    path = tmp_path / "damaged.bin"
    path.write_bytes(data)
    assert key_of(path) == "model.damaged_tensor"


@pytest.mark.parametrize(
    ("engine", "works"), [("0.3.0", False), ("0.3.0+oneclick.1", False), ("0.3.2", True), ("0.4.2", True)]
)
def test_a_version_2_file_is_only_given_to_engines_that_read_it(tmp_path: Path, engine: str, works: bool) -> None:
    path = tmp_path / "new.bin"
    write_random_model(path, header_version=2)
    if works:
        assert check_model(path, engine=engine, readable_versions=readable_versions(engine)).version == 2
    else:
        assert key_of(path, engine=engine, readable_versions=readable_versions(engine)) == "model.version_unreadable"


@settings(max_examples=300, deadline=None)
@given(st.binary(min_size=0, max_size=120))
def test_any_bytes_at_all_are_either_a_header_or_a_sentence(tail: bytes) -> None:
    for head in (tail, model_file.MAGIC + tail, (REAL_START + REAL_REST)[: 70 - len(tail) % 70] + tail):
        kind_of(head)
        with contextlib.suppress(OneClickError):
            assert expected_size(parse_header(head)) > 0


@pytest.mark.parametrize("key", model.TABLE)
def test_every_sentence_can_be_said_in_both_languages(key: str) -> None:
    names = ("name", "reason", "kind", "architecture", "code", "known", "field", "value", "version", "engine", "got")
    names += ("readable", "have_bytes", "need_bytes", "extra_bytes", "offset", "expected")
    chinese, english = both(f"model.{key}", **dict.fromkeys(names, 1))
    assert chinese != english
    assert max(chinese.count("\n"), english.count("\n")) <= 3


def test_the_real_model_fits_into_8_gb_with_a_short_context_only() -> None:
    header = real_header()
    assert memory_need(header, 2048).total_bytes < 4.5e9
    assert 4.5e9 < memory_need(header, 8192).total_bytes < 5.0e9  # in chunks of 256, as the worker evaluates them


def test_keys_and_values_are_counted_as_the_engine_allocates_them() -> None:
    need = memory_need(real_header(), 8192)
    assert need.kv_bytes == 2 * 28 * 8192 * 2 * 128 * 2
    assert need.reserved_bytes > need.kv_bytes + (512 + 1280) * (1 << 20)


def test_a_shorter_context_needs_less_but_reserves_the_same() -> None:
    header = dataclasses.replace(real_header(), sequence_length=32768)
    short, long = memory_need(header, 1024), memory_need(header)
    assert short.total_bytes < long.total_bytes
    assert short.reserved_bytes == long.reserved_bytes


def test_hashing_reports_progress_and_can_be_stopped(tiny: Path) -> None:
    seen: list[tuple[int, int]] = []
    digest = sha256_of(tiny, progress=lambda done, total: seen.append((done, total)))
    assert len(digest) == 64
    assert seen[-1] == (tiny.stat().st_size, tiny.stat().st_size)
    with pytest.raises(OneClickError) as caught:
        sha256_of(tiny, cancel=lambda: True)
    assert caught.value.key == "model.cancelled"


def test_a_digest_is_remembered_until_the_file_changes(tmp_path: Path, tiny: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(tiny.read_bytes())
    memory = DigestMemory(tmp_path / "logs" / "digests.json")
    first = digest_of(path, memory)
    assert digest_of(path, memory, cancel=lambda: True) == first  # not hashed again: nothing to cancel
    path.write_bytes(tiny.read_bytes() + b"x")
    assert memory.recall(path) is None
    assert digest_of(path, memory) != first


@pytest.mark.parametrize("content", [b"", b"nonsense", b"[]", b'{"model.bin": [1]}', b'{"model.bin": 7}', b"\xff\xfe"])
def test_a_damaged_memory_costs_one_hashing_only(tmp_path: Path, tiny: Path, content: bytes) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(tiny.read_bytes())
    memory = DigestMemory(tmp_path / "digests.json")
    (tmp_path / "digests.json").write_bytes(content)
    assert digest_of(path, memory) == sha256_of(path)
    assert memory.recall(path) == sha256_of(path)


def test_a_memory_that_cannot_be_written_is_no_error(tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    assert len(digest_of(tiny, DigestMemory(tmp_path / "logs" / "digests.json"))) == 64


@given(st.integers(0, 10**9))
@settings(max_examples=60, deadline=None)
def test_512_zeroed_bytes_anywhere_in_the_tokenizer_are_found(tiny: Path, somewhere: int) -> None:
    header = read_header(tiny)
    at = header.tokenizer_offset + somewhere % (header.tokenizer_length - 512)
    damaged = tiny.with_name("damaged.bin")
    data = bytearray(tiny.read_bytes())
    data[at : at + 512] = bytes(512)
    damaged.write_bytes(data)
    with pytest.raises(OneClickError) as told:
        check_model(damaged)
    assert told.value.key == "model.damaged_tokenizer" and all(told.value.both())


def test_a_tokenizer_with_more_pieces_than_the_model_has_rows_is_refused(tiny: Path, tmp_path: Path) -> None:
    """The engine would look for a row that is not there."""
    header = read_header(tiny)
    assert check_model(tiny) == header
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("oneclick.model.check.SPECIAL_TOKENS", ("x",) * header.vocab_size)
        assert key_of(tiny) == "model.damaged_tokenizer"


def test_a_whole_model_that_another_program_writes_to_is_not_called_damaged(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A seeding download tool: Python may read the file, the engine, which lets nobody write, may not open it."""
    monkeypatch.setattr("oneclick.model.check.is_being_written", lambda path: True)
    with pytest.raises(OneClickError) as told:
        check_model(tiny)
    assert told.value.key == "model.held" and "no need to delete" in told.value.both()[1]
    cut = tmp_path / "cut.bin"
    cut.write_bytes(tiny.read_bytes()[:-1])
    assert key_of(cut) == "model.truncated", "a copy under way still shows how far it is"


@pytest.mark.parametrize(("is_held", "key"), [(True, "model.held"), (False, "model.unreadable")])
def test_a_model_that_may_not_be_read_now_is_told_from_one_that_may_never(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, is_held: bool, key: str
) -> None:
    """open() says EACCES for both."""

    def refuse(path: Path, *_: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr("oneclick.files.is_being_written", lambda path: is_held)
    assert key_of(tiny) == key
