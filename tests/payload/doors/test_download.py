"""下载模型.bat and the page's button: catalogue, files fetched by hand, choice, pause, failure."""

from __future__ import annotations

import hashlib
import io
import json
import math
import random
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from oneclick import messages
from oneclick.bundle_info import parse_bundle_info, read_bundle_info
from oneclick.console import Console
from oneclick.doors.download import run_download_command
from oneclick.download import BLOCK_BYTES
from oneclick.download.errors import DownloadError
from oneclick.download.files import Attempt, Event, Progress
from oneclick.download.part import Part
from oneclick.download.show import ProgressView
from oneclick.errors import OneClickError
from oneclick.hashing import DigestMemory
from oneclick.model.catalogue import direct_links, find_model, fit, header_of, remote_file
from oneclick.model.download import ModelDownload
from oneclick.model.dropped_files import candidates, unfinished
from oneclick.model.memory import memory_need
from oneclick.pc.machine import Memory
from oneclick.settings import read_settings
from oneclick.status import Status
from tests.support.bad_server import BadServer, ok, status

pytestmark = pytest.mark.slow

HEADER = bytes.fromhex("67676d6c03000000010000000200000000fe000000100000200000001c0000008035000000200000")
DATA = HEADER + random.Random(6).randbytes(300_000)
GIB = 1 << 30


def entry(model_id: str, file_name: str, data: bytes, url: str, **more: Any) -> dict[str, Any]:
    return {
        "id": model_id,
        "title": {"zh": f"模型 {model_id}", "en": f"model {model_id}"},
        "file_name": file_name,
        "size_bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "header_hex": HEADER.hex(),
        "licence": "",
        "sources": [{"name": "A", "kind": "file", "url": url}],
        **more,
    }


@dataclass
class Bundle:
    """An extracted bundle with two models in its catalogue."""

    root: Path
    output: io.StringIO = field(default_factory=io.StringIO)

    def run(self, *args: str, ask: Callable[[str], str] | None = None) -> int:
        return run_download_command(self.root, args, Console(self.output), ask)

    @property
    def told(self) -> str:
        return self.output.getvalue()


