"""Who was turned away is asked about on our page, and on no other, and comes in only after a yes: on a live server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneclick.messages import set_language
from oneclick.server.http import gate
from oneclick.server.runtime import ServerConfig
from oneclick.server.strangers import HOST, MOST_STRANGERS, ORIGIN, can_be_asked
from oneclick.settings import read_settings
from tests.payload.conftest import LiveServer, StartServer
from tests.payload.server.http.test_gate import BAD_HOSTS, BAD_ORIGINS, code_of, send

EXTENSION = "chrome-extension://bpoadfkcbjbfhfodiogcnhhhpibjhbnh"
DOCKER = "host.docker.internal"


@pytest.fixture(autouse=True)
def chinese() -> None:
    set_language("zh")


@pytest.fixture
def server(start_server: StartServer, tmp_path: Path) -> LiveServer:
    """A server without a model, whose settings file does not exist yet."""
    return start_server(None, config=ServerConfig(settings_file=tmp_path / "设置.toml"))


def as_page(server: LiveServer, **other: str) -> list[tuple[str, str]]:
    """Return the headers our own page sends; ``other`` ones replace them, an empty value leaves one out."""
    host = f"127.0.0.1:{server.port}"
    headers = {"Host": host, "Origin": f"http://{host}", "X-OneClick-Token": server.runtime.token}
    return [
        (name, value)
        for name, value in {**headers, **{k.replace("_", "-"): v for k, v in other.items()}}.items()
        if value
    ]


def come(server: LiveServer, origin: str = "", host: str = "127.0.0.1", method: str = "GET") -> int:
    """Ask for the models as a program under this origin and host; return the status."""
    return send(server, method, "/v1/models", [("Host", host), *([("Origin", origin)] if origin else [])])[0]


def waiting(server: LiveServer, **other: str) -> list[dict[str, str]] | None:
    found: list[dict[str, str]] | None = json.loads(send(server, "GET", "/status", as_page(server, **other))[2]).get(
        "strangers"
    )
    return found


def decide(server: LiveServer, kind: str, name: str, answer: str, **other: str) -> tuple[int, Any]:
    body = json.dumps({"kind": kind, "name": name, "answer": answer}).encode()
    status, _, told = send(server, "POST", "/oneclick/strangers", as_page(server, **other), body)
    return status, json.loads(told)


@pytest.mark.parametrize("answer", ["once", "always"])
def test_a_yes_counts_from_the_next_request_on(server: LiveServer, tmp_path: Path, answer: str) -> None:
    assert come(server, EXTENSION, method="OPTIONS") == come(server, EXTENSION) == 403
    assert waiting(server) == [{"kind": "origin", "name": EXTENSION}]
    assert decide(server, "origin", EXTENSION, answer) == (200, {"message": None})
    assert waiting(server) == []
    assert come(server, EXTENSION) == 200
    assert come(server, EXTENSION[:-1]) == 403
    assert read_settings(tmp_path / "设置.toml").allowed_origins == ((EXTENSION,) if answer == "always" else ())


@pytest.mark.parametrize("answer", ["once", "always"])
def test_a_name_of_this_pc_is_let_in_with_any_port(server: LiveServer, tmp_path: Path, answer: str) -> None:
    assert come(server, host="Host.Docker.Internal:8000") == 403
    assert waiting(server) == [{"kind": "host", "name": "Host.Docker.Internal"}]
    assert decide(server, "host", "Host.Docker.Internal", answer)[0] == 200
    assert come(server, host=DOCKER) == come(server, host=f"{DOCKER}:1234") == 200
    written = read_settings(tmp_path / "设置.toml")
    assert (written.allowed_hosts, written.problems) == (("Host.Docker.Internal",) if answer == "always" else (), ())


def test_a_no_is_remembered_until_the_end(server: LiveServer, tmp_path: Path) -> None:
    come(server, EXTENSION)
    assert decide(server, "origin", EXTENSION, "no") == (200, {"message": None})
    assert come(server, EXTENSION.upper()) == come(server, EXTENSION) == 403
    assert waiting(server) == []
    assert list(tmp_path.iterdir()) == []


def test_each_is_asked_about_once_and_answered_once(server: LiveServer) -> None:
    for _ in range(3):
        come(server, EXTENSION)
    assert len(waiting(server) or []) == len(server.runtime.strangers.sentences) == 1
    assert decide(server, "origin", EXTENSION, "once")[0] == 200
    status, told = decide(server, "origin", EXTENSION, "no")
    assert (status, told["error"]["code"]) == (409, "not_waiting")
    assert come(server, EXTENSION) == 200


def test_a_page_under_many_names_fills_neither_page_nor_window(server: LiveServer) -> None:
    for number in range(5 * MOST_STRANGERS):
        come(server, f"https://{number}.example")
    assert len(waiting(server) or []) == len(server.runtime.strangers.sentences) == MOST_STRANGERS


# What cannot be asked about


@pytest.mark.parametrize(
    "origin",
    [
        *("null", "https://*", "chrome-extension://*", "file://x", "https://user@evil.com", "https://evil.com/path"),
        *("https://a" + "a" * 120, "https://b\u00fccher.example", "https://a.example,https://b.example", "evil.com"),
        *("https://a'b", 'https://a"b', "https://<img>", "https://a.example#x"),
    ],
)
def test_an_origin_that_is_no_single_readable_one_is_refused_without_a_card(server: LiveServer, origin: str) -> None:
    assert come(server, origin) == 403
    assert waiting(server) == ([{"kind": "origin", "name": origin}] if origin == "file://x" else [])


@pytest.mark.parametrize(
    "host", ["localhost.", "evil.com.", "a b", "[::1]x", "user@127.0.0.1", "*", "b\u00fccher", ".", "h" * 121]
)
def test_a_host_that_is_no_single_name_is_refused_without_a_card(server: LiveServer, host: str) -> None:
    assert come(server, host=host) in (400, 403)
    assert waiting(server) == []


@given(st.text(st.characters(max_codepoint=255), max_size=150), st.sampled_from([ORIGIN, HOST]))
def test_whatever_can_be_asked_about_means_itself_alone(name: str, kind: str) -> None:
    if can_be_asked(kind, name):
        assert name.isascii() and "*" not in name and "'" not in name
        other = name + "x"
        if kind == ORIGIN:
            assert gate.origin_allowed(name, (name,))
            assert not gate.origin_allowed(other, (name,)) or gate.origin_allowed(other, ())
        else:
            assert gate.host_allowed([name], frozenset((name.lower(),)), "1.1")
            assert not gate.host_allowed([other], frozenset((name.lower(),)), "1.1") or gate.host_allowed(
                [other], frozenset(), "1.1"
            )


def test_punycode_is_shown_as_it_came(server: LiveServer) -> None:
    come(server, "https://xn--80ak6aa92e.com")
    assert waiting(server) == [{"kind": "origin", "name": "https://xn--80ak6aa92e.com"}]


# Who may answer


@pytest.mark.parametrize(
    "other",
    [
        {"X_OneClick_Token": ""},
        {"X_OneClick_Token": "wrong"},
        {"Host": "my-pc:8000", "Origin": "http://my-pc:8000"},
        {"Host": "my-pc:8000", "Origin": ""},
        {"Origin": "http://localhost:3000"},
        {"Origin": "app://obsidian.md"},
        {"Origin": "https://allowed.example"},
    ],
)
def test_only_our_page_hears_of_strangers_and_decides(start_server: StartServer, other: dict[str, str]) -> None:
    config = ServerConfig(allow_hosts=("my-pc",), allow_origins=("https://allowed.example",))
    server = start_server(None, config=config)
    come(server, EXTENSION)
    assert waiting(server, **other) is None
    status, told = decide(server, "origin", EXTENSION, "once", **other)
    assert (status, told["error"]["code"]) == (403, "token_required")
    assert come(server, EXTENSION) == 403
    assert waiting(server, Origin="") == [{"kind": "origin", "name": EXTENSION}]


def test_a_key_is_no_permission_to_decide(start_server: StartServer) -> None:
    server = start_server(None, config=ServerConfig(api_key="Sesam"))
    come(server, EXTENSION)
    other = {"X_OneClick_Token": "", "Authorization": "Bearer Sesam"}
    assert waiting(server, **other) is None
    assert decide(server, "origin", EXTENSION, "once", **other)[0] == 403
    assert decide(server, "origin", EXTENSION, "once")[0] == 200


@pytest.mark.parametrize("client", [None, ("192.168.1.9", 5), ("127.0.0.2", 5)])
def test_another_pc_is_no_page_of_ours(client: Any) -> None:
    assert not gate.is_own_page({"client": client}, {"host": ["127.0.0.1"]})
    assert gate.is_own_page({"client": ("::1", 5)}, {"host": ["[::1]:8000"], "origin": ["http://[::1]:8000"]})


def test_a_name_the_user_allowed_never_gets_the_pages_token(server: LiveServer) -> None:
    """Were it a website's name that points here, its page could let others in."""
    come(server, host="rebind.network")
    decide(server, "host", "rebind.network", "once")
    for host in ("rebind.network", f"rebind.network:{server.port}"):
        status, _, page = send(server, "GET", "/", [("Host", host)])
        assert status == 200 and server.runtime.token.encode() not in page
    assert server.runtime.token.encode() in send(server, "GET", "/", [("Host", f"localhost:{server.port}")])[2]


