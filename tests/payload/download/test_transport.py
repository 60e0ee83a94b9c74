"""Certificates, clocks, proxies, cancelled reads: the connection itself."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from oneclick.download import AllSourcesFailed, ProbeResult, make_session, order_by_answer, probe
from oneclick.download import Source as AnySource
from oneclick.download import proxy as lines
from oneclick.download.faults import Fault
from oneclick.download.transport import open_range
from tests.payload.download.conftest import Fetch, reasons
from tests.support.bad_server import BadServer, Behaviour, ok, stall, status

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def tls_server(certificate: trustme.LeafCert) -> Iterator[str]:
    """Serve "hello" at https://localhost with ``certificate``; yield the address."""

    class Hello(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *_: object) -> None: ...

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Refused handshakes are the point."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    with Server(("127.0.0.1", 0), Hello) as running:
        running.socket = context.wrap_socket(running.socket, server_side=True)
        threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        yield f"https://localhost:{running.server_address[1]}/file"
        running.shutdown()


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """A certificate authority that this system trusts."""
    authority = trustme.CA()
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    return authority


def told(url: str) -> str:
    result = probe(AnySource("A", url), connect_timeout_s=5)
    assert result.attempt is not None
    return result.attempt.reason


def test_an_authority_that_the_system_trusts_is_trusted(authority: trustme.CA) -> None:
    """As a company's own authority in Windows' store."""
    with tls_server(authority.issue_cert("localhost")) as url:
        assert probe(AnySource("A", url)).ok


def test_an_unknown_authority_is_refused_and_explained(authority: trustme.CA) -> None:
    with tls_server(trustme.CA().issue_cert("localhost")) as url:
        assert "certificate is not trusted" in told(url)


@pytest.mark.parametrize("years", [-3, 3])
def test_a_certificate_of_another_time_asks_for_the_clock(authority: trustme.CA, years: int) -> None:
    start = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=365 * years)
    certificate = authority.issue_cert("localhost", not_before=start, not_after=start + datetime.timedelta(days=30))
    with tls_server(certificate) as url:
        assert f"this PC says it is {datetime.datetime.now().astimezone().strftime('%Y-%m-%d')}" in told(url)


def test_the_proxy_of_the_system_is_used(server: BadServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.base)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    server.page("/file", b"through the proxy")
    assert probe(AnySource("A", "http://a-host-only-the-proxy-knows.invalid/file")).ok


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[BadServer]:
    """The proxy of the system; this machine counts as one in China."""
    monkeypatch.setattr(lines, "IN_CHINA", ("127.0.0.1",))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with BadServer() as running:
        monkeypatch.setenv("http_proxy", running.base)
        yield running


def test_a_host_in_china_is_asked_past_a_dead_proxy(
    server: BadServer, proxy: BadServer, fetch: Fetch, data: bytes
) -> None:
    proxy.page("/model.bin", data, status(502))
    result = fetch(data, server.page("/model.bin", data))
    assert fetch.target.read_bytes() == data
    assert (result.source, reasons(result)) == ("A (without the proxy)", {"A": "status"})


def test_a_host_in_china_is_asked_past_a_slow_proxy(
    server: BadServer, proxy: BadServer, fetch: Fetch, data: bytes
) -> None:
    """Timed like two sources: the proxy needs longer for its sample than all the rest takes."""
    proxy.page("/model.bin", data, ok(rate_bytes_s=10_000))
    result = fetch(data, server.page("/model.bin", data))
    assert fetch.target.read_bytes() == data
    assert result.source.split(", ")[0] == "A (without the proxy)"


def test_a_proxy_that_is_as_fast_is_used(server: BadServer, proxy: BadServer, fetch: Fetch, data: bytes) -> None:
    proxy.page("/model.bin", data)
    result = fetch(data, server.page("/model.bin", data, ok(rate_bytes_s=10_000)))
    assert fetch.target.read_bytes() == data
    assert result.source.split(", ")[0] == "A"


def test_a_small_file_comes_past_a_dead_proxy_too(server: BadServer, proxy: BadServer, fetch: Fetch) -> None:
    proxy.page("/small", b"x", status(502))
    fetch(b"small", server.page("/small", b"small"))
    assert fetch.target.read_bytes() == b"small"


