"""Read Windows' tables of listening TCP ports (MIB_TCPTABLE_OWNER_PID and its IPv6 sister of iphlpapi)."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass


@dataclass(frozen=True)
class RowLayout:
    """Where a row holds its figures, in bytes."""

    size: int
    port_at: int
    """Two bytes in network order, in a field of four."""
    pid_at: int


IPV4 = RowLayout(size=24, port_at=8, pid_at=20)
"""state, local address, local port, remote address, remote port, owning pid: four bytes each."""
IPV6 = RowLayout(size=56, port_at=20, pid_at=52)
"""local address (16), scope, port, remote address (16), scope, port, state, owning pid."""


def pid_in_table(table: bytes, layout: RowLayout, port: int) -> int | None:
    """Return the process that listens on ``port``, 0 where the table does not know it, None where nobody listens."""
    if len(table) < 4:
        return None
    (count,) = struct.unpack_from("<I", table)
    for index in range(count):
        row = 4 + index * layout.size
        if row + layout.size > len(table):
            return None
        (network_port,) = struct.unpack_from("<H", table, row + layout.port_at)
        if socket.ntohs(network_port) == port:
            return int(struct.unpack_from("<I", table, row + layout.pid_at)[0])
    return None
