"""Take a port before anything slow, so that nobody waits minutes for "address already in use"."""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys
import time
from typing import Iterator

from oneclick.errors import OneClickError

TRIES = 50
"""How many ports after the wanted one are tried."""
FAR = (18000, 28000, 0)
"""Tried then; 0 lets the system choose. WinNAT keeps ports in blocks of 100 side by side, so near ones fail alike."""
LINGER_S = 5.0
"""How long a port that nobody listens on may stay bound: Windows frees it when the last connection of a program that
just ended is gone."""
BACKLOG = 128
TAKEN = (errno.EADDRINUSE, 10048)
RESERVED = (errno.EACCES, 10013)
"""Windows answers WSAEACCES for ports that Hyper-V or WinNAT keep for themselves though nobody listens, and for those
that another user's program has.
https://learn.microsoft.com/windows/win32/winsock/using-so-reuseaddr-and-so-exclusiveaddruse"""


class PortTaken(OneClickError):
    """The one port that may be used belongs to another program; ``values`` has ``port`` and ``owner``."""


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket of our own on ``host``:``port``; 0 lets the system choose.

    The socket listens at once: a browser that comes before the server runs waits instead of failing.
    Raises OSError when the port is taken (``TAKEN``) or kept by Windows (``RESERVED``).
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        _claim_alone(listener)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _claim_alone(listener: socket.socket) -> None:
    """Let nobody share the port: on Windows SO_REUSEADDR (uvicorn's own choice) would let two programs bind it."""
    if sys.platform == "win32":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    else:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def take_port(host: str, port: int, *, fixed: bool) -> socket.socket:
    """Return a listening socket on ``port``, or on the next one that is free unless the port is ``fixed``.

    A port that Windows keeps for itself refuses the bind like a taken one, so trying is all it needs to stay out of
    the excluded ranges. Raises PortTaken (fixed, or none free) or OneClickError for an address that is not ours.
    """
    first_error = 0
    _wait_while_it_lingers(host, port)
    for candidate in _candidates(port, fixed=fixed):
        try:
            return listen(host, candidate)
        except OSError as error:
            number = number_of(error)
            if number not in TAKEN + RESERVED:
                raise OneClickError("launcher.address_unusable", host=host, reason=str(error)) from error
            first_error = first_error or number
    raise port_taken(port, reserved=first_error in RESERVED)


def number_of(error: OSError) -> int:
    """Return the number of ``error``: Windows' own where there is one, as in TAKEN and RESERVED."""
    return getattr(error, "winerror", None) or error.errno or 0


def _candidates(port: int, *, fixed: bool) -> Iterator[int]:
    yield port
    if not fixed and port:
        yield from range(port + 1, min(port + 1 + TRIES, 65536))
        yield from FAR


def _wait_while_it_lingers(host: str, port: int) -> None:
    """Give a port time that is taken though nobody listens on it: the next one would be another origin to browsers."""
    give_up = time.monotonic() + LINGER_S
    while port and time.monotonic() < give_up:
        try:
            listen(host, port).close()
            return
        except OSError as error:
            if number_of(error) not in TAKEN or is_listened_on(port) is not False:
                return
        time.sleep(0.25)


def port_taken(port: int, *, reserved: bool) -> PortTaken:
    """Return the error for a ``port`` that cannot be had, naming who has it."""
    if reserved and is_listened_on(port) is not True:
        return PortTaken("launcher.port_reserved", port=port, owner="Windows")
    owner, pid = owner_of(port)
    if owner:
        return PortTaken("launcher.port_taken_by", port=port, owner=owner, pid=pid)
    return PortTaken("launcher.port_taken", port=port, owner="")


def is_loopback(host: str) -> bool:
    """Tell whether only this PC can reach ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def names_of_this_pc() -> tuple[str, ...]:
    """Return the names and addresses that other PCs may call this one by."""
    name = socket.gethostname()
    try:
        addresses = {str(found[4][0]) for found in socket.getaddrinfo(name, None)}
    except OSError:
        addresses = set()
    return (name, *sorted(addresses))


def is_listened_on(port: int, *, only_ipv6: bool = False) -> bool | None:
    """Tell whether some program listens on TCP ``port``; None where that cannot be known."""
    if sys.platform == "win32":
        from oneclick.pc import windows

        return windows.pid_listening_on(port, only_ipv6=only_ipv6) is not None
    return None


def owner_of(port: int) -> tuple[str, int]:
    """Return (program name, process id) of who listens on TCP ``port``; ("", 0) where that cannot be known."""
    if sys.platform == "win32":
        from oneclick.pc import windows

        pid = windows.pid_listening_on(port)
        return (windows.program_of(pid), pid) if pid else ("", 0)
    return "", 0
