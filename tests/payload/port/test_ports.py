from __future__ import annotations

import errno
import socket
import struct

import pytest

from oneclick.errors import OneClickError
from oneclick.messages import set_language
from oneclick.pc.tcp_table import IPV4, IPV6, pid_in_table
from oneclick.port import ports


@pytest.fixture(autouse=True)
def chinese() -> None:
    set_language("zh")


def test_a_browser_that_comes_before_the_server_waits_instead_of_failing() -> None:
    with ports.take_port("127.0.0.1", 0, fixed=True) as listener, socket.create_connection(listener.getsockname()):
        pass


def test_the_next_free_port_is_taken() -> None:
    with ports.listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with ports.take_port("127.0.0.1", port, fixed=False) as second:
            assert port < second.getsockname()[1] <= port + ports.TRIES


def test_a_fixed_port_that_is_taken_is_an_error() -> None:
    with ports.listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(ports.PortTaken, match=f"端口 {port} 已被另一个程序占用"):
            ports.take_port("127.0.0.1", port, fixed=True)


def test_on_windows_the_port_is_nobody_elses_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """SO_REUSEADDR, which uvicorn sets, would let a second program listen there as well."""
    monkeypatch.setattr(ports.sys, "platform", "win32")
    # An option that Linux knows and that is off by default stands for the one that only Windows has.
    monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_KEEPALIVE, raising=False)
    with ports.listen("127.0.0.1", 0) as listener:
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 0


def test_a_port_that_windows_keeps_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(host: str, port: int) -> socket.socket:
        raise PermissionError(errno.EACCES, "forbidden")

    monkeypatch.setattr(ports, "listen", refuse)
    with pytest.raises(ports.PortTaken, match="被 Windows 保留"):
        ports.take_port("127.0.0.1", 8000, fixed=True)


def test_the_reserved_ports_are_stepped_over(monkeypatch: pytest.MonkeyPatch) -> None:
    really = ports.listen

    def refuse_low(host: str, port: int) -> socket.socket:
        if port < 8003:
            raise PermissionError(errno.EACCES, "forbidden")
        return really(host, 0)

    monkeypatch.setattr(ports, "listen", refuse_low)
    ports.take_port("127.0.0.1", 8000, fixed=False).close()


def test_the_owner_is_named_when_windows_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "owner_of", lambda port: ("迅雷.exe", 42))
    assert "已被 迅雷.exe（进程号 42）占用" in str(ports.port_taken(8000, reserved=False))


def test_an_address_of_another_machine_is_refused_in_words() -> None:
    with pytest.raises(OneClickError, match=r"不能使用地址 192\.0\.2\.1"):
        ports.take_port("192.0.2.1", 8000, fixed=False)


@pytest.mark.parametrize(
    ("host", "loopback"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("pc", False)]
)
def test_only_loopback_needs_no_key(host: str, loopback: bool) -> None:
    assert ports.is_loopback(host) == loopback


def test_the_process_of_a_port_is_found_in_windows_table() -> None:
    def row(port: int, pid: int) -> bytes:
        return struct.pack("<II", 2, 0x0100007F) + struct.pack(">H", port) + bytes(2) + struct.pack("<III", 0, 0, pid)

    table = struct.pack("<I", 2) + row(135, 900) + row(8000, 4321)
    assert pid_in_table(table, IPV4, 8000) == 4321
    assert pid_in_table(table, IPV4, 8001) is None
    assert pid_in_table(table[:-1], IPV4, 8000) is None
    assert pid_in_table(struct.pack("<I", 1) + row(8000, 0), IPV4, 8000) == 0, "somebody listens, Wine says not who"
    assert pid_in_table(b"", IPV4, 8000) is None


def test_the_process_of_an_ipv6_port_is_found() -> None:
    row = bytes(20) + struct.pack(">H", 8000) + bytes(2) + bytes(28) + struct.pack("<I", 77)
    assert len(row) == IPV6.size
    assert pid_in_table(struct.pack("<I", 1) + row, IPV6, 8000) == 77


def test_blocks_that_windows_keeps_around_the_port_are_left_for_a_far_one(monkeypatch: pytest.MonkeyPatch) -> None:
    really, asked = ports.listen, []

    def kept_in_blocks(host: str, port: int) -> socket.socket:
        asked.append(port)
        if 7900 <= port < 8200 or 17950 <= port < 18050:
            raise PermissionError(errno.EACCES, "forbidden")
        return really(host, 0)

    monkeypatch.setattr(ports, "listen", kept_in_blocks)
    ports.take_port("127.0.0.1", 8000, fixed=False).close()
    assert asked[-1] == 28000


def test_where_every_port_is_kept_the_system_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    really = ports.listen

    def only_zero(host: str, port: int) -> socket.socket:
        if port:
            raise PermissionError(errno.EACCES, "forbidden")
        return really(host, port)

    monkeypatch.setattr(ports, "listen", only_zero)
    ports.take_port("127.0.0.1", 8000, fixed=False).close()


@pytest.mark.parametrize(("listened", "waits"), [(False, True), (True, False), (None, False)])
def test_a_port_that_lingers_is_waited_for(monkeypatch: pytest.MonkeyPatch, listened: bool | None, waits: bool) -> None:
    """As after a quick restart on Windows: bound still, and nobody listens."""
    really, refused = ports.listen, [OSError(errno.EADDRINUSE, "in use")] * 2

    def lingering(host: str, port: int) -> socket.socket:
        if port == 8000 and refused:
            raise refused.pop()
        return really(host, 0)

    monkeypatch.setattr(ports, "listen", lingering)
    monkeypatch.setattr(ports, "is_listened_on", lambda _: listened)
    monkeypatch.setattr(ports.time, "sleep", lambda _: None)
    if waits:
        ports.take_port("127.0.0.1", 8000, fixed=True).close()
    else:
        with pytest.raises(ports.PortTaken):
            ports.take_port("127.0.0.1", 8000, fixed=True)


def test_a_port_of_another_user_is_not_said_to_be_kept_by_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows refuses both with WSAEACCES; in its table one of them is listened on."""

    def refuse(host: str, port: int) -> socket.socket:
        raise PermissionError(errno.EACCES, "forbidden")

    monkeypatch.setattr(ports, "listen", refuse)
    monkeypatch.setattr(ports, "is_listened_on", lambda port: True)
    monkeypatch.setattr(ports, "owner_of", lambda port: ("迅雷.exe", 42))
    with pytest.raises(ports.PortTaken, match=r"已被 迅雷\.exe（进程号 42）占用"):
        ports.take_port("127.0.0.1", 8000, fixed=True)
