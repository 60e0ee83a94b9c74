"""How a process of an engine takes orders: a line of JSON each way over a connection to the benchmark.

Standard library only, for the bundle's own Python: engines that are ready side by side can take turns of a second.
"""

from __future__ import annotations

import json
import socket


def obey(port, carry_out):
    """Answer each order, ``[name, number, ...]``, with what ``carry_out(name, *numbers)`` returns."""
    with socket.create_connection(("127.0.0.1", port)) as link, link.makefile("rw", encoding="utf-8") as lines:
        for line in lines:
            lines.write(json.dumps(carry_out(*json.loads(line))) + "\n")
            lines.flush()
