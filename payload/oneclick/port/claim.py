"""One port for one run: ours alone, also where ``localhost`` means ``[::1]``, or where our program runs already."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from oneclick.port import ports
from oneclick.port.instance import Instance, announce, new_instance, running, withdraw
from oneclick.settings import Settings

STARTING_TWIN_S = 1.0
"""Two double-clicks at once: how long the slower one waits for the other to say where it serves."""


@dataclass(frozen=True)
class Claim:
    """A port that is ours until ``release``."""

    instance: Instance
    listeners: tuple[socket.socket, ...]
    """They listen already; whoever comes waits instead of failing."""
    announced: Path
    ipv6_owner: bool
    """Whether another program has ``[::1]`` with this port: what is sent to ``localhost`` may reach that one."""

    def release(self) -> None:
        """Listen no more, and say so to later starts."""
        for listener in self.listeners:
            listener.close()
        withdraw(self.instance, self.announced)


def claim_port(settings: Settings, announced: Path) -> Claim | Instance | None:
    """Return a claim on the port of ``settings`` or on another one that is free.

    Where our own program serves from this folder already, return that instance, or None when it ended between two
    looks, as its user wanted. ``announced``: the file that says where we serve. Raises PortTaken, or OneClickError for
    an address that is not this PC's.
    """
    twin = running(announced)
    if twin is not None:
        return twin
    listener = _listener(settings, announced)
    if listener is None:
        return running(announced)
    instance = new_instance(settings.host, listener.getsockname()[1], has_key=bool(settings.api_key))
    announce(instance, announced)
    also, is_taken = _also_on_ipv6(instance)
    return Claim(instance, (listener, *also), announced, is_taken)


def _listener(settings: Settings, announced: Path) -> socket.socket | None:
    """Return a listening socket, or None when our own program turns out to have the port.

    Two double-clicks at once both find nothing running; the slower one sees the port taken and looks again.
    """
    host, port, fixed = settings.host, settings.port, settings.port_is_fixed
    try:
        return ports.take_port(host, port, fixed=True)
    except ports.PortTaken:
        if running(announced, wait_s=STARTING_TWIN_S):
            return None
        if fixed:
            raise
    return ports.take_port(host, port, fixed=False)


def _also_on_ipv6(instance: Instance) -> tuple[list[socket.socket], bool]:
    """Return a socket on ``[::1]`` with the same port, and whether somebody else has it.

    Some programs take ``localhost`` for ``[::1]`` and nothing else.
    """
    if instance.host != "127.0.0.1":
        return [], False
    try:
        return [ports.listen("::1", instance.port)], False
    except OSError as error:
        number = ports.number_of(error)
        is_hidden = number in ports.RESERVED and ports.is_listened_on(instance.port, only_ipv6=True) is True
        return [], number in ports.TAKEN or is_hidden
