"""Fetching original weights from hubs, played by a local server: pinned by the listing, resumed, from anywhere."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bundle.errors import DigestMismatch, SourceError, StorageError
from bundle.fetch import weights as hub
from bundle.fetch.weights import Hub, fetch_checkpoint
from bundle.log import Log
from bundle.model.quantize import convert, quantize
from bundle.model.random_checkpoint import write_random_checkpoint
from tests.support.bad_server import BadServer, cut, html, ok, status

ID = "THUDM/chatglm3-6b"


@pytest.fixture
def server() -> Iterator[BadServer]:
    with BadServer() as server:
        yield server


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original") / "chatglm3-6b"
    write_random_checkpoint(folder)
    return folder


def quiet() -> Log:
    return Log(stream=io.StringIO())


def modelscope(server: BadServer, prefix: str = "/ms") -> Hub:
    return Hub("ModelScope", "modelscope", server.base + prefix, "ZhipuAI", "master")


def hugging_face(server: BadServer, prefix: str = "/hf") -> Hub:
    return Hub("Hugging Face", "huggingface", server.base + prefix, "THUDM", "main")


def play_modelscope(server: BadServer, weights: Path, prefix: str = "/ms", **changes: Any) -> None:
    """Serve ``weights`` as ModelScope does: sha256 and size of every file in the listing."""
    files = []
    for file in sorted(weights.iterdir()):
        data = file.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        files.append({"Path": file.name, "Type": "blob", "Size": len(data), "Sha256": digest} | changes)
        server.page(f"{prefix}/models/ZhipuAI/chatglm3-6b/resolve/master/{file.name}", data)
    files.append({"Path": "figures", "Type": "tree", "Size": 0})
    listing = json.dumps({"Code": 200, "Data": {"Files": files}}).encode()
    server.page(f"{prefix}/api/v1/models/ZhipuAI/chatglm3-6b/repo/files", listing)


def play_hugging_face(server: BadServer, weights: Path, prefix: str = "/hf") -> None:
    """Serve ``weights`` as Hugging Face does: sha256 of LFS files only, git's digest of the others."""
    entries: list[dict[str, Any]] = [{"type": "directory", "path": "figures", "oid": "0" * 40, "size": 0}]
    for file in sorted(weights.iterdir()):
        data = file.read_bytes()
        entry: dict[str, Any] = {"type": "file", "path": file.name, "size": len(data)}
        entry["oid"] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        if file.suffix in (".safetensors", ".model"):
            entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
        entries.append(entry)
        server.page(f"{prefix}/THUDM/chatglm3-6b/resolve/main/{file.name}", data)
    server.page(f"{prefix}/api/models/THUDM/chatglm3-6b/tree/main", json.dumps(entries).encode())


def same_files(folder: Path, weights: Path) -> bool:
    return all((folder / file.name).read_bytes() == file.read_bytes() for file in weights.iterdir())


@pytest.mark.parametrize("kind", ["modelscope", "huggingface"])
def test_all_files_arrive_and_their_digests_are_recorded(
    server: BadServer, weights: Path, tmp_path: Path, kind: str
) -> None:
    play_modelscope(server, weights)
    play_hugging_face(server, weights)
    chosen = modelscope(server) if kind == "modelscope" else hugging_face(server)
    folder = fetch_checkpoint(ID, tmp_path, quiet(), hubs=[chosen])
    assert same_files(folder, weights)
    record = json.loads((folder / "hub.json").read_text())
    assert record["id"] == ID
    shard = next(entry for entry in record["files"] if entry["path"] == "model-00001-of-00002.safetensors")
    assert shard["sha256"] == hashlib.sha256((weights / shard["path"]).read_bytes()).hexdigest()


def test_a_second_run_asks_nobody(server: BadServer, weights: Path, tmp_path: Path) -> None:
    play_modelscope(server, weights)
    fetch_checkpoint(ID, tmp_path, quiet(), hubs=[modelscope(server)])
    asked = len(server.fetched())
    fetch_checkpoint(ID, tmp_path, quiet(), hubs=[modelscope(server)])
    assert len(server.fetched()) == asked


def test_a_hub_that_does_not_answer_is_passed_over(server: BadServer, weights: Path, tmp_path: Path) -> None:
    play_hugging_face(server, weights)
    server.page("/ms/api/v1/models/ZhipuAI/chatglm3-6b/repo/files", b"", html())
    folder = fetch_checkpoint(ID, tmp_path, quiet(), hubs=[modelscope(server), hugging_face(server)])
    assert same_files(folder, weights)


def test_a_shard_comes_from_the_other_hub_when_the_first_breaks(
    server: BadServer, weights: Path, tmp_path: Path
) -> None:
    play_modelscope(server, weights)
    play_hugging_face(server, weights)
    shard = "model-00002-of-00002.safetensors"
    server.page(f"/ms/models/ZhipuAI/chatglm3-6b/resolve/master/{shard}", (weights / shard).read_bytes(), status(404))
    folder = fetch_checkpoint(ID, tmp_path, quiet(), hubs=[modelscope(server), hugging_face(server)])
    assert same_files(folder, weights)


