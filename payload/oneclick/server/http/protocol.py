"""One connection: told apart from https, and never kept for a client that does not go on."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from oneclick.server.http.uvicorn_parts import H11Protocol

log = logging.getLogger("oneclick.server")

MOST_CONNECTIONS = 300
"""Of one run. Python's select on Windows takes 512 sockets; browsers and clients of one PC need a few dozen."""
LOOK_S = 10.0
"""How often each connection is looked at."""
HEAD_LOOKS = 3
"""So many looks without a whole request head and the connection is closed."""
STALL_LOOKS = 6
"""So many looks in which a client takes nothing of what waits for it."""
SLOWEST_BODY_BYTES = 4096
"""Less than this between two looks is no client that sends a request."""


class Protocol(H11Protocol):
    """uvicorn's protocol with bounds: on connections, on idle ones, on slow senders and on those who never read."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or drop it where there are too many."""
        super().connection_made(transport)
        self._received_bytes = 0
        self._looks = 0
        self._seen: Any = None
        self._waiting_bytes = 0
        if len(self.connections) > MOST_CONNECTIONS:
            log.warning("a connection was dropped: %d are open", len(self.connections) - 1)
            transport.abort()
            return
        self._timer = self.loop.call_later(LOOK_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        timer: asyncio.TimerHandle | None = getattr(self, "_timer", None)
        if timer is not None:
            timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; browsers and clients that try https on our port would otherwise look like noise."""
        handshake = b"\x16\x03"
        if data.startswith(handshake) and self.conn.their_state.__name__ == "IDLE":
            log.warning("a client tried https://; this server speaks plain http:// (write http:// in the address)")
            self.transport.close()
            return
        self._received_bytes += len(data)
        super().data_received(data)

    def _look(self) -> None:
        """Close the connection when nothing goes on in it; else look again."""
        reason = self._stuck()
        self._received_bytes = 0
        if reason:
            log.info("a connection was closed: %s", reason)
            self.transport.abort()
            return
        self._timer = self.loop.call_later(LOOK_S, self._look)

    def _stuck(self) -> str:
        cycle: Any = self.cycle
        if cycle is not self._seen:  # a request came since the last look
            self._seen, self._looks = cycle, 0
        if cycle is None or cycle.response_complete:
            self._looks += 1
            return "no request came" if self._looks >= HEAD_LOOKS else ""
        if cycle.more_body and self.transport.is_reading():
            self._looks = 0
            return "its request comes too slowly" if self._received_bytes < SLOWEST_BODY_BYTES else ""
        waiting_bytes = self.transport.get_write_buffer_size()
        takes_nothing = bool(waiting_bytes) and waiting_bytes >= self._waiting_bytes
        self._waiting_bytes = waiting_bytes
        self._looks = self._looks + 1 if takes_nothing else 0
        return "it reads nothing of its answer" if self._looks >= STALL_LOOKS else ""
