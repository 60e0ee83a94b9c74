"""Pinned files from mirrors that behave, and misbehave, like python.org, GitHub and the package index."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bundle.errors import DigestMismatch, SourceError
from bundle.fetch import sources as sources_module
from bundle.fetch.sources import Sources
from bundle.log import Log
from tests.bundle.conftest import DATA, MakeSources, pin
from tests.support.bad_server import BadServer, Behaviour, cut, html, ok, stall, status

NOBODY = "http://127.0.0.1:9/"
"""A port where nothing listens."""


def text_of(log: Log) -> str:
    return log.stream.getvalue()  # type: ignore[attr-defined]


def test_a_file_comes_from_the_first_mirror_that_has_it(
    server: BadServer, second: BadServer, make_sources: MakeSources
) -> None:
    first_url, second_url = server.page("/a.zip", DATA), second.page("/a.zip", DATA)
    sources = make_sources(pin("a.zip"), world=(first_url.removesuffix("a.zip"), second_url.removesuffix("a.zip")))
    assert sources.fetch("a.zip").read_bytes() == DATA
    assert server.fetched() and not second.fetched()


def test_mirrors_in_china_are_asked_first_when_told(
    server: BadServer, second: BadServer, make_sources: MakeSources
) -> None:
    world, china = server.page("/a.zip", DATA), second.page("/a.zip", DATA)
    make_sources(
        pin("a.zip"), world=(world.removesuffix("a.zip"),), cn=(china.removesuffix("a.zip"),), mirrors="cn"
    ).fetch("a.zip")
    assert second.fetched() and not server.fetched()


def test_auto_asks_whoever_answers_first(server: BadServer, second: BadServer, make_sources: MakeSources) -> None:
    slow = server.page("/a.zip", DATA, ok(latency_s=1.5))
    fast = second.page("/a.zip", DATA)
    sources = make_sources(
        pin("a.zip"), world=(slow.removesuffix("a.zip"),), cn=(fast.removesuffix("a.zip"),), mirrors="auto"
    )
    assert sources.fetch("a.zip").read_bytes() == DATA
    assert second.sent_bytes("/a.zip") >= len(DATA)
    assert server.sent_bytes("/a.zip") < len(DATA)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (html(), "web page"),
        (status(404), "404"),
        (status(503), "503"),
        (Behaviour(body=b"short", status=200), "bytes instead of"),
        (Behaviour(body=b"", status=200), "empty"),
    ],
    ids=["html", "missing", "unavailable", "short", "empty"],
)
def test_a_faulty_mirror_is_named_and_the_next_one_taken(
    server: BadServer, second: BadServer, make_sources: MakeSources, log: Log, fault: Behaviour, said: str
) -> None:
    bad, good = server.page("/a.zip", DATA, fault), second.page("/a.zip", DATA)
    sources = make_sources(pin("a.zip"), world=(bad.removesuffix("a.zip"), good.removesuffix("a.zip")))
    assert sources.fetch("a.zip").read_bytes() == DATA
    assert "127.0.0.1" in text_of(log) and said in text_of(log)


def test_a_mirror_that_stalls_is_left(
    server: BadServer, second: BadServer, make_sources: MakeSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources_module, "IDLE_TIMEOUT_S", 0.5)
    bad, good = server.page("/a.zip", DATA, stall(2000)), second.page("/a.zip", DATA)
    sources = make_sources(pin("a.zip"), world=(bad.removesuffix("a.zip"), good.removesuffix("a.zip")))
    start = time.monotonic()
    assert sources.fetch("a.zip").read_bytes() == DATA
    assert time.monotonic() - start < 15


def test_an_interrupted_download_is_continued_by_the_next_run(
    server: BadServer, make_sources: MakeSources, tmp_path: Path
) -> None:
    data = DATA * 30
    url = server.page("/a.zip", data, cut(2_000_000), status(404), status(404), status(404), status(404))
    files = [pin("a.zip", data)]
    with pytest.raises(SourceError):
        make_sources(*files, world=(url.removesuffix("a.zip"),)).fetch("a.zip")
    assert list((tmp_path / "cache" / "partial").rglob("a.zip*"))
    url = server.page("/a.zip", data)
    before = server.sent_bytes("/a.zip")
    assert make_sources(*files, world=(url.removesuffix("a.zip"),)).fetch("a.zip").read_bytes() == data
    assert server.sent_bytes("/a.zip") - before < len(data)
    assert not list((tmp_path / "cache" / "partial").iterdir())


def test_a_wrong_digest_everywhere_is_an_error_with_both_digests(
    server: BadServer, make_sources: MakeSources, tmp_path: Path
) -> None:
    wrong = bytes(len(DATA))
    url = server.page("/a.zip", wrong)
    pinned = pin("a.zip")
    with pytest.raises(DigestMismatch) as caught:
        make_sources(pinned, world=(url.removesuffix("a.zip"),)).fetch("a.zip")
    assert pinned.sha256 in str(caught.value)
    assert pin("a.zip", wrong).sha256 in str(caught.value)
    assert [path.read_bytes() for path in tmp_path.rglob("*.bad")] == [wrong]


def test_a_wrong_digest_at_one_mirror_is_healed_by_the_next(
    server: BadServer, second: BadServer, make_sources: MakeSources
) -> None:
    bad, good = server.page("/a.zip", bytes(len(DATA))), second.page("/a.zip", DATA)
    sources = make_sources(pin("a.zip"), world=(bad.removesuffix("a.zip"), good.removesuffix("a.zip")))
    assert sources.fetch("a.zip").read_bytes() == DATA


def test_no_source_gives_a_table_of_everything_tried(server: BadServer, make_sources: MakeSources) -> None:
    url = server.page("/a.zip", DATA, status(404))
    sources = make_sources(pin("a.zip"), world=(NOBODY, url.removesuffix("a.zip").replace("127.0.0.1", "localhost")))
    with pytest.raises(SourceError) as caught:
        sources.fetch("a.zip")
    assert caught.value.exit_code == 3
    assert "127.0.0.1:" in caught.value.why and "localhost:" in caught.value.why


def test_a_host_out_of_reach_is_said_once_and_not_asked_again(
    server: BadServer, make_sources: MakeSources, log: Log
) -> None:
    files = [pin(f"{letter}.zip") for letter in "abcd"]
    for file in files:
        url = server.page(f"/{file.name}", DATA)
    good = url.rsplit("/", 1)[0].replace("127.0.0.1", "localhost") + "/"
    sources = make_sources(*files, world=(NOBODY, good))
    for file in files:
        assert sources.fetch(file.name).read_bytes() == DATA
    assert text_of(log).count("is left out of this build") == 1


def test_a_cached_file_needs_no_network(server: BadServer, make_sources: MakeSources) -> None:
    url = server.page("/a.zip", DATA)
    make_sources(pin("a.zip"), world=(url.removesuffix("a.zip"),)).fetch("a.zip")
    asked = len(server.fetched())
    assert make_sources(pin("a.zip"), world=(NOBODY,), offline=True).fetch("a.zip").read_bytes() == DATA
    assert len(server.fetched()) == asked


def test_a_damaged_cache_entry_is_fetched_again(server: BadServer, make_sources: MakeSources) -> None:
    url = server.page("/a.zip", DATA)
    path = make_sources(pin("a.zip"), world=(url.removesuffix("a.zip"),)).fetch("a.zip")
    path.write_bytes(DATA[:-1] + b"!")
    again: Sources = make_sources(pin("a.zip"), world=(url.removesuffix("a.zip"),))
    assert again.fetch("a.zip").read_bytes() == DATA


def test_offline_lists_everything_that_is_missing_at_once(make_sources: MakeSources) -> None:
    files = [pin("a.zip"), pin("b.zip", b"b"), pin("c.zip", b"c")]
    with pytest.raises(SourceError) as caught:
        make_sources(*files, offline=True).fetch_all(files)
    assert all(name in caught.value.why for name in ("a.zip", "b.zip", "c.zip"))


def test_several_failures_are_reported_together(server: BadServer, make_sources: MakeSources) -> None:
    files = [pin("a.zip"), pin("b.zip", b"bb"), pin("c.zip", b"cc")]
    url = server.page("/a.zip", DATA)
    server.page("/b.zip", b"", status(404))
    server.page("/c.zip", b"", status(404))
    with pytest.raises(SourceError) as caught:
        make_sources(*files, world=(url.removesuffix("a.zip"),)).fetch_all(files)
    assert "2 of 3" in caught.value.what and "b.zip" in caught.value.why and "c.zip" in caught.value.why


def test_a_file_of_a_project_is_found_through_the_index(server: BadServer, make_sources: MakeSources) -> None:
    file_url = server.page("/files/thing-1.0.tar.gz", DATA)
    page = f'<html><body><a href="{file_url}">thing-1.0.tar.gz</a></body></html>'.encode()
    listing = server.page("/simple/thing/", page, ok(headers={"Content-Type": "text/html"}))
    sources = make_sources(pin("thing-1.0.tar.gz", project="thing"), index=listing.removesuffix("thing/"))
    assert sources.fetch("thing-1.0.tar.gz").read_bytes() == DATA


def test_an_index_without_the_file_is_said(server: BadServer, make_sources: MakeSources) -> None:
    page = b"<html><body></body></html>"
    listing = server.page("/simple/thing/", page, ok(headers={"Content-Type": "text/html"}))
    sources = make_sources(pin("thing-1.0.tar.gz", project="thing"), index=listing.removesuffix("thing/"))
    with pytest.raises(SourceError, match=r"no thing-1\.0\.tar\.gz"):
        sources.fetch("thing-1.0.tar.gz")


def test_the_first_alternative_that_can_be_had_is_taken(server: BadServer, make_sources: MakeSources) -> None:
    url = server.page("/b.zip", b"bbb")
    files = [pin("a.zip"), pin("b.zip", b"bbb")]
    server.page("/a.zip", b"", status(404))
    sources = make_sources(*files, world=(url.removesuffix("b.zip"),), needs={"thing": ("a.zip", "b.zip")})
    pinned, path = sources.fetch_any("thing")
    assert (pinned.name, path.read_bytes()) == ("b.zip", b"bbb")


def test_a_cached_alternative_is_preferred_to_the_network(server: BadServer, make_sources: MakeSources) -> None:
    files = [pin("a.zip"), pin("b.zip", b"bbb")]
    url = server.page("/b.zip", b"bbb")
    server.page("/a.zip", DATA)
    needs = {"thing": ("a.zip", "b.zip")}
    make_sources(*files, world=(url.removesuffix("b.zip"),), needs=needs).fetch("b.zip")
    pinned, _ = make_sources(*files, world=(url.removesuffix("b.zip"),), needs=needs).fetch_any("thing")
    assert pinned.name == "b.zip"
    assert not server.fetched("/a.zip")


def test_an_unpinned_file_is_never_taken(make_sources: MakeSources) -> None:
    with pytest.raises(SourceError, match="is not pinned"):
        make_sources().fetch("surprise.zip")
