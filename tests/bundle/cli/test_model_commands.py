"""``build.py quantize`` and ``build.py inspect``: options in, exit code and facts out."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundle.cli.main import main
from bundle.model.random_checkpoint import write_random_checkpoint
from oneclick.model.header import read_header
from oneclick.update.integrity import file_sha256


def test_quantise_makes_the_file_and_tells_its_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_random_checkpoint(tmp_path / "w")
    made = tmp_path / "made.bin"
    assert main(["quantize", str(tmp_path / "w"), "-t", "q5_0", "-o", str(made), "--header-version", "2"]) == 0
    assert (read_header(made).dtype, read_header(made).version) == ("q5_0", 2)
    assert f"({made.stat().st_size} bytes)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["no such source"], 2),
        ([], 2),
        (["{weights}", "-t", "q3"], 2),
        (["{weights}", "--check"], 4),
        (["{weights}", "--header-version", "3"], 2),
        (["{weights}", "--shape-test", "tiny"], 2),
        (["{weights}", "-o", "{weights}/config.json/x.bin"], 7),
    ],
)
def test_failures_have_their_exit_codes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], code: int
) -> None:
    weights = tmp_path / "w"
    write_random_checkpoint(weights)
    arguments = [option.format(weights=weights) for option in options]
    if "-o" not in arguments:
        arguments += ["-o", str(tmp_path / "made.bin")]
    assert main(["quantize", *arguments]) == code
    assert "Traceback" not in capsys.readouterr().err
    assert not (tmp_path / "made.bin").exists()


def test_a_shape_test_is_written_and_inspected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = tmp_path / "random.bin"
    assert main(["quantize", "--shape-test", "tiny", "-t", "q8_0", "-o", str(made)]) == 0
    assert main(["inspect", str(made), "--tensors"]) == 0
    out = capsys.readouterr().out
    assert "ChatGLM3, q8_0, file version 1" in out
    assert file_sha256(made) in out
    assert "transformer.output_layer.weight" in out


def test_what_is_no_model_is_not_inspected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "page.bin").write_text("<!DOCTYPE html>")
    assert main(["inspect", str(tmp_path / "page.bin")]) == 2
    assert "web page" in capsys.readouterr().err