def test_a_file_of_unknown_size_comes_past_a_dead_proxy_too(server: BadServer, proxy: BadServer, fetch: Fetch) -> None:
    proxy.page("/file", b"x", status(502))
    result = fetch(b"content", server.page("/file", b"content"), size_bytes=None)
    assert result.source == "A (without the proxy)"


def test_a_host_elsewhere_is_only_asked_through_the_proxy(
    server: BadServer, proxy: BadServer, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "IN_CHINA", ())
    proxy.page("/file", b"x", status(404))
    with pytest.raises(AllSourcesFailed):
        fetch(b"content", server.page("/file", b"content"))
    assert server.fetched() == []


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://www.modelscope.cn/models/x", True),
        ("https://hf-mirror.com/x", True),
        ("https://registry.npmmirror.com/x", True),
        ("https://huggingface.co/x", False),
        ("https://nothf-mirror.com/x", False),
        ("https://example.com/.cn", False),
    ],
)
def test_hosts_in_china_are_known_by_their_names(monkeypatch: pytest.MonkeyPatch, url: str, expected: bool) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert len(lines.with_direct_lines([AnySource("A", url)])) == (2 if expected else 1)
    monkeypatch.setenv("no_proxy", "*")
    assert len(lines.with_direct_lines([AnySource("A", url)])) == 1


def test_a_dead_proxy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert told("http://example.invalid/file") == "the system's proxy does not answer"


def test_an_unknown_host_is_told_from_a_dead_one() -> None:
    assert "cannot be found" in told("http://no-such-host.invalid/file")
    assert "127.0.0.1:9 refused" in told("http://127.0.0.1:9/file")


@pytest.mark.parametrize("address", ["", "model.bin", "htp://x/y", "http://"])
def test_an_address_that_is_none_is_a_failed_source(fetch: Fetch, address: str) -> None:
    with pytest.raises(AllSourcesFailed, match="not a valid address"):
        fetch(b"x" * 100, address)


def test_a_read_that_waits_can_be_cut_from_another_thread(server: BadServer) -> None:
    url = server.page("/silent", bytes(1000), stall(10))
    with make_session() as session:
        body = open_range(session, url, 0, 1000, size_bytes=1000, connect_timeout_s=5, idle_timeout_s=300)
        began = time.monotonic()
        assert len(body.read()) == 10
        threading.Timer(0.2, body.abort).start()
        with pytest.raises(Fault):
            body.read()
        assert time.monotonic() - began < 150
        body.close()
        body.abort()


def asked_in_turn(
    server: BadServer, monkeypatch: pytest.MonkeyPatch, names: Sequence[str], **behaviours: Behaviour
) -> dict[str, AnySource]:
    """Return sources whose servers answer one after the other, as ``names`` say, each once the one before was heard."""
    heard = {name: threading.Event() for name in names}

    def noted(source: AnySource, **options: Any) -> ProbeResult:
        result = probe(source, **options)
        heard[source.name].set()
        return result

    monkeypatch.setitem(order_by_answer.__globals__, "probe", noted)
    held = [None, *heard.values()]
    pages = {name: replace(behaviours.get(name, ok()), held=before) for name, before in zip(names, held, strict=False)}
    return {name: AnySource(name, server.page(f"/{name}", b"x", how)) for name, how in pages.items()}


def test_sources_are_ordered_by_who_answers_first(server: BadServer, monkeypatch: pytest.MonkeyPatch) -> None:
    found = asked_in_turn(server, monkeypatch, ["broken", "fast", "slow"], broken=status(500))
    sources = [found["broken"], found["slow"], found["fast"]]
    assert [source.name for source in order_by_answer(sources, grace_s=60)] == ["fast", "slow", "broken"]


def test_a_silent_source_is_not_waited_for_once_another_answered(
    server: BadServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = Behaviour(hang=True)
    found = asked_in_turn(server, monkeypatch, ["broken", "fast", "silent"], broken=status(500), silent=hangs)
    sources = [found["broken"], found["silent"], found["fast"]]
    ordered = order_by_answer(sources, grace_s=0.2, connect_timeout_s=300)
    assert [source.name for source in ordered] == ["fast", "silent", "broken"]


def test_the_user_agent_is_short(server: BadServer) -> None:
    probe(AnySource("A", server.page("/file", b"x")))
    sent = server.fetched()[0].headers
    assert len(sent["User-Agent"]) < 30
    assert sent["Accept-Encoding"] == "identity"
