"""Serving on sockets that are already bound, until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import threading
from typing import Any, Callable, Iterator, Sequence

from oneclick.port.ports import listen
from oneclick.server.api_errors import unavailable
from oneclick.server.http.protocol import Protocol
from oneclick.server.http.uvicorn_parts import Config, Server
from oneclick.server.runtime import Runtime

log = logging.getLogger("oneclick.server")

WATCH_S = 5.0
"""How often our own ports are asked whether they still take connections."""
GRACE_S = 3
"""How long open answers may take to end: Windows closes a console's programs after 5 s."""


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
        http=Protocol,
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
    if sys.platform == "win32":
        # The default loop closes the listening socket when a client was gone before it was accepted
        # (python/cpython#93821); the one with select only reports it.
        asyncio.set_event_loop_policy(asyncio.WindowsSelectorEventLoopPolicy())
    with _stop_on_signals(stop):
        try:
            asyncio.run(_serve(_Server(config), listening, runtime, stop, take_over()))
        finally:
            runtime.close()


def _on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Note connections that broke; anything else is a bug, and told as one."""
    error = context.get("exception")
    if isinstance(error, OSError):
        log.info("%s: %s", context.get("message"), error)
    else:
        loop.default_exception_handler(context)


async def _serve(
    server: Server,
    listening: Sequence[socket.socket],
    runtime: Runtime,
    stop: threading.Event,
    accepted: Sequence[socket.socket],
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_on_loop_error)
    runtime.attach(loop)
    serving = asyncio.ensure_future(server.serve(sockets=list(listening)))
    await _adopt(server, accepted, serving)
    watch = asyncio.ensure_future(_keep_listening(server, listening))
    while not stop.is_set() and not serving.done():
        await asyncio.sleep(0.1)
    watch.cancel()
    runtime.closing = True
    runtime.queue.fail_all(unavailable("server.closing", "shutting_down"))
    # The worker may be in a native call: stopping it takes up to a second, so not in this thread.
    ending = loop.run_in_executor(None, runtime.close)
    server.should_exit = True
    await serving
    await ending


async def _keep_listening(server: Server, listening: Sequence[socket.socket]) -> None:
    """Ask our own ports again and again; one that answers nobody is listened on anew."""
    loop = asyncio.get_running_loop()
    addresses = [one.getsockname()[:2] for one in listening]
    while not server.started:
        await asyncio.sleep(0)
    while True:
        await asyncio.sleep(WATCH_S)
        for index, address in enumerate(addresses):
            if await _answers(address):
                continue
            log.error("nobody can connect to port %d any more; listening on it anew", address[1])
            server.servers[index].close()
            with contextlib.suppress(OSError):
                listening[index].close()  # on Windows uvicorn listens on a copy of it
            try:
                server.servers[index] = await loop.create_server(_protocols(server, loop), sock=listen(*address))
            except OSError as error:
                log.error("port %d cannot be had again yet: %s", address[1], error)


async def _answers(address: tuple[str, int]) -> bool:
    """Tell whether a connection to ``address`` is accepted, asked for twice within WATCH_S each."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address[0], address[0])
    for _ in range(2):
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(host, address[1]), WATCH_S)
        except (OSError, asyncio.TimeoutError):
            await asyncio.sleep(0.1)
            continue
        writer.close()
        return True
    return False


def _protocols(server: Server, loop: asyncio.AbstractEventLoop) -> Callable[[], asyncio.Protocol]:
    def protocol() -> asyncio.Protocol:
        return Protocol(config=server.config, server_state=server.server_state, app_state={}, _loop=loop)

    return protocol


async def _adopt(server: Server, accepted: Sequence[socket.socket], serving: asyncio.Future[None]) -> None:
    """Let ``server`` answer connections as if it had accepted them itself."""
    loop = asyncio.get_running_loop()
    while accepted and not server.started and not serving.done():
        await asyncio.sleep(0)
    protocol = _protocols(server, loop)
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
