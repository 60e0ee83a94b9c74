"""ModelScope and Hugging Face as the catalogue describes them: listings, linked digests, links that expire."""

from __future__ import annotations

import hashlib

import pytest

from oneclick.download import AllSourcesFailed, make_session
from oneclick.download.hubs import hugging_face, modelscope, source_of
from tests.payload.download.conftest import Fetch, reasons
from tests.support.bad_server import BadServer, cut


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_modelscope_is_asked_for_size_and_digest_and_its_link_followed(
    server: BadServer, fetch: Fetch, data: bytes
) -> None:
    server.modelscope("tiansz/chatglm3-6b-ggml", "chatglm3-ggml.bin", data, sha256=sha256(data), link_uses=2)
    source = modelscope("ModelScope", "tiansz/chatglm3-6b-ggml", "master", "chatglm3-ggml.bin", server.base)
    result = fetch(data, source)
    assert fetch.target.read_bytes() == data
    assert (result.source, result.attempts) == ("ModelScope", ())
    assert server.fetched("/api/v1/models/tiansz/chatglm3-6b-ggml/repo/files")


def test_hugging_face_is_asked_for_size_and_digest_and_its_link_followed(
    server: BadServer, fetch: Fetch, data: bytes
) -> None:
    server.huggingface("owner/name", "a model.bin", data, revision="abc", sha256=sha256(data), link_uses=3)
    result = fetch(data, hugging_face("HF", "owner/name", "abc", "a model.bin", server.base))
    assert fetch.target.read_bytes() == data
    assert (result.source, result.attempts) == ("HF", ())
    assert server.fetched("/owner/name/resolve")[0].method == "HEAD"


@pytest.mark.parametrize("hub", ["modelscope", "huggingface"])
def test_a_hub_that_announces_another_digest_is_not_downloaded_from(
    server: BadServer, fetch: Fetch, data: bytes, hub: str
) -> None:
    getattr(server, hub)("owner/name", "model.bin", data, sha256="1" * 64, revision="main")
    entry = {"name": "hub", "kind": hub, "repo": "owner/name", "revision": "main", "path": "model.bin"}
    result = fetch(data, source_of({**entry, "endpoint": server.base}), server.page("/good", data))
    assert reasons(result) == {"hub": "other_digest_announced"}
    assert server.sent_bytes("/signed") == 0


@pytest.mark.parametrize("hub", ["modelscope", "huggingface"])
def test_a_hub_that_announces_another_size_is_explained(server: BadServer, fetch: Fetch, data: bytes, hub: str) -> None:
    getattr(server, hub)("owner/name", "model.bin", data, revision="main", size_bytes=5)
    entry = {"name": "hub", "kind": hub, "repo": "owner/name", "revision": "main", "path": "model.bin"}
    with pytest.raises(AllSourcesFailed, match=f"its file has 5 bytes instead of {len(data)}"):
        fetch(data, source_of({**entry, "endpoint": server.base}))


def test_a_listing_that_is_down_does_not_keep_the_file_back(server: BadServer, fetch: Fetch, data: bytes) -> None:
    server.modelscope("owner/name", "model.bin", data)
    server.answers["/api/v1/models/owner/name/repo/files"] = lambda _: (502, {}, b"bad gateway")
    fetch(data, modelscope("ModelScope", "owner/name", "master", "model.bin", server.base))
    assert fetch.target.read_bytes() == data


def test_a_listing_without_size_and_digest_announces_nothing(server: BadServer, data: bytes) -> None:
    server.modelscope("owner/name", "model.bin", data, size_bytes=0)
    source = modelscope("ModelScope", "owner/name", "master", "model.bin", server.base)
    assert source.announce is not None
    with make_session() as session:
        announced = source.announce(session)
    assert (announced.size_bytes, announced.sha256) == (None, None)


def test_bytes_carry_over_from_modelscope_to_hugging_face(server: BadServer, fetch: Fetch, data: bytes) -> None:
    digest = sha256(data)
    server.modelscope("owner/name", "model.bin", data, cut(300_000), cut(0), sha256=digest)
    resolve, path = server.answers["/models/owner/name/resolve/master/model.bin"], "/models/owner/name/resolve"
    server.answers["/models/owner/name/resolve/master/model.bin"] = lambda request: (
        resolve(request) if len(server.fetched(path)) <= 2 else (500, {}, b"")
    )
    server.huggingface("owner/name", "model.bin", data, sha256=digest)
    first = modelscope("ModelScope", "owner/name", "master", "model.bin", server.base)
    second = hugging_face("HF", "owner/name", "main", "model.bin", server.base)
    result = fetch(data, first, second, tuning={"sample_bytes": 1 << 30}, connections=1)
    assert fetch.target.read_bytes() == data
    assert set(result.source.split(", ")) == {"ModelScope", "HF"}


def test_a_catalogue_entry_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="ftp"):
        source_of({"name": "x", "kind": "ftp", "url": "ftp://x/"})
    with pytest.raises(KeyError):
        source_of({"name": "x", "kind": "modelscope"})


def test_the_addresses_are_those_of_the_hubs() -> None:
    tiansz = {"name": "m", "kind": "modelscope", "repo": "tiansz/chatglm3-6b-ggml", "path": "chatglm3-ggml.bin"}
    assert (
        source_of(tiansz).address()
        == "https://www.modelscope.cn/models/tiansz/chatglm3-6b-ggml/resolve/master/chatglm3-ggml.bin"
    )
    mirror = {
        "name": "h",
        "kind": "huggingface",
        "repo": "Xorbits/chatglm3-6B-GGML",
        "revision": "6495644f",
        "path": "chatglm3-ggml-q4_0.bin",
        "endpoint": "https://hf-mirror.com",
    }
    assert (
        source_of(mirror).address()
        == "https://hf-mirror.com/Xorbits/chatglm3-6B-GGML/resolve/6495644f/chatglm3-ggml-q4_0.bin"
    )
