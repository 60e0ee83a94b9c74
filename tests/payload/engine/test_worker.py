"""The worker process on the real engine: exactness of the kept cache, cancelling, refusing, dying with its parent."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from oneclick.engine.child import WorkerProcess
from tests.payload.engine.worker_client import TIMEOUT_S, Generated, WorkerClient

Models = Callable[..., Path]


def words(seed: int, length: int) -> list[int]:
    """Return random ids of ordinary pieces of the tiny tokenizer."""
    return random.Random(seed).choices(range(259, 990), k=length)


@pytest.fixture(params=["tiny", "small"])
def model(request: pytest.FixtureRequest, models: Models) -> Path:
    return models(request.param)


class Reference:
    """A second worker that evaluates every prompt as a whole, to compare answers with.

    Kept and whole evaluation add the same numbers in another order, so that once in a while two nearly equal logits of
    a random model change places and the rest of an answer differs. A wrong cache changes nearly every token.
    """

    def __init__(self, model: Path, engine: Path) -> None:
        self.client = WorkerClient(model, engine)
        self._equal = self._compared = 0

    def compare(self, generated: Generated, ids: list[int]) -> None:
        whole = self.client.generate(ids, max(1, len(generated.tokens)), keep=False).tokens
        pairs = list(zip(generated.tokens, whole, strict=True))
        first = next((index for index, (one, other) in enumerate(pairs) if one != other), len(pairs))
        self._equal += first
        self._compared += len(pairs)

    @property
    def share(self) -> float:
        """How much of the compared answers was equal up to their first difference."""
        return self._equal / self._compared


@pytest.fixture
def reference(model: Path, engine: Path) -> Iterator[Reference]:
    reference = Reference(model, engine)
    yield reference
    reference.client.worker.stop()


def test_a_growing_conversation_answers_as_if_evaluated_anew(engine: Path, model: Path, reference: Reference) -> None:
    ids = words(1, 40)
    with WorkerClient(model, engine) as client:
        for turn in range(6):
            generated = client.generate(ids, 10)
            reference.compare(generated, ids)
            if turn and client.ready["chunked"]:
                assert generated.evaluated <= 21
            ids += generated.tokens + words(10 + turn, 20)
    assert reference.share > 0.8


def test_the_answers_of_the_test_models_depend_on_the_whole_prompt(
    engine: Path, model: Path, reference: Reference
) -> None:
    # Otherwise equal answers would prove nothing about the cache.
    with WorkerClient(model, engine) as client:
        for seed in range(20, 30):
            ids = words(seed, 60)
            reference.compare(client.generate(ids, 4), [ids[0] + 1, *ids[1:]])
    assert reference.share < 0.4


def test_a_foreign_request_in_between_leaves_the_conversation_exact_and_cheap(
    engine: Path, model: Path, reference: Reference
) -> None:
    with WorkerClient(model, engine) as client:
        for seed in range(3):
            conversation, title = words(30 + seed, 300), words(40 + seed, 30)
            first = client.generate(conversation, 8)
            foreign = client.generate(title, 8)
            longer = conversation + first.tokens + words(50 + seed, 15)
            again = client.generate(longer, 8)
            reference.compare(foreign, title)
            reference.compare(again, longer)
            if client.ready["chunked"]:
                # What the title overwrote, the last answer's last token, and the new words.
                assert again.evaluated <= 30 + 8 + 1 + 15
    assert reference.share > 0.8


def test_shorter_prompts_and_other_branches_are_exact(engine: Path, model: Path, reference: Reference) -> None:
    ids = words(6, 120)
    with WorkerClient(model, engine) as client:
        client.generate(ids, 8)
        for prompt in (ids[:119], ids[:60], ids[:3], ids[:1], ids[:100] + words(7, 20), ids[:50] + words(8, 90)):
            reference.compare(client.generate(prompt, 8), prompt)
    assert reference.share > 0.8


def test_after_cancelled_requests_answers_are_exact(engine: Path, model: Path, reference: Reference) -> None:
    chance = random.Random(8)
    trunk = words(9, 400)
    with WorkerClient(model, engine) as client:
        for step in range(12):
            ids = trunk[: chance.randrange(1, 400)] + words(100 + step, chance.randrange(30))
            number = client.start(ids, 40)
            time.sleep(chance.random() * 0.05)
            client.worker.send({"op": "cancel", "id": number})
            client.collect(number)
            reference.compare(client.generate(ids, 6), ids)
    assert reference.share > 0.8


def test_chunks_give_the_released_engines_answers(our_engine: Path, released_engine: Path, models: Models) -> None:
    reference = Reference(models("tiny"), released_engine)
    with WorkerClient(models("tiny"), our_engine) as client, reference.client:
        for seed in range(60, 66):
            ids = words(seed, 1500)
            generated = client.generate(ids, 8)
            assert len(generated.prompts) > 3
            reference.compare(generated, ids)
    assert reference.share > 0.8


def test_progress_counts_up_to_the_whole_prompt(engine: Path, models: Models) -> None:
    with WorkerClient(models("tiny"), engine) as client:
        prompts = client.generate(words(12, 700), 2).prompts
    done = [event["done"] for event in prompts]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, 700)
    assert prompts[-1]["left_s"] == 0


def test_a_cancelled_generation_ends_after_the_current_token(engine: Path, models: Models) -> None:
    with WorkerClient(models("small"), engine) as client:
        number = client.start(words(13, 20), 8000)
        while client.next_event()["event"] != "token":
            pass
        client.worker.send({"op": "cancel", "id": number})
        assert client.collect(number).done["reason"] == "cancelled"
        assert len(client.generate(words(14, 5), 3).tokens) == 3


def test_our_engine_stops_between_the_chunks_of_a_prompt(our_engine: Path, models: Models) -> None:
    with WorkerClient(models("small"), our_engine) as client:
        number = client.start(words(15, 7000), 5)
        while client.next_event()["done"] == 0:
            pass
        client.worker.send({"op": "cancel", "id": number})
        generated = client.collect(number)
    assert generated.done["reason"] == "cancelled"
    assert generated.tokens == []


def test_the_longest_context_is_survived(our_engine: Path, models: Models) -> None:
    with WorkerClient(models("tiny"), our_engine) as client:
        generated = client.generate(words(16, 8180), 12)
    assert len(generated.tokens) == 12


def test_a_stop_token_ends_the_answer_and_is_named(engine: Path, models: Models) -> None:
    with WorkerClient(models("tiny"), engine) as client:
        first = client.generate(words(17, 10), 6).tokens
        client.worker.send(
            {
                "op": "generate",
                "id": 99,
                "ids": words(17, 10),
                "max_new": 6,
                "stop_tokens": [first[2]],
                "sampling": {"greedy": True},
            }
        )
        generated = client.collect(99)
    assert generated.done["reason"] == "stop"
    assert generated.done["stop_token"] == first[2]
    assert generated.tokens == first[: first.index(first[2])]


def test_a_file_that_is_no_model_is_refused_with_words(engine: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"<html>not a model</html>" * 100)
    with WorkerClient(path, engine) as client:
        assert client.ready["event"] == "load_failed"
        assert client.ready["key"] == "server.model_refused"
        assert client.ready["values"]["name"] == "model.bin"


def test_a_missing_model_does_not_start_a_conversion(engine: Path, tmp_path: Path) -> None:
    with WorkerClient(tmp_path / "gone.bin", engine) as client:
        assert client.ready["key"] == "server.model_refused"


def test_an_engine_that_cannot_be_imported_is_told(tmp_path: Path, models: Models) -> None:
    package = tmp_path / "chatglm_cpp"
    package.mkdir()
    (package / "__init__.py").write_text("import a_library_that_is_missing\n")
    with WorkerClient(models("tiny"), tmp_path) as client:
        assert client.ready["key"] == "server.engine_import"
        assert "a_library_that_is_missing" in client.ready["values"]["reason"]


def test_a_model_in_a_folder_with_chinese_and_spaces_loads(engine: Path, models: Models, tmp_path: Path) -> None:
    folder = tmp_path / "我的 软件(测试)&1"
    folder.mkdir()
    path = folder / "chatglm3-ggml.bin"
    path.write_bytes(models("tiny").read_bytes())
    with WorkerClient(path, engine) as client:
        assert client.ready["event"] == "ready"
        # On a Chinese Windows only a name relative to the model's folder reaches the file: see engine.loadable_name.
        assert client.worker.pid is not None
        assert psutil.Process(client.worker.pid).cwd() == str(folder)


def test_what_native_code_prints_does_not_disturb_the_frames(engine: Path, models: Models, tmp_path: Path) -> None:
    # An engine that prints while it is imported, to the C library's stdout too.
    package = tmp_path / "chatglm_cpp"
    package.mkdir()
    (package / "__init__.py").write_text(
        textwrap.dedent(f"""
        import os, sys
        print("loud")
        os.write(1, b"louder\\n")
        sys.path.insert(0, {str(engine)!r})
        del sys.modules["chatglm_cpp"]
        import chatglm_cpp
        sys.modules["chatglm_cpp"] = chatglm_cpp
        """)
    )
    with WorkerClient(models("tiny"), tmp_path) as client:
        assert client.ready["event"] == "ready"
        assert len(client.generate([300, 301], 3).tokens) == 3
    assert {"loud", "louder"} <= set(client.worker.last_words)


def test_the_worker_ends_when_its_input_ends(engine: Path, models: Models) -> None:
    with WorkerClient(models("small"), engine) as client:
        client.start(words(18, 500), 7000)
        client.worker._stdin.close()
        assert client.exit_codes.get(timeout=TIMEOUT_S) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows: the job object's test runs under Wine (tests/e2e)")
def test_the_worker_dies_with_a_parent_that_is_killed(released_engine: Path, models: Models) -> None:
    program = textwrap.dedent(f"""
        import sys, time
        from tests.payload.engine.worker_client import WorkerClient
        from pathlib import Path
        client = WorkerClient(Path({str(models("small"))!r}), Path({str(released_engine)!r}))
        client.start(list(range(300, 900)) * 3, 6000)
        print(client.worker.pid, flush=True)
        time.sleep({TIMEOUT_S})
    """)
    root = Path(__file__).resolve().parents[3]
    environment = {"PYTHONPATH": f"{root}:{root / 'payload'}", "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root, env=environment) as parent:
        assert parent.stdout is not None
        worker = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
    worker.wait(TIMEOUT_S)


def test_a_worker_that_is_killed_is_reported_with_its_code(released_engine: Path, models: Models) -> None:
    with WorkerClient(models("tiny"), released_engine) as client:
        psutil.Process(client.worker.pid).kill()
        assert client.exit_codes.get(timeout=TIMEOUT_S) == -9


def test_stopping_a_worker_twice_is_harmless(released_engine: Path, models: Models) -> None:
    codes: list[int] = []
    worker = WorkerProcess(lambda *_: None, lambda _, code: codes.append(code))
    worker.stop()
    worker.stop()
    assert len(codes) == 1
