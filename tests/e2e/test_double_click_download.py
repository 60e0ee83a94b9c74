"""下载模型.bat and the page's button through the finished archive, from a server that plays the model's hub."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundle.model.random_model import write_random_model
from tests.e2e.conftest import MakeBundle
from tests.support.bad_server import BadServer, ok
from tests.support.wine import Bundle, Running, wait_until

pytestmark = pytest.mark.wine

REPO = "tiansz/chatglm3-6b-ggml"
NAME = "chatglm3-ggml.bin"


@pytest.fixture(scope="session")
def model_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A real model large enough for four connections."""
    path = tmp_path_factory.mktemp("download") / "small.bin"
    write_random_model(path, "small", "q8_0")
    assert path.stat().st_size > 16 << 20
    return path.read_bytes()


@pytest.fixture
def hub() -> Iterator[BadServer]:
    with BadServer() as running:
        yield running


def offer(bundle: Bundle, hub: BadServer, model: bytes, rate_bytes_s: float) -> None:
    """Let the bundle's default model be ``model``, on a ModelScope that gives each connection ``rate_bytes_s``."""
    digest = hashlib.sha256(model).hexdigest()
    play(hub, model, rate_bytes_s)
    info = json.loads((bundle.folder / "bundle.json").read_text("utf-8"))
    source = {"name": "ModelScope", "kind": "modelscope", "repo": REPO, "revision": "master", "path": NAME}
    entry = next(entry for entry in info["models"] if entry["id"] == info["default_model"])
    entry.update(
        file_name=NAME,
        size_bytes=len(model),
        sha256=digest,
        header_hex=model[:40].hex(),
        sources=[{**source, "endpoint": hub.base}],
    )
    bundle.replace("bundle.json", json.dumps(info, ensure_ascii=False).encode())


def play(hub: BadServer, model: bytes, rate_bytes_s: float) -> None:
    """Let the hub give each connection ``rate_bytes_s`` from now on."""
    hub.modelscope(REPO, NAME, model, ok(rate_bytes_s=rate_bytes_s), sha256=hashlib.sha256(model).hexdigest())


def noted_bytes(bundle: Bundle) -> int:
    """Return how much of the model would be there for the next run if this one ended now."""
    state = bundle.folder / f"{NAME}.part.state"
    if not state.exists():
        return 0
    whole_lines = state.read_bytes().rpartition(b"\n")[0].splitlines()
    return sum(record["to"] - record["at"] for record in map(json.loads, whole_lines[1:]))


def test_a_download_that_was_killed_goes_on_and_then_chats(
    make_bundle: MakeBundle, hub: BadServer, model_bytes: bytes
) -> None:
    bundle = make_bundle("下载 测试&1", model=None)
    offer(bundle, hub, model_bytes, rate_bytes_s=len(model_bytes) / 60)
    program = bundle.double_click(bat="下载模型.bat")
    program.wait_for("测试各个下载源")
    wait_until(lambda: noted_bytes(bundle) >= len(model_bytes) // 4)
    bundle.prefix.kill("python.exe")
    program.press_enter()
    program.wait()
    assert not bundle.model.exists()
    before = hub.sent_bytes("/signed")
    offer(bundle, hub, model_bytes, rate_bytes_s=len(model_bytes) / 4)
    program = bundle.double_click(bat="下载模型.bat")
    program.press_enter()
    assert program.wait() == 0
    assert bundle.model.read_bytes() == model_bytes
    assert hub.sent_bytes("/signed") - before < len(model_bytes) * 0.8
    assert re.search(r"下载 +\d+% .* ModelScope", program.output)
    assert "下载完成，校验正确（来源：ModelScope）" in program.output
    assert sorted(path.name for path in bundle.folder.glob("chatglm3*")) == [NAME]
    with bundle.running("--port", "0") as running:
        assert running.chat("你好")["choices"][0]["message"]["content"]


def test_the_page_downloads_pauses_goes_on_and_then_chats(
    make_bundle: MakeBundle, hub: BadServer, model_bytes: bytes
) -> None:
    bundle = make_bundle(model=None)
    offer(bundle, hub, model_bytes, rate_bytes_s=len(model_bytes) / 60)
    program = bundle.double_click("--port", "0")
    program.wait_for("下载模型.bat")
    running = Running(bundle, program)
    running.wait_for_phase("no_model")
    press(running, "start")
    seen = wait_for_details(running, "done_bytes")
    assert seen["details"]["total_bytes"] == len(model_bytes)
    wait_until(lambda: hub.sent_bytes("/signed") >= len(model_bytes) // 8)
    press(running, "pause")
    wait_for_details(running, "paused")
    assert not bundle.model.exists()
    play(hub, model_bytes, rate_bytes_s=len(model_bytes) / 4)
    press(running, "start")
    running.wait_for_phase("ready")
    assert bundle.model.read_bytes() == model_bytes
    assert running.chat("你好")["choices"][0]["message"]["content"]
    assert hub.sent_bytes("/signed") < len(model_bytes) * 1.5
    bundle.stop(program)


def press(running: Running, action: str) -> None:
    """Press the page's button: with the token that only the page gets."""
    token = re.search(r'name="oneclick-token" content="([^"]+)"', running.page())
    assert token
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
    headers = {"Content-Type": "application/json", "X-OneClick-Token": token[1]}
    connection.request("POST", "/oneclick/download", json.dumps({"action": action}), headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    assert answer.status == 202, text


def wait_for_details(running: Running, figure: str) -> dict[str, dict[str, object]]:
    """Wait until /status shows a true ``figure`` of the download."""
    return dict(running.wait_for_status(lambda status: status["details"].get(figure)))


def test_a_browser_download_with_another_name_is_used(
    make_bundle: MakeBundle, hub: BadServer, model_bytes: bytes
) -> None:
    bundle = make_bundle(model=None)
    offer(bundle, hub, model_bytes, rate_bytes_s=1.0)
    (bundle.folder / "chatglm3-ggml (1).bin").write_bytes(model_bytes)
    program = bundle.double_click(bat="下载模型.bat")
    program.press_enter()
    assert program.wait() == 0
    assert "在本文件夹找到了下载好的 chatglm3-ggml (1).bin" in program.output
    assert bundle.model.read_bytes() == model_bytes
    assert hub.fetched() == []


def test_a_clone_without_git_lfs_is_explained_and_the_model_fetched(
    make_bundle: MakeBundle, hub: BadServer, model_bytes: bytes, tmp_path: Path
) -> None:
    bundle = make_bundle(model=None)
    offer(bundle, hub, model_bytes, rate_bytes_s=50e6)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize {len(model_bytes)}\n"
    bundle.model.write_text(pointer)
    program = bundle.double_click(bat="下载模型.bat")
    program.press_enter()
    assert program.wait() == 0
    assert "没有安装 git-lfs" in program.output
    assert bundle.model.read_bytes() == model_bytes
