"""The model worker process: owns the only engine, obeys frames on stdin, answers frames on stdout.

Started as ``python -m oneclick.engine.worker``. The engine holds the GIL while it computes and some inputs end it
natively, so it lives here, away from the HTTP process. Frames (see ``frames``):

in   {"op": "load", "model": path, "engine": folder or "", "dll_folders": [...], "threads": n, "preload": bool}
     {"op": "generate", "id": n, "ids": [...], "max_new": n, "stop_tokens": [...], "sampling": {...}, "keep": bool}
                                 keep false: evaluate the whole prompt, whatever the KV cache holds
     {"op": "cancel", "id": n}        {"op": "exit"}; the end of stdin means the same
out  {"event": "loading", "progress": 0.0..1.0}
     {"event": "ready", "version", "features", "max_length", "vocab_size", "chunked", "single_call_tokens", "load_s"}
     {"event": "load_failed", "key": message key, "values": {...}}
     {"event": "prompt", "id", "done", "total", "cached", "left_s"}        {"event": "token", "id", "token"}
                                 and where they were asked: "log_prob", "likeliest": [[id, log_prob], ...]
     {"event": "done", "id", "reason", ...}  the fields of ``generation.Outcome``; reason "error" has "error"
"""

from __future__ import annotations

from oneclick import module_cache

if __name__ == "__main__":
    module_cache.install("worker")  # Before anything else is imported.

import os
import queue
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from oneclick.engine.engine import Engine, import_engine, loadable_name
from oneclick.engine.exit_codes import OUT_OF_MEMORY, key_of_refusal
from oneclick.engine.frames import Message, read_frame, write_frame
from oneclick.engine.generation import Generator
from oneclick.engine.own_process import prepare, take_streams
from oneclick.engine.sampling import Drawn, Sampling
from oneclick.errors import OneClickError

_PRELOAD_BLOCK_BYTES = 8 << 20


class Worker:
    """Reads frames in one thread, computes in the main thread."""

    def __init__(self, source: BinaryIO, target: BinaryIO) -> None:
        self._source = source
        self._target = target
        self._work: queue.Queue[Message] = queue.Queue()
        self._cancelled: set[int] = set()

    def run(self) -> None:
        """Serve until told to exit; never returns."""
        threading.Thread(target=self._read, name="frames", daemon=True).start()
        message = self._work.get()
        generator = self._load(message)
        module_cache.save()
        while True:
            self._generate(generator, self._work.get())

    def _read(self) -> None:
        """Take frames until the end; whatever goes wrong here ends the process, which would hear nothing any more."""
        code = 1
        try:
            while True:
                message = read_frame(self._source)
                if message is None or message["op"] == "exit":
                    code = 0
                    return
                if message["op"] == "cancel":
                    # Numbers only grow: what is no longer the current one ended before its cancel came.
                    self._cancelled = {message["id"]}
                else:
                    self._work.put(message)
        except BaseException:
            traceback.print_exc()
        finally:
            # The main thread may be inside a native call that nothing can interrupt.
            with suppress(OSError, ValueError):
                sys.stderr.flush()
            os._exit(code)

    def _send(self, event: str, **fields: Any) -> None:
        write_frame(self._target, {"event": event, **fields})

    def _load(self, message: Message) -> Generator:
        began = time.monotonic()
        path = Path(message["model"])
        try:
            if message.get("preload", True):
                self._preload(path)
            module = import_engine(message["engine"], message["dll_folders"])
            # Only a relative ASCII name reaches the file on every Windows: see engine.loadable_name.
            os.chdir(path.parent)
            features = getattr(module._C, "oneclick_features", ())
            generator = Generator(Engine(module, loadable_name(path.name, features), message["threads"]))
            # One token touches all weights: what is left to read from the disk is read now, not in the first answer.
            generator.engine.evaluate([0], 0)
        except OneClickError as error:
            self._refuse(error.key, **error.values)
        except ImportError as error:
            self._refuse(key_of_refusal(error) or "server.engine_import", reason=str(error))
        except MemoryError:
            os._exit(OUT_OF_MEMORY)
        except (RuntimeError, OSError) as error:
            self._refuse("server.model_refused", name=path.name, reason=str(error))
        engine = generator.engine
        self._send(
            "ready",
            version=engine.version,
            features=sorted(engine.features),
            max_length=engine.max_length,
            vocab_size=engine.vocab_size,
            chunked=engine.chunked,
            single_call_tokens=engine.single_call_tokens,
            load_s=time.monotonic() - began,
        )
        return generator

    def _refuse(self, key: str, **values: object) -> NoReturn:
        self._send("load_failed", key=key, values={name: str(value) for name, value in values.items()})
        os._exit(3)

    def _preload(self, path: Path) -> None:
        """Read the file once, in order, so that the engine's memory map finds it in memory.

        A map alone would fetch it in small random pieces during the first answer, without any progress to show.
        """
        size_bytes = path.stat().st_size
        buffer = bytearray(_PRELOAD_BLOCK_BYTES)
        done_bytes, told = 0, -1
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                done_bytes += count
                percent = 100 * done_bytes // max(size_bytes, 1)
                if percent != told:
                    told = percent
                    self._send("loading", progress=percent / 100)

    def _generate(self, generator: Generator, message: Message) -> None:
        number: int = message["id"]

        def on_prompt(done: int, total: int, cached: int, left_s: float) -> None:
            self._send("prompt", id=number, done=done, total=total, cached=cached, left_s=left_s)

        def on_token(drawn: Drawn) -> None:
            told = {} if drawn.log_prob is None else {"log_prob": drawn.log_prob, "likeliest": drawn.likeliest}
            self._send("token", id=number, token=drawn.token, **told)

        if not message.get("keep", True):
            generator.slots.clear()
        try:
            outcome = generator.run(
                message["ids"],
                message["max_new"],
                Sampling.of_message(message["sampling"]),
                frozenset(message["stop_tokens"]),
                lambda: number in self._cancelled,
                on_prompt,
                on_token,
            )
        except MemoryError:
            os._exit(OUT_OF_MEMORY)
        except RuntimeError as error:
            self._send("done", id=number, reason="error", error=str(error))
        else:
            self._send("done", id=number, **outcome.as_fields())
        self._cancelled.discard(number)


def main() -> None:
    """Keep stdout for frames alone: whatever native code prints goes to stderr."""
    prepare()
    source, target = take_streams()
    Worker(source, target).run()


if __name__ == "__main__":
    main()
