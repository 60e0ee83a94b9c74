"""One measurement of the engine, run by the bundle's own Python: tokens per second and memory, as JSON.

    python measure_engine.py ENGINE_FOLDER MODEL PROMPTS DECODE THREADS

PROMPTS is a list like ``64:0,256:0,1024:512``: a prompt's length and the size of the chunks it is evaluated in, 0 for
all at once. Standard library only.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import sys
import time


def main(engine_folder, model_path, prompts, decode, threads):
    sys.path.insert(0, engine_folder)
    import chatglm_cpp

    model = chatglm_cpp.Pipeline(model_path).model
    config = chatglm_cpp._C.GenerationConfig(max_length=8192, do_sample=False, num_threads=threads)
    draw = random.Random(1)

    def evaluate(length, chunk):
        """A random prompt with the first token of the answer, and the seconds it took."""
        ids, past = [draw.randrange(300, 64000) for _ in range(length)], 0
        began = time.perf_counter()
        while chunk and length - past > chunk:
            model.generate_next_token(ids[: past + chunk], config, past, length)
            past += chunk
        ids.append(model.generate_next_token(ids, config, past, length))
        return ids, time.perf_counter() - began

    ids, _ = evaluate(8, 0)  # the model's pages are read here
    began = time.perf_counter()
    for _ in range(decode):
        ids.append(model.generate_next_token(ids, config, len(ids) - 1, 8))
    speed = decode / (time.perf_counter() - began)
    speeds = {}
    for prompt in prompts.split(","):
        length, chunk = (int(number) for number in prompt.split(":"))
        try:
            speeds[prompt] = length / evaluate(length, chunk)[1]
        except RuntimeError as error:
            speeds[prompt] = str(error)
    print("RESULT " + json.dumps({"prompts": speeds, "decode": speed, "memory_mb": peak_memory_mb()}))


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
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