@pytest.fixture
def bundle(tmp_path: Path, server: BadServer, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    root = tmp_path / "我的 软件(测试)&1"
    root.mkdir()
    home = tmp_path / "home"
    (home / "Downloads").mkdir(parents=True)
    monkeypatch.setenv("USERPROFILE", str(home))
    write_catalogue(root, server)
    return Bundle(root)


def write_catalogue(root: Path, server: BadServer, **release: str) -> None:
    other = HEADER + bytes(reversed(DATA))
    models = [
        entry("q4_0", "chatglm3-ggml.bin", DATA, server.page("/q4_0", DATA)),
        entry("q8_0", "chatglm3-ggml-q8_0.bin", other, server.page("/q8_0", other)),
    ]
    engine = {"package": "chatglm_cpp", "version": "0.3.0", "kind": "compile", "openblas": True, "levels": []}
    info = {"format": 1, "name": "ChatGLM3_cpp", "version": "1.0.0", "python": "3.10.11", "engine": engine}
    text = json.dumps({**info, "models": models, "default_model": "q4_0", "release": release})
    (root / "bundle.json").write_text(text, encoding="utf-8")


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# -- the window ------------------------------------------------------------------------------------------------


def test_a_double_click_fetches_the_default_model(bundle: Bundle) -> None:
    assert bundle.run() == 0
    assert (bundle.root / "chatglm3-ggml.bin").read_bytes() == DATA
    assert "is complete and right (from A)" in bundle.told
    assert not (bundle.root / "设置.toml").exists()


def test_the_digest_is_remembered_so_that_the_start_need_not_hash_again(bundle: Bundle) -> None:
    bundle.run()
    memory = DigestMemory(bundle.root / "logs" / "digests.json")
    assert memory.recall(bundle.root / "chatglm3-ggml.bin") == hashlib.sha256(DATA).hexdigest()


def test_the_list_shows_size_memory_and_what_is_here(bundle: Bundle) -> None:
    (bundle.root / "chatglm3-ggml.bin").write_bytes(DATA)
    assert bundle.run("--list") == 0
    lines = bundle.told.splitlines()
    first = next(line for line in lines if "q4_0" in line)
    assert "1. (here) q4_0" in first
    assert "293.0 KB" in first
    assert "memory 3." in first
    assert any("model q8_0" in line for line in lines)


def test_a_chosen_model_is_fetched_and_set(bundle: Bundle) -> None:
    (bundle.root / "设置.toml").write_text("# mine\n# model = ''\nport = 9000\n", encoding="utf-8")
    answers = iter(["7", "qx_0", "2"])
    assert bundle.run(ask=lambda _: next(answers)) == 0
    assert (bundle.root / "chatglm3-ggml-q8_0.bin").exists()
    settings = read_settings(bundle.root / "设置.toml")
    assert (settings.model, settings.port) == ("q8_0", 9000)
    assert "# mine" in (bundle.root / "设置.toml").read_text(encoding="utf-8")
    assert bundle.run("q4_0") == 0
    assert read_settings(bundle.root / "设置.toml").model == "q4_0"


def test_an_unknown_name_gets_the_nearest_one(bundle: Bundle) -> None:
    with pytest.raises(OneClickError, match=r"no model called q8\. The nearest is q8_0"):
        bundle.run("q8")


def test_a_model_that_is_here_is_not_fetched_again(bundle: Bundle, server: BadServer) -> None:
    (bundle.root / "chatglm3-ggml.bin").write_bytes(DATA)
    assert bundle.run() == 0
    assert "already here" in bundle.told
    assert server.fetched() == []


@pytest.mark.parametrize("name", ["chatglm3-ggml (1).bin", "下载的模型", "chatglm3-ggml.bin.download.bin"])
def test_a_finished_browser_download_is_used_whatever_its_name(bundle: Bundle, server: BadServer, name: str) -> None:
    (bundle.root / name).write_bytes(DATA)
    assert bundle.run() == 0
    assert (bundle.root / "chatglm3-ggml.bin").read_bytes() == DATA
    assert not (bundle.root / name).exists()
    assert server.fetched() == []


def test_a_damaged_browser_download_is_not_used(bundle: Bundle) -> None:
    (bundle.root / "chatglm3-ggml (1).bin").write_bytes(DATA[:-1] + b"\0")
    assert bundle.run() == 0
    assert (bundle.root / "chatglm3-ggml.bin").read_bytes() == DATA
    assert (bundle.root / "chatglm3-ggml (1).bin").exists()


@pytest.mark.parametrize("name", ["chatglm3-ggml.bin.crdownload", "未确认 123.crdownload", "chatglm3-ggml.bin.xltd"])
def test_an_unfinished_browser_download_is_explained(bundle: Bundle, name: str) -> None:
    (bundle.root / name).write_bytes(DATA[:1000])
    assert bundle.run() == 0
    assert f"{name} is an unfinished download" in bundle.told


def test_a_file_in_the_downloads_folder_is_pointed_at_and_left_there(bundle: Bundle) -> None:
    lying = bundle.root.parent / "home" / "Downloads" / "chatglm3-ggml.bin"
    lying.write_bytes(DATA)
    bundle.run()
    assert str(lying) in bundle.told
    assert lying.exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:063592a0\nsize 3514297136\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"", "empty"),
    ],
)
def test_what_lies_in_the_models_place_is_explained_and_kept(bundle: Bundle, content: bytes, reason: str) -> None:
    (bundle.root / "chatglm3-ggml.bin").write_bytes(content)
    assert bundle.run() == 0
    assert (bundle.root / "chatglm3-ggml.bin.old").read_bytes() == content
    assert reason in bundle.told


