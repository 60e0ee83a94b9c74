"""The acceptance kit on a model that nobody published: it proves what it can, and says what it cannot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bundle.check.accept import FAILED, LEFT_OUT, PASSED, Check, Report
from bundle.check.golden import CONVERSATIONS, ids_digest
from bundle.model.random_model import write_random_model
from tests.support.build_py import build_py


def report(*states: str) -> Report:
    made = Report("a.7z", "0" * 64, "m.bin", "1" * 64, "q4_0", "a PC")
    made.checks = [Check(f"check {number}", state, "a | b") for number, state in enumerate(states)]
    made.figures = {"answer, tokens/s": 8.04321}
    return made


@pytest.mark.parametrize(
    ("states", "code"),
    [((PASSED,), 0), ((PASSED, LEFT_OUT), 2), ((LEFT_OUT, FAILED, PASSED), 1)],
)
def test_what_failed_counts_more_than_what_was_left_out(states: tuple[str, ...], code: int) -> None:
    assert report(*states).exit_code == code


def test_the_report_is_a_table_for_people_and_json_for_programs() -> None:
    text = report(PASSED, FAILED).markdown()
    assert "| check 1 | failed | a / b |" in text
    assert "| answer, tokens/s | 8.04 |" in text
    assert json.loads(report(PASSED).to_json())["checks"][0]["state"] == PASSED


def test_a_prompts_digest_is_that_of_its_json() -> None:
    # The greeting's ids as chatglm.cpp's tests have them.
    assert ids_digest([64790, 64792, 64795, 30910, 13, 36474, 54591, 64796]) == CONVERSATIONS[0].ids_sha256


@pytest.mark.wine
def test_a_random_model_proves_what_it_can(built_archive: Path, tmp_path: Path) -> None:
    model = tmp_path / "random.bin"
    write_random_model(model, "tiny", speech="any")
    done = build_py("accept", model, "--archive", built_archive, "--output", tmp_path / "out")
    assert done.returncode == 2, done.stdout + done.stderr
    told = json.loads((tmp_path / "out" / "acceptance.json").read_text("utf-8"))
    states = {check["name"]: check["state"] for check in told["checks"]}
    assert states["the file is one of the catalogue"] == LEFT_OUT
    assert states["a greeting: the prompt's tokens"] == states["a tool is called: the answer"] == LEFT_OUT
    assert states["the same seed gives the same answer"] == PASSED
    assert states["tokens come with their probabilities"] == PASSED
    assert FAILED not in states.values()
    assert all(value > 0 for value in told["figures"].values())
    assert "chatglm_cpp 0.3.0" in (tmp_path / "out" / "acceptance.md").read_text("utf-8")


def test_a_file_that_is_no_model_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"<html>")
    (tmp_path / "a.7z").write_bytes(b"")
    done = build_py("accept", tmp_path / "model.bin", "--archive", tmp_path / "a.7z")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "model.bin" in done.stderr
