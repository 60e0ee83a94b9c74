"""Serve one model file with one engine folder on a free port.

``python -m tests.support.serve_model MODEL ENGINE [THREADS]`` prints the port. It ends with its standard input, so
that whoever started it cannot leave it behind.
"""

from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "payload"))

from oneclick.server.api.app import create_app
from oneclick.server.http.serve import run_server
from oneclick.server.runtime import Runtime, ServerConfig
from oneclick.status import Status


def main() -> None:
    model, engine, *threads = sys.argv[1:]
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    stop = threading.Event()
    runtime = Runtime(ServerConfig(threads=int(threads[0]) if threads else 0), Status())

    def until_input_ends() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=until_input_ends, daemon=True).start()
    threading.Thread(target=runtime.start_model, args=(Path(model), engine), daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    run_server(create_app(runtime), listener, stop, runtime)


if __name__ == "__main__":
    main()
