from __future__ import annotations

import socket
from pathlib import Path

import pytest

from oneclick.port import ports
from oneclick.port.claim import Claim, claim_port
from oneclick.settings import Settings


def claimed(tmp_path: Path) -> Claim:
    claim = claim_port(Settings(port=0), tmp_path / "logs" / "running.json")
    assert isinstance(claim, Claim)
    claim.release()
    return claim


def test_localhost_is_ours_too_where_it_means_ipv6(tmp_path: Path) -> None:
    claim = claimed(tmp_path)
    assert not claim.ipv6_owner
    assert len(claim.listeners) == (2 if socket.has_ipv6 and Path("/proc/net/if_inet6").exists() else 1)


@pytest.mark.parametrize(
    ("number", "listened", "is_told"),
    [
        (10048, None, True),  # the same user's program
        (10013, True, True),  # another user's program
        (10013, False, False),  # kept by Windows: nobody answers there
        (10049, False, False),  # no IPv6
    ],
)
def test_whoever_has_localhost_over_ipv6_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, listened: bool | None, is_told: bool
) -> None:
    really = ports.listen

    def refuse_ipv6(host: str, port: int) -> socket.socket:
        if host == "::1":
            error = OSError(number, "refused")
            error.winerror = number  # type: ignore[attr-defined]
            raise error
        return really(host, port)

    asked = []

    def is_listened_on(port: int, *, only_ipv6: bool = False) -> bool | None:
        asked.append(only_ipv6)
        return listened

    monkeypatch.setattr(ports, "listen", refuse_ipv6)
    monkeypatch.setattr(ports, "is_listened_on", is_listened_on)
    assert claimed(tmp_path).ipv6_owner is is_told
    assert all(asked), "our own socket listens on IPv4 and is nobody else"
