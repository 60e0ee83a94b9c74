"""The report on a model file."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundle.errors import UsageError
from bundle.model.inspect import inspect_model
from bundle.model.quantize import published
from bundle.model.random_model import write_random_model
from oneclick.model.header import read_header
from oneclick.model.layout import tensor_layout
from oneclick.update.integrity import file_sha256


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    write_random_model(tmp_path / "chatglm3-ggml.bin")
    return tmp_path / "chatglm3-ggml.bin"


def lines_of(text: str) -> dict[str, str]:
    return {line[2:14].strip(): line[14:] for line in reversed(text.splitlines()[1:])}


def test_the_report_tells_header_size_and_digest(tiny: Path) -> None:
    lines = lines_of(inspect_model(tiny).text())
    assert lines["model"] == "ChatGLM3, q4_0, file version 1"
    assert lines["size"] == f"{tiny.stat().st_size} B (131.4 kB)"
    assert lines["state"] == "complete"
    assert lines["sha256"] == file_sha256(tiny)
    assert lines["published"] == "no published file known has this digest"
    assert lines["vocabulary"] == "1006 rows: 997 pieces, 9 special, 0 unused"
    assert lines["token ids"] == "eos 2, pad 0"
    assert lines["tensors"] == "10 q4_0, 113.9 kB"


def test_every_tensor_is_listed_on_request(tiny: Path) -> None:
    text = inspect_model(tiny, digest=False).text(tensors=True)
    layout = tensor_layout(read_header(tiny))
    assert text.splitlines()[-1].endswith("transformer.output_layer.weight")
    assert all(tensor.name in text for tensor in layout)
    assert "not computed" in text


def test_a_published_file_is_recognised(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(published.PUBLISHED, file_sha256(tiny), "ChatGLM3-6B q4_0")
    assert inspect_model(tiny).published == "ChatGLM3-6B q4_0"


def test_the_engines_that_load_it_are_named(tmp_path: Path, tiny: Path) -> None:
    assert inspect_model(tiny).engines == "chatglm_cpp 0.3.0 to 0.4.2"
    write_random_model(tmp_path / "new.bin", header_version=2)
    assert "not 0.3.0" in inspect_model(tmp_path / "new.bin").engines


def test_memory_is_told_for_every_context_the_model_takes(tmp_path: Path) -> None:
    write_random_model(tmp_path / "long.bin", sequence_length=32768)
    report = inspect_model(tmp_path / "long.bin", digest=False)
    assert list(report.memory) == [2048, 4096, 8192, 32768]
    assert report.text().count("memory ") == 4


@pytest.mark.parametrize("kept", [0.3, 0.9999])
def test_a_file_cut_off_still_has_a_report(tiny: Path, kept: float) -> None:
    data = tiny.read_bytes()
    tiny.write_bytes(data[: int(len(data) * kept)])
    report = inspect_model(tiny, digest=False)
    assert "incomplete" in report.problem
    assert "incomplete" in lines_of(report.text())["state"]


def test_a_damaged_tokenizer_is_told(tiny: Path) -> None:
    data = bytearray(tiny.read_bytes())
    data[64:80] = b"\xff" * 16
    tiny.write_bytes(data)
    assert "tokenizer" in inspect_model(tiny, digest=False).problem


@pytest.mark.parametrize("content", [b"", b"<html>", b"GGUF" + bytes(100), b"random bytes" * 10])
def test_what_is_no_model_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(UsageError, match=r"x\.bin is not a model file"):
        inspect_model(tmp_path / "x.bin")
