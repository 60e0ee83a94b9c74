"""Our engine in the bundle's own Python, measured at the order of bench/engine.py.

    python measure_engine.py ENGINE_FOLDER MODEL THREADS PORT

Orders: ``prompt LENGTH CHUNK`` (a prompt in chunks, 0 for all at once) and ``decode COUNT`` (tokens after a prompt of
8) give tokens per second, or the text of an error; ``memory`` gives megabytes. Standard library only.
"""

from __future__ import annotations

import ctypes
import os
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # the embeddable Python leaves a script's folder out

from orders import obey


class Engine:
    def __init__(self, folder, model_path, threads):
        sys.path.insert(0, folder)
        import chatglm_cpp

        self.model = chatglm_cpp.Pipeline(model_path).model
        self.config = chatglm_cpp._C.GenerationConfig(max_length=8192, do_sample=False, num_threads=threads)
        self.draw = random.Random(1)
        self.evaluate(8, 0)  # the model's pages are read here

    def carry_out(self, name, *numbers):
        try:
            return {"prompt": self.prompt, "decode": self.decode, "memory": peak_memory_mb}[name](*numbers)
        except RuntimeError as error:
            return str(error)

    def evaluate(self, length, chunk):
        """A random prompt with the first token of the answer, and the seconds it took."""
        ids, past = [self.draw.randrange(300, 64000) for _ in range(length)], 0
        began = time.perf_counter()
        while chunk and length - past > chunk:
            self.model.generate_next_token(ids[: past + chunk], self.config, past, length)
            past += chunk
        ids.append(self.model.generate_next_token(ids, self.config, past, length))
        return ids, time.perf_counter() - began

    def prompt(self, length, chunk):
        return length / self.evaluate(length, chunk)[1]

    def decode(self, count):
        ids, _ = self.evaluate(8, 0)
        began = time.perf_counter()
        for _ in range(count):
            ids.append(self.model.generate_next_token(ids, self.config, len(ids) - 1, 8))
        return count / (time.perf_counter() - began)


def peak_memory_mb():
    """Most memory the process ever asked Windows for: without the model, which is a mapped file."""

    class Counters(ctypes.Structure):
        _fields_ = [("cb", ctypes.c_uint32), ("faults", ctypes.c_uint32)] + [
            (name, ctypes.c_size_t)
            for name in (
                *("peak_working_set", "working_set", "peak_paged_pool", "paged_pool", "peak_nonpaged_pool"),
                *("nonpaged_pool", "pagefile", "peak_pagefile"),
            )
        ]

    if os.name != "nt":
        return None
    counters = Counters()
    counters.cb = ctypes.sizeof(counters)
    kernel = ctypes.WinDLL("kernel32")
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    kernel.K32GetProcessMemoryInfo.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32]
    kernel.K32GetProcessMemoryInfo(kernel.GetCurrentProcess(), ctypes.byref(counters), counters.cb)
    return counters.peak_pagefile / 2**20


if __name__ == "__main__":
    obey(int(sys.argv[4]), Engine(sys.argv[1], sys.argv[2], int(sys.argv[3])).carry_out)