@pytest.mark.parametrize(
    "body", [{}, {"kind": "origin", "name": EXTENSION}, {"kind": 1, "name": EXTENSION, "answer": "no"}]
)
def test_an_incomplete_answer_is_refused(server: LiveServer, body: dict[str, Any]) -> None:
    come(server, EXTENSION)
    status, _, told = send(server, "POST", "/oneclick/strangers", as_page(server), json.dumps(body).encode())
    assert (status, code_of(told)) == (400, "invalid_answer")


@pytest.mark.parametrize(("kind", "name"), [("origin", "https://never.came"), ("host", EXTENSION), ("port", "x")])
def test_nobody_is_let_in_who_did_not_come(server: LiveServer, kind: str, name: str) -> None:
    come(server, EXTENSION)
    assert decide(server, kind, name, "always")[0] == 409
    assert come(server, "https://never.came") == come(server, EXTENSION) == 403


# The matrix of DNS rebinding stays closed


def test_with_cards_open_and_one_allowed_every_other_name_stays_out(server: LiveServer) -> None:
    come(server, EXTENSION)
    come(server, host=DOCKER)
    for allowed in (False, True):
        if allowed:
            assert decide(server, "origin", EXTENSION, "once")[0] == decide(server, "host", DOCKER, "once")[0] == 200
        for host in BAD_HOSTS:
            expected = (200,) if allowed and host == DOCKER else (400, 403)
            assert come(server, host=host.format(port=server.port)) in expected, host
        for origin in filter(None, BAD_ORIGINS):
            assert come(server, origin) == 403, origin
        assert come(server, "https://evil.com", host=DOCKER) == 403
        assert come(server, f"http://{DOCKER}.evil.com", host=DOCKER) == 403