def test_links_and_net_disk_are_shown_for_people_without_a_working_network(bundle: Bundle, server: BadServer) -> None:
    write_catalogue(
        bundle.root, server, netdisk="https://pan.example/s/1", netdisk_code="abcd", page="https://x.example/"
    )
    (bundle.root / "设置.toml").write_text("mirrors = ['http://127.0.0.1:9/my.bin']\n", encoding="utf-8")
    assert bundle.run() == 0
    assert f"{server.base}/q4_0" in bundle.told
    assert "http://127.0.0.1:9/my.bin" in bundle.told
    assert "https://pan.example/s/1  code: abcd" in bundle.told
    assert "https://x.example/" in bundle.told


def test_an_address_from_the_settings_comes_first(bundle: Bundle, server: BadServer) -> None:
    mine = server.page("/mine", DATA)
    (bundle.root / "设置.toml").write_text(f"mirrors = ['{mine}', '{mine}']\n", encoding="utf-8")
    file = remote_file(
        find_model(read_bundle_info(bundle.root / "bundle.json")), read_settings(bundle.root / "设置.toml").mirrors
    )
    host = f"127.0.0.1:{server.port}"
    assert [source.name for source in file.sources] == [host, f"{host} 2", "A"]
    bundle.run()
    assert server.fetched("/mine")
    assert not server.fetched("/q4_0")


def test_a_failed_download_raises_with_every_source_named(bundle: Bundle, server: BadServer) -> None:
    server.page("/q4_0", DATA, status(404))
    with pytest.raises(DownloadError) as caught:
        bundle.run()
    chinese, english = caught.value.both()
    assert "  A: it answered HTTP 404" in english
    assert "  A: 服务器返回 HTTP 404" in chinese


