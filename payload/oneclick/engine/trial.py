"""Time one token with different numbers of threads: ``python -m oneclick.engine.trial`` in a process of its own.

In: one JSON object on standard input, {"model": path, "engine": folder, "dll_folders": [...], "threads": [4, 8]}.
Out: one JSON object, threads -> seconds per token. The engine's own process shows what the worker will see, and a
crash in it costs nothing.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from oneclick.engine.engine import Engine, import_engine, loadable_name
from oneclick.engine.own_process import prepare, take_streams

TOKENS_EACH = 4
"""The fastest of so many counts: the first one still reads weights from the disk."""


def seconds_per_token(engine: Engine) -> float:
    """Return the shortest time that one further token took."""
    best = float("inf")
    ids = [0]
    for _ in range(TOKENS_EACH):
        began = time.perf_counter()
        engine.evaluate(ids, len(ids) - 1)
        ids.append(0)
        best = min(best, time.perf_counter() - began)
    return best


def main() -> None:
    """Do what the module's text says."""
    prepare()
    source, target = take_streams()
    wanted = json.load(source)
    module = import_engine(wanted["engine"], wanted["dll_folders"])
    model = Path(wanted["model"])
    os.chdir(model.parent)
    name = loadable_name(model.name, getattr(module._C, "oneclick_features", ()))
    found = {str(threads): seconds_per_token(Engine(module, name, threads)) for threads in wanted["threads"]}
    target.write(json.dumps(found).encode())


if __name__ == "__main__":
    main()
