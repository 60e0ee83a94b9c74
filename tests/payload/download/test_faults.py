"""Every fault of a file host: what was verified stays, the source is named, the right file arrives."""

from __future__ import annotations

import email.utils
import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from oneclick.download import AllSourcesFailed, DigestDiffers, Source
from tests.payload.download.conftest import KIB, Fetch, reasons
from tests.support.bad_server import BadServer, Behaviour, cut, html, ok, stall, status, trickle

pytestmark = pytest.mark.slow


def test_four_connections_fetch_blocks_and_only_the_file_remains(
    server: BadServer, fetch: Fetch, data: bytes, leftovers: Callable[[], list[str]]
) -> None:
    url = server.page("/model.bin", data, ok(rate_bytes_s=2_000_000))
    result = fetch(data, url)
    assert fetch.target.read_bytes() == data
    assert leftovers() == ["model.bin"]
    assert result.source == "A"
    assert result.attempts == ()
    ranges = [request.range for request in server.fetched()][1:]
    assert set(ranges[:4]) == {f"bytes={n * 256 * KIB}-{(n + 1) * 256 * KIB - 1}" for n in range(4)}


def test_a_host_that_ignores_ranges_is_read_in_one_stream(server: BadServer, fetch: Fetch, data: bytes) -> None:
    url = server.page("/model.bin", data, ok(ranges=False))
    fetch(data, url)
    assert fetch.target.read_bytes() == data
    assert len(server.fetched()) == 2, "one probe, one stream"


def test_a_host_that_ignores_ranges_is_asked_after_one_that_knows_them(
    server: BadServer, fetch: Fetch, data: bytes
) -> None:
    result = fetch(data, server.page("/plain", data, ok(ranges=False)), server.page("/ranged", data))
    assert fetch.target.read_bytes() == data
    assert result.source == "B"


def test_200_instead_of_206_in_the_middle_is_never_appended(server: BadServer, fetch: Fetch, data: bytes) -> None:
    result = fetch(
        data, server.page("/model.bin", data, ok(), ok(rate_bytes_s=1e6), ok(ranges=False, rate_bytes_s=4e6))
    )
    assert fetch.target.read_bytes() == data
    assert reasons(result) == {"A": "no_ranges"}


def test_a_range_from_the_wrong_place_is_never_written(server: BadServer, fetch: Fetch, data: bytes) -> None:
    shifted = server.page("/shifted", data, cut(100 * KIB), ok(shift_bytes=100))
    result = fetch(data, shifted, server.page("/good", data), tuning={"small_bytes": 1e9})
    assert fetch.target.read_bytes() == data
    assert reasons(result) == {"A": "wrong_range"}
    assert result.source == "B, A"


def test_206_without_content_range_counts_when_its_length_fits(server: BadServer, fetch: Fetch, data: bytes) -> None:
    result = fetch(data, server.page("/model.bin", data, ok(content_range=False)))
    assert fetch.target.read_bytes() == data
    assert result.attempts == ()


def test_206_without_content_range_and_length_is_refused(server: BadServer, fetch: Fetch, data: bytes) -> None:
    with pytest.raises(AllSourcesFailed, match="does not say which range"):
        fetch(data, server.page("/model.bin", data, ok(content_range=False, content_length=False)))


def test_a_body_that_ends_early_goes_on_from_there(server: BadServer, fetch: Fetch, data: bytes) -> None:
    result = fetch(data, server.page("/model.bin", data, ok(), *[cut(100 * KIB)] * 6, ok()))
    assert fetch.target.read_bytes() == data
    assert reasons(result) == {"A": "cut"}


def test_a_host_that_always_cuts_still_delivers_in_the_end(server: BadServer, fetch: Fetch, data: bytes) -> None:
    fetch(data, server.page("/model.bin", data, cut(50 * KIB)))
    assert fetch.target.read_bytes() == data


@pytest.mark.parametrize(
    ("behaviour", "key"),
    [
        (Behaviour(body=b""), "empty"),
        (html(), "html"),
        (Behaviour(body=b"<html>", headers={"Content-Type": "application/octet-stream"}), "wrong_size"),
        (Behaviour(body=b"GGUF" + bytes(1000)), "wrong_size"),
        (status(404), "status"),
        (status(500), "status"),
        (status(403), "status"),
        (Behaviour(hang=True), "stalled"),
    ],
)
def test_a_host_without_the_file_is_named_and_the_next_one_taken(
    server: BadServer, fetch: Fetch, data: bytes, behaviour: Behaviour, key: str
) -> None:
    result = fetch(data, server.page("/bad", data, behaviour), server.page("/good", data), tuning={"small_bytes": 1e9})
    assert fetch.target.read_bytes() == data
    assert result.source == "B"
    assert reasons(result) == {"A": key}
    assert "next_source" in fetch.told()


