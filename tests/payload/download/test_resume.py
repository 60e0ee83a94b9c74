"""What survives a kill, a pause, a power cut, rotten bytes, another program: everything that was verified."""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from oneclick.download import (
    AnotherInstance,
    Cancelled,
    CannotRename,
    DiskFull,
    FileTooBig,
    NotWritable,
    Progress,
    RemoteFile,
    Source,
    download,
)
from oneclick.download import checks as download_checks
from oneclick.download import part as download_part
from tests.payload.download.conftest import KIB, TUNING, Fetch
from tests.support.bad_server import BadServer, Behaviour, cut, ok, status

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]


class Paused:
    """A download that is cancelled once ``after_bytes`` are there."""

    def __init__(self, fetch: Fetch, after_bytes: int) -> None:
        self.fetch = fetch
        self.after_bytes = after_bytes
        self.cancel = threading.Event()

    def run(self, data: bytes, *sources: Source | str, **options: object) -> None:
        fetch, after_bytes, cancel = self.fetch, self.after_bytes, self.cancel

        class Watch(list[Progress]):
            def append(self, progress: Progress) -> None:
                super().append(progress)
                if progress.done_bytes >= after_bytes:
                    cancel.set()

        fetch.progress = Watch()
        with pytest.raises(Cancelled):
            fetch(data, *sources, cancel=cancel, **options)


def recorded_bytes(target: Path, data: bytes) -> int:
    """Return how many bytes the next run would find."""
    state = download_part.Part(RemoteFile(target.name, len(data), hashlib.sha256(data).hexdigest(), []), target)
    state.open()
    state.close()
    return state.done_bytes


def written_bytes(target: Path, data: bytes) -> int:
    """Return how many bytes have arrived, recorded or not; the others would come twice."""
    part = target.with_name(target.name + ".part")
    there = part.read_bytes() if part.exists() else b""
    return sum(4 * KIB for at in range(0, len(there), 4 * KIB) if there[at : at + 4 * KIB] == data[at : at + 4 * KIB])


def test_kill_9_at_20_random_moments_costs_at_most_one_block_each(server: BadServer, tmp_path: Path) -> None:
    block = 1024 * KIB
    data = random.Random(9).randbytes(24 * block + 321)
    url = server.page("/model.bin", data, ok(rate_bytes_s=3_000_000, latency_s=0.01))
    target = tmp_path / "我的 模型&1.bin"
    tuning = {**asdict(TUNING), "block_bytes": block, "slice_bytes": 64 * KIB, "small_bytes": 2 * block}
    command = [sys.executable, str(ROOT / "tests/payload/download/child.py"), url, str(target), str(len(data))]
    command += [hashlib.sha256(data).hexdigest(), json.dumps(tuning)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "payload")}
    moments = random.Random(20)
    for _ in range(20):
        child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
        server.most_bytes = server.sent_bytes() + moments.randrange(50_000, 1_500_000)
        while server.sent_bytes() < server.most_bytes:
            assert child.poll() is None, "finished before it could be killed: make the file bigger"
            time.sleep(0.005)
        child.kill()
        child.communicate()
        assert not target.exists()
        assert written_bytes(target, data) - recorded_bytes(target, data) <= block
    server.most_bytes = math.inf
    subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, timeout=60)
    assert target.read_bytes() == data
    assert sorted(path.name for path in tmp_path.iterdir()) == [target.name]


def test_a_pause_keeps_everything_and_the_next_run_goes_on(server: BadServer, fetch: Fetch, data: bytes) -> None:
    url = server.page("/model.bin", data, ok(rate_bytes_s=1_000_000))
    Paused(fetch, 500_000).run(data, url)
    assert not fetch.target.exists()
    assert recorded_bytes(fetch.target, data) >= 500_000
    fetch.progress = []
    fetch(data, url)
    assert fetch.target.read_bytes() == data
    assert fetch.progress[0].done_bytes >= 500_000


def test_another_source_goes_on_where_the_first_one_stopped(server: BadServer, fetch: Fetch, data: bytes) -> None:
    Paused(fetch, 500_000).run(data, server.page("/a", data, ok(rate_bytes_s=1_000_000)))
    result = fetch(data, Source("B", server.page("/b", data)))
    assert fetch.target.read_bytes() == data
    assert result.source == "B, A"


def test_bytes_that_rotted_on_the_disk_are_found_and_fetched_again(
    server: BadServer, fetch: Fetch, data: bytes
) -> None:
    url = server.page("/model.bin", data, ok(rate_bytes_s=1_000_000))
    Paused(fetch, 800_000).run(data, url)
    part = fetch.target.with_name("model.bin.part")
    with part.open("r+b") as stream:
        stream.seek(10_000)
        stream.write(bytes(100))
    fetch(data, url)
    assert fetch.target.read_bytes() == data
    assert "damaged_on_disk" in fetch.told()


