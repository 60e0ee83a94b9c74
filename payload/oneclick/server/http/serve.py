"""Serving on sockets that are already bound, until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from typing import Any, Callable, Iterator, Sequence

from oneclick.server.api_errors import unavailable
from oneclick.server.http.uvicorn_parts import Config, H11Protocol, Server
from oneclick.server.runtime import Runtime

log = logging.getLogger("oneclick.server")

GRACE_S = 3
"""How long open answers may take to end: Windows closes a console's programs after 5 s."""


class _Protocol(H11Protocol):
    """Recognises browsers and clients that try https on our port, which otherwise look like noise."""

    def data_received(self, data: bytes) -> None:
        handshake = b"\x16\x03"
        if data.startswith(handshake) and self.conn.their_state.__name__ == "IDLE":
            log.warning("a client tried https://; this server speaks plain http:// (write http:// in the address)")
            self.transport.close()
            return
        super().data_received(data)


class _Server(Server):
    """uvicorn without its own signal handling: ``stop`` is the one way to end it."""

    def install_signal_handlers(self) -> None:  # uvicorn before 0.29
        return

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run_server(
    app: Any,
    sockets: socket.socket | Sequence[socket.socket],
    stop: threading.Event,
    runtime: Runtime,
    take_over: Callable[[], Sequence[socket.socket]] = tuple,
) -> None:
    """Serve ``app`` (``create_app(runtime)``, perhaps wrapped) on bound sockets until ``stop`` is set.

    Then it ends within about 4 s: open answers get an error event, the worker is stopped. In the main thread
    Ctrl+C and Ctrl+Break set ``stop``. ``take_over`` is called once, just before serving: it gives the connections that
    somebody else has accepted and not answered.
    """
    listening = [sockets] if isinstance(sockets, socket.socket) else list(sockets)
    runtime.port = listening[0].getsockname()[1]
    for one in listening:
        one.listen(128)
    config = Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=GRACE_S,
        # Another program's environment must not decide whose addresses we believe.
        proxy_headers=False,
    )
    with _stop_on_signals(stop):
        try:
            asyncio.run(_serve(_Server(config), listening, runtime, stop, take_over()))
        finally:
            runtime.close()


async def _serve(
    server: Server,
    listening: Sequence[socket.socket],
    runtime: Runtime,
    stop: threading.Event,
    accepted: Sequence[socket.socket],
) -> None:
    runtime.attach(asyncio.get_running_loop())
    serving = asyncio.ensure_future(server.serve(sockets=list(listening)))
    await _adopt(server, accepted, serving)
    while not stop.is_set() and not serving.done():
        await asyncio.sleep(0.1)
    runtime.closing = True
    runtime.fail_all(unavailable("server.closing", "shutting_down"))
    # The worker may be in a native call: stopping it takes up to a second, so not in this thread.
    ending = asyncio.get_running_loop().run_in_executor(None, runtime.close)
    server.should_exit = True
    await serving
    await ending


async def _adopt(server: Server, accepted: Sequence[socket.socket], serving: asyncio.Future[None]) -> None:
    """Let ``server`` answer connections as if it had accepted them itself."""
    loop = asyncio.get_running_loop()
    while accepted and not server.started and not serving.done():
        await asyncio.sleep(0)
    config = server.config

    def protocol() -> asyncio.Protocol:
        return _Protocol(config=config, server_state=server.server_state, app_state={}, _loop=loop)

    for connection in accepted:
        try:
            await loop.connect_accepted_socket(protocol, connection)
        except OSError:
            connection.close()  # The client is gone.


@contextlib.contextmanager
def _stop_on_signals(stop: threading.Event) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {}
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None:
            before[number] = signal.signal(number, lambda *_: stop.set())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