@pytest.mark.parametrize("behaviour", [html(), Behaviour(body=b""), status(404), Behaviour(hang=True)])
def test_probing_finds_a_host_without_the_file_before_the_download(
    server: BadServer, fetch: Fetch, data: bytes, behaviour: Behaviour
) -> None:
    result = fetch(data, server.page("/bad", data, behaviour), server.page("/good", data))
    assert result.source == "B"
    assert len(server.fetched("/bad")) == 1


def test_another_file_of_the_same_size_is_told_by_its_first_bytes(server: BadServer, fetch: Fetch, data: bytes) -> None:
    other = b"GGUF" + data[4:]
    with pytest.raises(AllSourcesFailed, match="beginning of its file"):
        fetch(data, server.page("/model.bin", other))
    assert server.sent_bytes() <= 64 * 2


def test_no_source_left_lists_what_each_one_did(server: BadServer, fetch: Fetch, data: bytes) -> None:
    with pytest.raises(AllSourcesFailed) as caught:
        fetch(data, server.page("/a", data, html()), server.page("/b", data, status(404)), "http://127.0.0.1:9/")
    told = dict(caught.value.reasons())
    assert told == {
        "A": "it sent a web page instead of the file (a network login?)",
        "B": "it answered HTTP 404",
        "C": "127.0.0.1:9 refused or dropped the connection",
    }
    chinese, english = caught.value.both()
    assert all(f"  {name}: {reason}" in english for name, reason in told.items())
    assert "所有下载源都没有成功" in chinese
    assert "服务器返回 HTTP 404" in chinese


def test_more_bytes_than_the_file_has_are_not_taken(server: BadServer, fetch: Fetch, data: bytes) -> None:
    longer = ok(ranges=False, content_length=False, extra=b"x" * 100)
    result = fetch(data, server.page("/long", data, longer), tuning={"small_bytes": 1e9})
    assert fetch.target.read_bytes() == data
    assert reasons(result) in ({}, {"A": "too_long"})


def test_a_wrong_total_length_is_refused_before_a_byte_is_written(server: BadServer, fetch: Fetch, data: bytes) -> None:
    result = fetch(data, server.page("/long", data + b"x"), server.page("/good", data), tuning={"small_bytes": 1e9})
    assert reasons(result) == {"A": "wrong_size"}
    assert result.source == "B"


def test_a_silent_connection_is_left_for_another_source(server: BadServer, fetch: Fetch, data: bytes) -> None:
    result = fetch(
        data,
        server.page("/silent", data, ok(), ok(), stall(20 * KIB)),
        server.page("/good", data, ok(latency_s=0.05, rate_bytes_s=400_000)),
        connections=2,
    )
    assert fetch.target.read_bytes() == data
    assert reasons(result) == {"A": "stalled"}
    assert set(result.source.split(", ")) == {"A", "B"}


def test_a_silent_connection_to_the_only_source_is_made_anew(server: BadServer, fetch: Fetch, data: bytes) -> None:
    fetch(data, server.page("/model.bin", data, ok(), stall(100 * KIB), stall(100 * KIB), ok()), connections=2)
    assert fetch.target.read_bytes() == data


def test_a_trickling_source_is_left_for_another_one(server: BadServer, fetch: Fetch, data: bytes) -> None:
    """One byte now and then keeps every read alive; only the rate shows it."""
    slow = server.page("/slow", data, ok(), ok(), trickle(1000, after_bytes=32 * KIB))
    good = server.page("/good", data, ok(latency_s=0.1))
    result = fetch(data, slow, good, connections=2, tuning={"slow_window_s": 1.0})
    assert fetch.target.read_bytes() == data
    assert reasons(result) == {"A": "slow"}
    assert "B" in result.source


def test_the_only_source_may_be_slow(server: BadServer, fetch: Fetch) -> None:
    small = bytes(range(256)) * 200
    result = fetch(small, server.page("/slow", small, trickle(15_000)), tuning={"slow_window_s": 0.5})
    assert fetch.target.read_bytes() == small
    assert result.attempts == ()


