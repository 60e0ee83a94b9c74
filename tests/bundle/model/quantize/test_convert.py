"""Converting: resumed after interruptions, complete or absent, within memory and disk."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bundle.errors import DigestMismatch, StorageError, UsageError
from bundle.log import Log
from bundle.model.quantize import convert, published, quantize
from bundle.model.quantize.partial import PartialModel
from bundle.model.random_checkpoint import write_random_checkpoint
from oneclick.model.check import check_model
from oneclick.model.header import read_header
from oneclick.model.layout import tensor_layout
from tests.support.native_chat import chat

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "chatglm3-6b"
    write_random_checkpoint(folder)
    return folder


def quiet() -> Log:
    return Log(stream=io.StringIO())


def test_the_result_chats_in_the_engine(folder: Path, tmp_path: Path) -> None:
    quantize(folder, "q4_0", tmp_path / "chatglm3-ggml.bin", log=quiet())
    (answer,) = chat(tmp_path / "chatglm3-ggml.bin", "你好")
    assert len(answer["answer"]) == 30


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_the_number_of_workers_changes_nothing(folder: Path, tmp_path: Path, workers: int) -> None:
    quantize(folder, "q5_1", tmp_path / "one", workers=1, log=quiet())
    quantize(folder, "q5_1", tmp_path / "many", workers=workers, log=quiet())
    assert (tmp_path / "one").read_bytes() == (tmp_path / "many").read_bytes()


def test_small_pieces_change_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quantize(folder, "q4_1", tmp_path / "large", log=quiet())
    monkeypatch.setattr(convert, "PIECE_VALUES", 700)
    quantize(folder, "q4_1", tmp_path / "small", log=quiet())
    assert (tmp_path / "large").read_bytes() == (tmp_path / "small").read_bytes()


def test_only_the_finished_file_is_left(folder: Path, tmp_path: Path) -> None:
    made = quantize(folder, "q8_0", tmp_path / "out" / "model.bin", log=quiet())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model.bin"]
    assert made.size_bytes == made.path.stat().st_size
    assert made.header == read_header(made.path)


def test_an_interrupted_run_keeps_finished_tensors_and_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quantize(folder, "q4_0", tmp_path / "whole", log=quiet())
    done: list[str] = []
    note = PartialModel.done

    def interrupt(self: PartialModel, name: str) -> None:
        note(self, name)
        done.append(name)
        if len(done) == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(PartialModel, "done", interrupt)
    with pytest.raises(KeyboardInterrupt):
        quantize(folder, "q4_0", tmp_path / "model.bin", log=quiet())
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.bin.part", "model.bin.part.json", "whole"]
    made = quantize(folder, "q4_0", tmp_path / "model.bin", log=quiet())
    assert made.resumed_tensors == 6
    assert (tmp_path / "model.bin").read_bytes() == (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize("change", ["type", "weights", "config"])
def test_the_part_of_another_job_is_not_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    write_random_checkpoint(tmp_path / "w")
    monkeypatch.setattr(PartialModel, "complete", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        quantize(tmp_path / "w", "q4_0", tmp_path / "model.bin", log=quiet())
    monkeypatch.undo()
    if change == "weights":
        write_random_checkpoint(tmp_path / "w", seed=1)
    if change == "config":
        write_random_checkpoint(tmp_path / "w", eos_token_id=7)
    dtype = "q4_1" if change == "type" else "q4_0"
    made = quantize(tmp_path / "w", dtype, tmp_path / "model.bin", log=quiet())
    assert made.resumed_tensors == 0
    quantize(tmp_path / "w", dtype, tmp_path / "fresh", log=quiet())
    assert (tmp_path / "model.bin").read_bytes() == (tmp_path / "fresh").read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="kills with SIGKILL")
def test_a_killed_run_goes_on_where_the_disk_says(folder: Path, tmp_path: Path) -> None:
    """Killed at moments spread over the run; whatever the state file says is finished really is."""
    quantize(folder, "q4_0", tmp_path / "whole", log=quiet())
    script = (
        "import sys, time; from pathlib import Path; from bundle.model.quantize import convert, partial, quantize\n"
        "partial.SAVE_EVERY_S = 0; convert.PIECE_VALUES = 4096; write = convert._write_at\n"
        "convert._write_at = lambda *a: (time.sleep(0.002), write(*a))\n"
        "quantize(sys.argv[1], 'q4_0', Path(sys.argv[2]), workers=2)"
    )
    root = Path(__file__).parents[4]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'payload'}"}
    kills = 0
    for patience_s in (0.05, 0.1, 0.2, 0.3):
        output = tmp_path / "model.bin"
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(folder), str(output)], env=environment, stderr=subprocess.DEVNULL
        )
        part = tmp_path / "model.bin.part.json"
        deadline = time.monotonic() + 60
        while process.poll() is None and not part.exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(patience_s)
        kills += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        if output.exists():
            break
    assert kills
    quantize(folder, "q4_0", tmp_path / "model.bin", log=quiet())
    assert (tmp_path / "model.bin").read_bytes() == (tmp_path / "whole").read_bytes()


def test_without_room_nothing_is_begun(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100_000})())
    with pytest.raises(StorageError, match=r"no room for model\.bin") as caught:
        quantize(folder, "q4_0", tmp_path / "model.bin", log=quiet())
    assert "100.0 kB are free" in caught.value.why
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_keeps_what_is_finished(folder: Path, tmp_path: Path) -> None:
    """A real full disk: the process may write files of 60 000 bytes only."""
    script = (
        "import resource, signal, sys; from pathlib import Path; from bundle.model.quantize import quantize\n"
        "from bundle.errors import StorageError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000))\n"
        "try: quantize(sys.argv[1], 'q4_0', Path(sys.argv[2]))\n"
        "except StorageError as error: print(error)"
    )
    root = Path(__file__).parents[4]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'payload'}"}
    command = [sys.executable, "-c", script, str(folder), str(tmp_path / "model.bin")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "model.bin is too large for this disk" in done.stdout
    assert not (tmp_path / "model.bin").exists()


def test_the_previous_file_stays_when_a_run_fails(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.bin").write_bytes(b"previous")
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100})())
    with pytest.raises(StorageError):
        quantize(folder, "q4_0", tmp_path / "model.bin", log=quiet())
    assert (tmp_path / "model.bin").read_bytes() == b"previous"


def test_weights_that_are_not_numbers_are_told_with_their_place(tmp_path: Path) -> None:
    write_random_checkpoint(tmp_path / "w", shards=1)
    file = tmp_path / "w" / "model-00001-of-00001.safetensors"
    data = bytearray(file.read_bytes())
    data[-2:] = b"\x00\x7c"  # infinity, the last weight of the output layer
    file.write_bytes(data)
    with pytest.raises(
        UsageError, match=r"transformer\.output_layer\.weight, rows 0 to 1006, holds infinity"
    ) as caught:
        quantize(tmp_path / "w", "q4_0", tmp_path / "model.bin", log=quiet())
    assert "model-00001-of-00001.safetensors" in caught.value.what


def test_check_refuses_what_was_never_published(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DigestMismatch, match="063592a0113e5f15d80303a21ce2aa3c7fd13b1b000fb91890cda4d2dc2467bc"):
        quantize(folder, "q4_0", tmp_path / "model.bin", check=True, log=quiet())
    assert [path.name for path in tmp_path.iterdir()] == ["model.bin.bad"]


def test_check_of_what_nobody_published_is_refused_before_any_work(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="q5_0 with this context cannot be checked"):
        quantize(folder, "q5_0", tmp_path / "model.bin", check=True, log=quiet())
    assert list(tmp_path.iterdir()) == []


def test_check_names_the_published_model(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    golden = json.loads((Path(__file__).parent / "golden.json").read_text())["half 0.3.0"]["q4_0"]
    monkeypatch.setitem(published.PUBLISHED, golden, "ChatGLM3-6B q4_0")
    made = quantize(folder, "q4_0", tmp_path / "model.bin", check=True, log=quiet())
    assert (made.sha256, made.published) == (golden, "ChatGLM3-6B q4_0")


@pytest.mark.parametrize(
    ("source", "told"), [("no such place", "neither a folder nor a hub id"), (__file__, "it is a file")]
)
def test_a_source_that_is_none_is_told(source: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=told):
        quantize(source, "q4_0", tmp_path / "model.bin", log=quiet())


@pytest.mark.parametrize(
    ("dtype", "version", "told"), [("q2_k", 1, "use f32, f16, q4_0"), ("q4_0", 3, "there are 1 and 2")]
)
def test_unknown_types_and_versions_are_refused(
    folder: Path, tmp_path: Path, dtype: str, version: int, told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        quantize(folder, dtype, tmp_path / "model.bin", header_version=version, log=quiet())


def test_the_long_context_in_an_old_header_is_warned_of(tmp_path: Path) -> None:
    write_random_checkpoint(tmp_path / "w", rope_ratio=50, seq_length=32768)
    log = quiet()
    quantize(tmp_path / "w", "q4_0", tmp_path / "one.bin", log=log)
    assert "rope_ratio 50" in log.warnings[0]
    quantize(tmp_path / "w", "q4_0", tmp_path / "two.bin", header_version=2, log=log)
    assert len(log.warnings) == 1
    assert check_model(tmp_path / "two.bin").rope_theta == 500_000


def test_memory_stays_small_whatever_the_size_of_a_tensor(tmp_path: Path) -> None:
    """Two matrices of 54 MB each as float32 are converted within the memory of a few pieces."""
    write_random_checkpoint(tmp_path / "w", "small", padded_vocab=25_394)
    script = (
        "import sys; from pathlib import Path; from bundle.model.quantize import quantize\n"
        "def peak(): return int(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1])\n"
        "import sentencepiece; before = peak(); quantize(sys.argv[1], 'q4_0', Path(sys.argv[2]), workers=2)\n"
        "print(peak() - before)"
    )
    root = Path(__file__).parents[4]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'payload'}"}
    command = [sys.executable, "-c", script, str(tmp_path / "w"), str(tmp_path / "model.bin")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100_000
    assert tensor_layout(read_header(tmp_path / "model.bin"))[0].shape == (26_400, 512)