def test_damage_costs_one_block_when_the_catalogue_knows_the_blocks(
    bundle: Bundle, server: BadServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real blocks of 64 MiB; in the second one, which is short, one byte of the first source is wrong."""
    size_bytes, at = BLOCK_BYTES + 3_000_000, BLOCK_BYTES + 1_000_000
    data = HEADER + bytes(size_bytes - len(HEADER))
    served = {"right": data, "wrong": data[:at] + b"x" + data[at + 1 :]}
    for name, content in served.items():
        (bundle.root.parent / name).write_bytes(content)
    blocks = [hashlib.sha256(data[i : i + BLOCK_BYTES]).hexdigest() for i in range(0, size_bytes, BLOCK_BYTES)]
    wrong = server.page("/wrong", bundle.root.parent / "wrong")
    # The other source says nothing until the first one, however slow this machine is, has sent all of the file.
    sent = threading.Event()
    right = server.page("/right", bundle.root.parent / "right", ok(ranges=False, held=sent))
    mine = entry("q4_0", "chatglm3-ggml.bin", data, wrong, block_sha256=blocks)
    mine["sources"].append({"name": "B", "kind": "file", "url": right})
    info = json.loads((bundle.root / "bundle.json").read_text(encoding="utf-8"))
    (bundle.root / "bundle.json").write_text(json.dumps({**info, "models": [mine]}), encoding="utf-8")
    shares: dict[str, int] = {}
    finish = Part.finish

    def note_shares(part: Part, patience_s: float) -> None:
        shares.update(part.sources())
        finish(part, patience_s)

    def watch() -> None:
        wait_for(lambda: server.sent_bytes("/wrong") >= size_bytes)
        sent.set()

    monkeypatch.setattr(Part, "finish", note_shares)
    watcher = threading.Thread(target=watch)
    watcher.start()
    assert bundle.run() == 0
    watcher.join()
    assert (bundle.root / "chatglm3-ggml.bin").read_bytes() == data
    assert shares == {"A": BLOCK_BYTES, "B": 3_000_000}


# -- the catalogue ---------------------------------------------------------------------------------------------


def pc(gib: float) -> Memory:
    size = int(gib * GIB)
    return Memory(size, size, 2 * size, 2 * size)


def real_model(size_hex: str = "02000000") -> Any:
    info = {
        "format": 1,
        "name": "x",
        "version": "1",
        "python": "3.10.11",
        "engine": {"package": "chatglm_cpp", "version": "0.3.0", "kind": "compile", "openblas": True, "levels": []},
        "models": [entry("q", "q.bin", b"", "http://x.invalid/")],
        "default_model": "q",
    }
    info["models"][0]["header_hex"] = HEADER.hex().replace("0100000002000000", "01000000" + size_hex)
    return parse_bundle_info(info).models[0]


def test_the_header_of_the_catalogue_is_that_of_the_real_file() -> None:
    header = header_of(real_model())
    assert (header.dtype, header.num_kv_heads, header.sequence_length) == ("q4_0", 2, 8192)
    assert memory_need(header, 1024).weights_bytes == 3_514_297_136


def test_what_fits_depends_on_this_pc() -> None:
    q4, q8 = real_model(), real_model("08000000")
    assert fit(q4, pc(16)).full
    assert fit(q4, pc(8)).context
    assert fit(q8, pc(6)).context == 0
    assert fit(q8, pc(6)).need_bytes > 6 * GIB
    assert fit(q4, pc(2)).context == 0


def test_direct_links_are_the_addresses_a_browser_can_open(bundle: Bundle, server: BadServer) -> None:
    model = find_model(read_bundle_info(bundle.root / "bundle.json"), "CHATGLM3-GGML.BIN")
    assert direct_links(model) == [("A", f"{server.base}/q4_0")]


def test_parts_of_our_own_are_no_candidates(bundle: Bundle) -> None:
    model = find_model(read_bundle_info(bundle.root / "bundle.json"))
    (bundle.root / "chatglm3-ggml.bin.part").write_bytes(DATA)
    assert list(candidates(bundle.root, model)) == []
    assert unfinished(bundle.root, model) == []


# -- the page's button -----------------------------------------------------------------------------------------


def big(server: BadServer, bundle: Bundle, **behaviour: Any) -> bytes:
    """Make the default model 20 MB, so that ranges, pause and resume are real."""
    data = HEADER + random.Random(7).randbytes(20_000_000)
    server.page("/big", data, ok(**behaviour))
    info = json.loads((bundle.root / "bundle.json").read_text(encoding="utf-8"))
    info["models"][0] = entry("q4_0", "chatglm3-ggml.bin", data, f"{server.base}/big")
    (bundle.root / "bundle.json").write_text(json.dumps(info), encoding="utf-8")
    return data


def test_the_button_starts_pauses_and_goes_on(bundle: Bundle, server: BadServer) -> None:
    data = big(server, bundle, rate_bytes_s=4_000_000)
    server.most_bytes = 12_000_000
    current = Status()
    button = ModelDownload(bundle.root, current)
    button.start("")
    wait_for(lambda: (current.get().details.get("done_bytes") or 0) > 4_000_000)
    seen = current.get()
    assert seen.phase == "downloading"
    assert seen.details["total_bytes"] == len(data)
    assert seen.details["paused"] is False
    assert seen.details["source"] == "A"
    assert seen.details["model"] == "q4_0"
    assert seen.details["rate_bytes_s"] > 0
    assert 0 < (seen.progress or 0) < 1
    button.pause()
    wait_for(lambda: current.get().details.get("paused") is True)
    assert not (bundle.root / "chatglm3-ggml.bin").exists()
    assert (bundle.root / "chatglm3-ggml.bin.part").stat().st_size > 3_000_000
    server.most_bytes = math.inf
    button.start("q4_0")
    wait_for((bundle.root / "chatglm3-ggml.bin").exists)
    wait_for(lambda: not button.running)
    assert (bundle.root / "chatglm3-ggml.bin").read_bytes() == data
    assert current.get().phase == "verifying"


def test_starting_twice_downloads_once(bundle: Bundle, server: BadServer) -> None:
    big(server, bundle, rate_bytes_s=8_000_000)
    button = ModelDownload(bundle.root, Status())
    button.start()
    button.start()
    wait_for(lambda: not button.running)
    assert sum(request.range == "bytes=0-63" for request in server.fetched()) == 1


def test_pause_and_start_in_quick_succession_go_on(bundle: Bundle, server: BadServer) -> None:
    data = big(server, bundle, rate_bytes_s=8_000_000)
    button = ModelDownload(bundle.root, Status())
    for _ in range(5):
        button.start()
        button.pause()
    button.start()
    wait_for((bundle.root / "chatglm3-ggml.bin").exists)
    assert (bundle.root / "chatglm3-ggml.bin").read_bytes() == data


def test_a_failure_is_told_and_leaves_the_button_usable(
    bundle: Bundle, server: BadServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oneclick.model.download.PATIENCE_S", 0.0)
    server.page("/q4_0", DATA, status(404))
    current = Status()
    button = ModelDownload(bundle.root, current)
    button.start()
    wait_for(lambda: current.get().phase == "no_model")
    seen = current.get()
    assert "A: it answered HTTP 404" in messages.both(seen.message_key, **seen.message_values)[1]
    server.page("/q4_0", DATA)
    button.start()
    wait_for((bundle.root / "chatglm3-ggml.bin").exists)


def test_a_model_dropped_into_the_folder_ends_the_download_quietly(bundle: Bundle, server: BadServer) -> None:
    big(server, bundle)
    server.most_bytes = 10_000_000
    current = Status()
    button = ModelDownload(bundle.root, current)
    button.start()
    wait_for(lambda: (current.get().details.get("done_bytes") or 0) > 500_000)
    current.set("loading", 0.5)
    wait_for(lambda: not button.running)
    assert current.get().phase == "loading"
    button.close()


def test_an_unknown_model_is_refused_at_once(bundle: Bundle) -> None:
    with pytest.raises(OneClickError, match="no model called q9"):
        ModelDownload(bundle.root, Status()).start("q9")


# -- progress --------------------------------------------------------------------------------------------------


class Screen(io.TextIOWrapper):
    """A console of a given encoding."""

    def __init__(self, encoding: str, tty: bool) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, newline="")
        self.tty = tty

    def isatty(self) -> bool:
        return self.tty

    def text(self) -> str:
        self.flush()
        raw = self.buffer.getvalue()  # type: ignore[attr-defined]
        return str(raw.decode(self.encoding))


def course(view: ProgressView) -> None:
    view.progress(Progress(0, 1000_000, 0.0, None, "", "probing"))
    for done in range(0, 1_000_001, 50_000):
        view.progress(Progress(done, 1_000_000, 250_000.0, (1_000_000 - done) / 250_000, "ModelScope", "downloading"))
    view.event(Event("next_source", "HF", Attempt("ModelScope", "slow", {"rate": "3"}), "ModelScope"))
    view.progress(Progress(1_000_000, 1_000_000, 5e8, 0.0, "ModelScope", "checking"))
    view.close()


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("encoding", ["utf-8", "cp936", "cp437", "ascii"])
@pytest.mark.parametrize("tty", [True, False])
def test_progress_is_readable_in_every_console(language: str, encoding: str, tty: bool) -> None:
    messages.set_language(language)
    screen = Screen(encoding, tty)
    course(ProgressView(screen, columns=79))
    text = screen.text()
    assert "ModelScope" in text
    assert "100%" in text
    if not tty:
        assert "\r" not in text
        assert len(text.splitlines()) <= 25
    if language == "zh" and encoding == "cp936":
        assert "下载" in text


def test_a_bar_shows_rate_source_and_time_left_on_one_line() -> None:
    screen = Screen("utf-8", tty=True)
    course(ProgressView(screen, columns=79))
    frames = screen.text().replace("\r", "\n").splitlines()
    assert any("ModelScope" in frame and "244.1 KB/s" in frame and "95%" in frame for frame in frames)
    assert all(len(frame) <= 79 for frame in frames if "|" in frame)


def test_the_disk_of_the_tests_has_room(tmp_path: Path) -> None:
    """The engine wants 512 MB beside every file of 16 MiB and more; a full disk would fail above for that reason."""
    assert shutil.disk_usage(tmp_path).free > 1 << 30