def test_the_faster_of_two_sources_is_chosen(server: BadServer, fetch: Fetch, data: bytes) -> None:
    slow, fast = server.page("/slow", data, ok(rate_bytes_s=60_000)), server.page("/fast", data)
    fetch(data, slow, fast)
    assert server.sent_bytes("/fast") > 0.9 * len(data)
    assert server.sent_bytes("/slow") <= 64 * KIB


def test_416_with_another_size_means_another_file(server: BadServer, fetch: Fetch, data: bytes) -> None:
    refused = status(416, Content_Range="bytes */12345")
    a = server.page("/a", data, cut(100 * KIB), refused)
    result = fetch(data, a, server.page("/b", data), tuning={"small_bytes": 1e9})
    assert fetch.target.read_bytes() == data
    assert reasons(result) == {"A": "wrong_size"}


def test_416_with_the_right_size_is_asked_again(server: BadServer, fetch: Fetch, data: bytes) -> None:
    refused = status(416, Content_Range=f"bytes */{len(data)}")
    result = fetch(data, server.page("/a", data, cut(100 * KIB), refused, ok()), tuning={"small_bytes": 1e9})
    assert fetch.target.read_bytes() == data
    assert reasons(result) == {"A": "range_refused"}


def test_429_means_one_connection_after_the_time_it_asks_for(server: BadServer, fetch: Fetch, data: bytes) -> None:
    url = server.page("/model.bin", data, ok(only_one_connection=429, rate_bytes_s=4_000_000))
    fetch(data, url)
    assert fetch.target.read_bytes() == data
    assert "fewer_connections" in fetch.told()
    assert len(server.fetched()) < 14


def test_429_for_an_hour_means_the_next_source(server: BadServer, fetch: Fetch, data: bytes) -> None:
    busy = server.page("/busy", data, cut(100 * KIB), status(429, Retry_After="3600"))
    result = fetch(data, busy, server.page("/good", data), tuning={"small_bytes": 1e9})
    assert fetch.target.read_bytes() == data
    assert reasons(result) == {"A": "too_many"}


def test_a_date_in_retry_after_is_waited_for(server: BadServer, fetch: Fetch, data: bytes) -> None:
    later = email.utils.formatdate(time.time() + 2, usegmt=True)
    result = fetch(data, server.page("/a", data, status(503, Retry_After=later), ok()), tuning={"small_bytes": 1e9})
    assert time.time() >= email.utils.parsedate_to_datetime(later).timestamp()
    assert reasons(result) == {"A": "too_many"}


def test_403_after_a_redirect_asks_for_a_new_link(server: BadServer, fetch: Fetch, data: bytes) -> None:
    sha256 = hashlib.sha256(data).hexdigest()
    server.huggingface("owner/repo", "model.bin", data, sha256=sha256, link_uses=3)
    result = fetch(data, f"{server.base}/owner/repo/resolve/main/model.bin")
    assert fetch.target.read_bytes() == data
    assert result.attempts == ()
    assert any(request.path.endswith("/2") for request in server.fetched("/signed"))


def test_a_redirect_to_an_expired_link_is_asked_for_again(server: BadServer, fetch: Fetch, data: bytes) -> None:
    dead, good = server.page("/dead", data, status(403)), server.page("/signed", data)
    url = server.page("/model.bin", data, ok(redirect=good), ok(redirect=dead), ok(redirect=good))
    fetch(data, url, tuning={"slice_bytes": 16 * KIB})
    assert fetch.target.read_bytes() == data


def test_a_changed_etag_is_settled_by_the_digest(server: BadServer, fetch: Fetch, data: bytes) -> None:
    url = server.page(
        "/model.bin", data, ok(), ok(headers={"ETag": '"v2"'}), ok(headers={"ETag": '"v3"'}), ok(), etag='"v1"'
    )
    fetch(data, url)
    assert fetch.target.read_bytes() == data


def test_one_wrong_byte_is_found_by_comparing_with_a_second_source(
    server: BadServer, fetch: Fetch, data: bytes
) -> None:
    wrong = data[:700_000] + bytes([data[700_000] ^ 1]) + data[700_001:]
    good = server.page("/good", data, ok(rate_bytes_s=800_000))
    result = fetch(data, server.page("/wrong", wrong), good, tuning={"sample_bytes": 1 << 40})
    assert fetch.target.read_bytes() == data
    assert reasons(result) == {"A": "wrong_digest"}
    assert fetch.told() == ["compare_with"]