def test_a_power_cut_that_lost_the_end_of_both_files_costs_only_that(
    server: BadServer, fetch: Fetch, data: bytes
) -> None:
    url = server.page("/model.bin", data, ok(rate_bytes_s=1_000_000))
    Paused(fetch, 800_000).run(data, url)
    part, state = fetch.target.with_name("model.bin.part"), fetch.target.with_name("model.bin.part.state")
    os.truncate(part, 400_000)
    os.truncate(state, state.stat().st_size - 37)
    fetch(data, url)
    assert fetch.target.read_bytes() == data


@pytest.mark.parametrize("junk", [b"\0" * 500, b"{}\n", b'{"format": 1}\n[]\n', b"\xff\xfe\n", b'{"at": 0}\n'])
def test_a_ruined_state_file_starts_the_download_anew(
    server: BadServer, fetch: Fetch, data: bytes, junk: bytes, leftovers: Callable[[], list[str]]
) -> None:
    fetch.target.with_name("model.bin.part").write_bytes(b"old" * 1000)
    fetch.target.with_name("model.bin.part.state").write_bytes(junk)
    fetch(data, server.page("/model.bin", data))
    assert fetch.target.read_bytes() == data
    assert leftovers() == ["model.bin"]


def test_a_part_that_a_browser_left_is_kept_aside(server: BadServer, fetch: Fetch, data: bytes) -> None:
    fetch.target.with_name("model.bin.part").write_bytes(b"firefox" * 1000)
    fetch(data, server.page("/model.bin", data))
    assert fetch.target.read_bytes() == data
    assert fetch.target.with_name("model.bin.part.old").read_bytes() == b"firefox" * 1000


def test_the_part_of_another_file_is_not_taken_up(server: BadServer, fetch: Fetch, data: bytes) -> None:
    Paused(fetch, 500_000).run(data, server.page("/old", data, ok(rate_bytes_s=1_000_000)))
    new = bytes(reversed(data))
    fetch(new, server.page("/new", new))
    assert fetch.target.read_bytes() == new
    assert server.sent_bytes("/new") >= len(new)


def test_a_complete_part_needs_no_network(server: BadServer, fetch: Fetch, data: bytes) -> None:
    url = server.page("/model.bin", data)
    with pytest.raises(CannotRename):
        _with_held_target(fetch, lambda: fetch(data, url))
    asked = len(server.fetched())
    fetch(data, url)
    assert fetch.target.read_bytes() == data
    assert len(server.fetched()) == asked


def _with_held_target(fetch: Fetch, act: Callable[[], object]) -> None:
    """Run ``act`` while the final name cannot be taken, as when a virus scanner holds it on Windows."""
    fetch.target.mkdir()
    (fetch.target / "in the way").write_text("")
    original = Path.replace

    def refuse(path: Path, target: Path) -> Path:
        if target == fetch.target:
            raise PermissionError(13, "held by another program")
        return original(path, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", refuse)
        try:
            act()
        finally:
            (fetch.target / "in the way").unlink()
            fetch.target.rmdir()


def test_a_rename_is_tried_again_until_the_scanner_lets_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, target = tmp_path / "a.part", tmp_path / "a"
    path.write_bytes(b"x")
    refusals, slept = [PermissionError(13, "busy")] * 3, []
    original = Path.replace

    def replace(self: Path, to: Path) -> Path:
        if refusals:
            raise refusals.pop()
        return original(self, to)

    monkeypatch.setattr(Path, "replace", replace)
    download_part.replace_patiently(path, target, 15.0, sleep=slept.append)
    assert target.read_bytes() == b"x"
    assert slept == [0.05, 0.1, 0.2]


def test_a_second_instance_is_refused_and_told_who_is_at_work(server: BadServer, fetch: Fetch, data: bytes) -> None:
    url = server.page("/model.bin", data)
    server.most_bytes = len(data) // 2
    first = threading.Thread(target=fetch, args=(data, url), kwargs={"idle_timeout_s": 60})
    first.start()
    state = fetch.target.with_name("model.bin.part.state")
    while not state.exists() or not state.stat().st_size:
        assert first.is_alive()
        time.sleep(0.01)
    with pytest.raises(AnotherInstance, match=str(os.getpid())):
        download(RemoteFile("model.bin", len(data), "0" * 64, [Source("A", url)]), fetch.target)
    server.most_bytes = math.inf
    first.join()
    assert fetch.target.read_bytes() == data


def test_a_full_disk_is_told_before_the_first_byte(
    server: BadServer, fetch: Fetch, data: bytes, leftovers: Callable[[], list[str]]
) -> None:
    url = server.page("/model.bin", data)
    with pytest.raises(DiskFull, match=r"lacks [\d.]+ GB"):
        fetch(data, url, tuning={"reserve_bytes": 1 << 60})
    assert server.fetched() == []
    assert leftovers() == []


def test_a_disk_that_fills_up_keeps_the_part(server: BadServer, fetch: Fetch, data: bytes) -> None:
    """/dev/full's error, at the point where a real disk gives it."""
    url = server.page("/model.bin", data, ok(rate_bytes_s=2_000_000))

    class Full:
        def __init__(self, stream: object) -> None:
            self.stream = stream

        def __getattr__(self, name: str) -> object:
            return getattr(self.stream, name)

        def write(self, piece: memoryview) -> int:
            if self.stream.tell() > 400_000:  # type: ignore[attr-defined]
                raise OSError(28, "No space left on device")
            return self.stream.write(piece)  # type: ignore[attr-defined,no-any-return]

    original = download_part.Part.open_for_writing
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download_part.Part, "open_for_writing", lambda part: Full(original(part)))
        with pytest.raises(DiskFull, match="Free some space"):
            fetch(data, url, connections=1)
    assert recorded_bytes(fetch.target, data) >= 390_000
    fetch(data, url)
    assert fetch.target.read_bytes() == data