def test_what_arrived_is_kept_for_the_next_run(server: BadServer, weights: Path, tmp_path: Path) -> None:
    play_modelscope(server, weights)
    shard = "model-00002-of-00002.safetensors"
    path = f"/ms/models/ZhipuAI/chatglm3-6b/resolve/master/{shard}"
    server.page(path, (weights / shard).read_bytes(), cut(1000), status(404))
    with pytest.raises(SourceError, match=shard):
        fetch_checkpoint(ID, tmp_path, quiet(), hubs=[modelscope(server)])
    assert (tmp_path / "THUDM--chatglm3-6b" / "model-00001-of-00002.safetensors").is_file()
    server.page(path, (weights / shard).read_bytes(), ok())
    first = server.sent_bytes("/ms/models/ZhipuAI/chatglm3-6b/resolve/master/model-00001")
    assert same_files(fetch_checkpoint(ID, tmp_path, quiet(), hubs=[modelscope(server)]), weights)
    assert server.sent_bytes("/ms/models/ZhipuAI/chatglm3-6b/resolve/master/model-00001") == first


def test_other_bytes_than_listed_are_refused(server: BadServer, weights: Path, tmp_path: Path) -> None:
    play_modelscope(server, weights)
    shard = "model-00002-of-00002.safetensors"
    wrong = bytearray((weights / shard).read_bytes())
    wrong[-1] ^= 1
    server.page(f"/ms/models/ZhipuAI/chatglm3-6b/resolve/master/{shard}", bytes(wrong))
    with pytest.raises(DigestMismatch, match=shard):
        fetch_checkpoint(ID, tmp_path, quiet(), hubs=[modelscope(server)])
    assert not (tmp_path / "THUDM--chatglm3-6b" / shard).exists()


def test_a_small_file_is_held_against_gits_digest(server: BadServer, weights: Path, tmp_path: Path) -> None:
    play_hugging_face(server, weights)
    server.page("/hf/THUDM/chatglm3-6b/resolve/main/config.json", b"{}")
    with pytest.raises(SourceError, match=r"config\.json could not be downloaded") as caught:
        fetch_checkpoint(ID, tmp_path, quiet(), hubs=[hugging_face(server)])
    assert "other bytes than listed" in caught.value.why


def test_a_listing_without_digests_is_refused(server: BadServer, weights: Path, tmp_path: Path) -> None:
    play_modelscope(server, weights, Sha256="")
    with pytest.raises(SourceError, match="gives no digest of config.json".replace(".", r"\.")):
        fetch_checkpoint(ID, tmp_path, quiet(), hubs=[modelscope(server)])


def test_an_unknown_id_is_told_with_every_hubs_reason(server: BadServer, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="THUDM/chatglm9 could not be found") as caught:
        fetch_checkpoint("THUDM/chatglm9", tmp_path, quiet(), hubs=[modelscope(server), hugging_face(server)])
    assert [line.split(":")[0] for line in caught.value.why.splitlines()] == ["ModelScope", "Hugging Face"]


def test_a_repository_of_something_else_is_told(server: BadServer, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.safetensors").write_bytes(b"1")
    play_modelscope(server, tmp_path / "other")
    with pytest.raises(SourceError, match=r"no config\.json and no tokenizer\.model"):
        fetch_checkpoint(ID, tmp_path, quiet(), hubs=[modelscope(server)])


def test_room_for_all_is_looked_for_first(
    server: BadServer, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play_modelscope(server, weights)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100_000})())
    with pytest.raises(StorageError, match="no room for the original weights"):
        fetch_checkpoint(ID, tmp_path, quiet(), hubs=[modelscope(server)])
    assert server.sent_bytes("/ms/models") == 0


def test_names_that_lead_out_of_the_folder_are_not_taken() -> None:
    listed = [hub.HubFile(path, 1, "0" * 64) for path in ("config.json", "tokenizer.model", "model-..\\x.safetensors")]
    with pytest.raises(ValueError, match="no weights"):
        hub._needed(listed)


def test_quantise_takes_a_hub_id(
    server: BadServer, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play_modelscope(server, weights)
    orders = []

    def ordered(hub_id: str, mirrors: str) -> list[Hub]:
        orders.append(mirrors)
        return [modelscope(server)]

    monkeypatch.setattr(hub, "hubs_in_order", ordered)
    options = {"log": quiet(), "downloads": tmp_path / "downloads", "mirrors": "cn"}
    made = quantize(ID, "q4_0", tmp_path / "model.bin", **options)  # type: ignore[arg-type]
    quantize(ID, "q4_0", tmp_path / "again.bin", **options)  # type: ignore[arg-type]
    assert orders == ["cn"], "what is there already needs no hub"
    quantize(weights, "q4_0", tmp_path / "direct.bin", log=quiet())
    assert made.path.read_bytes() == (tmp_path / "direct.bin").read_bytes()
    assert convert.HUB_ID.fullmatch(ID)


def test_mirrors_say_which_hub_is_asked_first(
    server: BadServer, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {mirrors: [hub.name for hub in hub.hubs_in_order(ID, mirrors)] for mirrors in ("cn", "global")}
    assert names["cn"] == ["ModelScope", "hf-mirror", "Hugging Face"]
    assert names["global"] == names["cn"][::-1]
    play_hugging_face(server, weights)
    dead = Hub("ModelScope", "modelscope", "http://127.0.0.1:9", "ZhipuAI", "master")
    monkeypatch.setattr(hub, "CHINA_FIRST", (dead, hugging_face(server)))
    assert hub.hubs_in_order(ID, "auto") == [hugging_face(server), dead]