# Writing it down


def test_a_read_only_settings_file_is_said_and_the_program_lets_it_in_all_the_same(
    server: LiveServer, tmp_path: Path
) -> None:
    path = tmp_path / "设置.toml"
    path.write_text("# mine\n", encoding="utf-8")
    path.chmod(0o444)
    come(server, EXTENSION)
    status, told = decide(server, "origin", EXTENSION, "always")
    assert status == 200 and come(server, EXTENSION) == 200
    assert "文件是只读的" in told["message"]["zh"] and f"allowed_origins = ['{EXTENSION}']" in told["message"]["zh"]
    assert "read-only" in told["message"]["en"]
    assert path.read_text(encoding="utf-8") == "# mine\n"


def test_a_file_that_the_system_keeps_is_said_in_its_words(server: LiveServer, tmp_path: Path) -> None:
    (tmp_path / "设置.toml").mkdir()
    come(server, host=DOCKER)
    status, told = decide(server, "host", DOCKER, "always")
    assert status == 200 and "Is a directory" in told["message"]["en"]


def test_the_window_says_once_who_was_turned_away(server: LiveServer) -> None:
    for _ in range(3):
        come(server, "https://page-%s.example")
        come(server, host="my-pc:8000")
    sentences = list(server.runtime.strangers.sentences)
    assert len(sentences) == 2
    assert "allowed_origins = ['https://page-%s.example']" in sentences[0]
    assert "allowed_hosts = ['my-pc']" in sentences[1]