@pytest.mark.parametrize(("size", "refused"), [(4_294_967_295, False), (4_294_967_296, True)])
def test_fat32_takes_no_file_of_4_gib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, refused: bool
) -> None:
    monkeypatch.setattr(download_checks, "file_system", lambda _: "FAT32")
    if refused:
        with pytest.raises(FileTooBig, match=r"4\.00 GiB.*FAT32"):
            download_checks.check_folder(tmp_path, "model.bin", size, 0, 0)
    else:
        download_checks.check_folder(tmp_path, "model.bin", size, 0, 0)


def test_the_file_system_of_this_folder_has_a_name(tmp_path: Path) -> None:
    assert download_checks.file_system(tmp_path)


def test_a_folder_that_takes_no_files_is_told(server: BadServer, data: bytes, tmp_path: Path) -> None:
    in_the_way = tmp_path / "folder"
    in_the_way.write_text("a file")
    file = RemoteFile("model.bin", len(data), "0" * 64, [Source("A", server.page("/model.bin", data))])
    with pytest.raises(NotWritable, match="folder"):
        download(file, in_the_way / "model.bin")


def test_progress_counts_bytes_on_the_disk_and_never_more_than_there_are(
    server: BadServer, fetch: Fetch, data: bytes
) -> None:
    fetch(data, server.page("/model.bin", data, ok(rate_bytes_s=1_000_000)))
    counts = [progress.done_bytes for progress in fetch.progress if progress.phase == "downloading"]
    assert counts == sorted(counts)
    assert all(0 <= count <= len(data) for count in counts)
    assert [phase for phase in ("probing", "downloading", "checking") if any(p.phase == phase for p in fetch.progress)]
    moving = [progress for progress in fetch.progress if progress.phase == "downloading" and progress.rate_bytes_s]
    assert moving
    # Four connections; in the first moment the buffers on the way fill as well.
    assert all(progress.rate_bytes_s < 8_000_000 for progress in moving)
    assert all(progress.left_s is not None and progress.source == "A" for progress in moving)


def test_a_source_that_hangs_holds_no_part_of_the_file_back(server: BadServer, fetch: Fetch, data: bytes) -> None:
    """Its connections cannot be cut before they answer; others must not wait for that."""
    hangs = server.page("/hangs", data, cut(50 * KIB), Behaviour(hang=True))
    good = server.page("/good", data)
    began = time.monotonic()
    sources = {"tuning": {"slow_window_s": 0.1, "slow_bytes_s": 100_000, "sample_bytes": 1 << 40}}
    result = fetch(data, hangs, good, idle_timeout_s=300, header=b"", **sources)
    assert fetch.target.read_bytes() == data
    assert time.monotonic() - began < 150
    assert "B" in result.source


def test_a_network_that_comes_back_is_waited_for(server: BadServer, fetch: Fetch, data: bytes) -> None:
    down = [status(502)] * 12
    fetch(data, server.page("/model.bin", data, ok(), *down, ok()), tuning={"patience_s": 10})
    assert fetch.target.read_bytes() == data
    assert "waiting" in fetch.told()