def test_a_reference_that_dies_is_followed_by_another(server: BadServer, fetch: Fetch, data: bytes) -> None:
    wrong = data[:700_000] + bytes([data[700_000] ^ 1]) + data[700_001:]
    a, b = server.page("/wrong", wrong), server.page("/dies", data, ok(), cut(0))
    result = fetch(data, a, b, server.page("/good", data), tuning={"sample_bytes": 1 << 40})
    assert fetch.target.read_bytes() == data
    assert set(reasons(result)) == {"A", "B"}
    assert reasons(result)["A"] == "wrong_digest"
    assert fetch.told().count("compare_with") == 2


def test_with_pinned_blocks_one_wrong_byte_costs_one_block(server: BadServer, fetch: Fetch, data: bytes) -> None:
    block = 256 * KIB
    pins = tuple(hashlib.sha256(data[i : i + block]).hexdigest() for i in range(0, len(data), block))
    wrong = data[:700_000] + bytes([data[700_000] ^ 1]) + data[700_001:]
    good = server.page("/good", data, ok(latency_s=0.1))
    result = fetch(data, server.page("/wrong", wrong, ok(rate_bytes_s=2e6)), good, block_sha256=pins)
    assert fetch.target.read_bytes() == data
    assert reasons(result)["A"] == "wrong_block"
    assert "A" in result.source, "what A sent well is kept"
    assert "compare_with" not in fetch.told()


def test_wrong_bytes_everywhere_are_kept_aside_and_every_source_is_named(
    server: BadServer, fetch: Fetch, data: bytes, leftovers: Callable[[], list[str]]
) -> None:
    wrong = data[:-1] + b"?" if data[-1:] != b"?" else data[:-1] + b"!"
    with pytest.raises(DigestDiffers) as caught:
        fetch(data, server.page("/a", wrong), server.page("/b", wrong))
    assert leftovers() == ["model.bin.bad"]
    assert caught.value.kept.read_bytes() == wrong
    assert caught.value.expected == hashlib.sha256(data).hexdigest()
    assert caught.value.got == hashlib.sha256(wrong).hexdigest()
    assert {name for name, _ in caught.value.reasons()} == {"A", "B"}


def test_a_wrong_digest_from_the_only_source_is_not_fetched_twice(server: BadServer, fetch: Fetch, data: bytes) -> None:
    with pytest.raises(DigestDiffers):
        fetch(data, server.page("/a", data[:-1] + b"\0"), sha256="0" * 64)
    assert "compare_with" not in fetch.told()


def test_an_address_that_must_be_looked_up_is_looked_up_once(server: BadServer, fetch: Fetch, data: bytes) -> None:
    asked = []

    def look_up() -> str:
        asked.append(1)
        return server.page("/model.bin", data)

    fetch(data, Source("index", look_up), tuning={"small_bytes": 1e9})
    assert asked == [1]


def test_an_address_that_cannot_be_looked_up_is_a_failed_source(server: BadServer, fetch: Fetch, data: bytes) -> None:
    def look_up() -> str:
        raise LookupError("no such release")

    result = fetch(data, Source("index", look_up), server.page("/good", data), tuning={"small_bytes": 1e9})
    assert [attempt.reason for attempt in result.attempts] == ["its address could not be looked up (no such release)"]


def test_an_unknown_size_is_streamed_from_the_first_good_source(
    server: BadServer, fetch: Fetch, data: bytes, leftovers: Callable[[], list[str]]
) -> None:
    chunked = server.page("/chunked", data, ok(content_length=False))
    result = fetch(data, server.page("/html", data, html()), chunked, size_bytes=None)
    assert (result.source, reasons(result)) == ("B", {"A": "html"})
    assert leftovers() == ["model.bin"]


def test_a_small_file_takes_one_request(server: BadServer, fetch: Fetch, data: bytes) -> None:
    fetch(data[:50_000], server.page("/small", data[:50_000]))
    assert [request.range for request in server.fetched()] == [""]


def test_an_empty_file_can_be_downloaded(server: BadServer, fetch: Fetch, tmp_path: Path) -> None:
    fetch(b"", server.page("/empty", b""))
    assert fetch.target.read_bytes() == b""
