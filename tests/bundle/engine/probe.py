"""Run by the Python the engine was made for (Windows' or this machine's): try the engine, print what it did as JSON.

    python probe.py ENGINE_FOLDER SHARED_DLL_FOLDER JOB MODEL [FILE ...]

Standard library only, and nothing of the project: a bundle's Python has no more.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from pathlib import Path

NEW_TOKENS = 4
GREEDY_PROMPTS = 120
DRAWS = 16


def main(engine_folder, shared_folder, job, model, *files):
    sys.path.insert(0, engine_folder)
    if hasattr(os, "add_dll_directory") and Path(shared_folder).is_dir():
        os.add_dll_directory(shared_folder)
    import chatglm_cpp

    config = chatglm_cpp._C.GenerationConfig(
        max_length=8192, do_sample=False, num_threads=int(os.environ.get("PROBE_THREADS", "1"))
    )
    print(json.dumps(JOBS[job](chatglm_cpp, config, model, files)))


def generate(model, config, ids, chunk=1 << 30, count=NEW_TOKENS):
    """Greedy tokens after ``ids``, which are evaluated ``chunk`` at a time."""
    ids, past, total = list(ids), 0, len(ids)
    while total - past > chunk:
        model.generate_next_token(ids[: past + chunk], config, past, total)
        past += chunk
    for _ in range(count):
        token = model.generate_next_token(ids, config, past, total)
        past = len(ids)
        ids.append(token)
    return ids[total:]


def prompts(model, count=50):
    """Random prompts of 2 to 100 tokens and again, the same everywhere."""
    draw = random.Random(7)
    last = model.config.vocab_size - 20
    return [[draw.randrange(3, last) for _ in range(2 + 2 * (number % 50))] for number in range(count)]


def caught(action):
    """What ``action`` raised as "Type: text", or "" when it went well."""
    try:
        action()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def about(package, config, path, files):
    return {
        "version": package.__version__,
        "features": list(getattr(package._C, "oneclick_features", ())),
    }


def sure_token(package, model, config, ids):
    """Greedy token after ``ids``, whose last position is evaluated again; None where rounding may decide.

    A random model now and then finds two tokens nearly equally likely. It does where a draw between the best two, with
    chances that differ e-fold for a difference of 0.05 in their logits, does not come out the same 16 times.
    """
    draw = package._C.GenerationConfig(
        max_length=8192, do_sample=True, top_k=2, top_p=1.0, temperature=0.05, num_threads=config.num_threads
    )
    token = model.generate_next_token(ids, config, len(ids) - 1, len(ids))
    drawn = {model.generate_next_token(ids, draw, len(ids) - 1, len(ids)) for _ in range(DRAWS)}
    return token if drawn == {token} else None


def greedy(package, config, path, files):
    """Greedy next token of each prompt; None where rounding may decide."""
    model = package.Pipeline(path).model
    tokens = []
    for ids in prompts(model, GREEDY_PROMPTS):
        token = model.generate_next_token(ids, config, 0, len(ids))
        sure = sure_token(package, model, config, ids)
        tokens.append(token if sure == token else None)
    return tokens


def chunks(package, config, path, files):
    """Greedy next tokens after 20 prompts of 300 tokens, evaluated at once and in chunks (size -> tokens).

    None where rounding may decide: BLAS adds in another order for other sizes, in its own way on each processor. No
    chunk is shorter than 32 tokens: their attention does not go through BLAS.
    """
    model = package.Pipeline(path).model
    texts = [(one * 6)[:300] for one in prompts(model) if len(one) >= 60]
    found = {}
    for size in (300, 60, 64, 100, 128, 150):
        found[str(size)] = []
        for ids in texts:
            generate(model, config, ids, size, 1)
            found[str(size)].append(sure_token(package, model, config, ids))
    return found


def long_context(package, config, path, files):
    """The longest prompt the model takes, in chunks of 512 and of 256."""
    model = package.Pipeline(path).model
    prompt = (prompts(model)[49] * 100)[: model.config.max_length - 2]
    return [generate(model, config, prompt, size, 2) for size in (512, 256)]


def lock_released(package, config, path, files):
    """How often another thread ran during one forward pass, and for how long the pass took, in seconds."""
    model = package.Pipeline(path).model
    prompt = (prompts(model)[49] * 20)[:800]
    ticks, done = [], threading.Event()

    def tick():
        while not done.wait(0.01):
            ticks.append(time.perf_counter())

    thread = threading.Thread(target=tick)
    thread.start()
    began = time.perf_counter()
    model.generate_next_token(prompt, config, 0, len(prompt))
    ended = time.perf_counter()
    done.set()
    thread.join()
    return {"ticks": len([tick for tick in ticks if began < tick < ended]), "seconds": ended - began}


def two_threads(package, config, path, files):
    """What two threads get that ask one model at the same time, and what each would get alone."""
    model = package.Pipeline(path).model
    asked = prompts(model)[30:32]
    alone = [generate(model, config, prompt, count=1) for prompt in asked]
    together = [None, None]

    def ask(number):
        together[number] = generate(model, config, asked[number], count=1)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"alone": alone, "together": together}


def bad_input(package, config, path, files):
    """Errors for input that no model can take (name -> error)."""
    pipeline = package.Pipeline(path)
    model, vocab = pipeline.model, pipeline.model.config.vocab_size
    calls = {
        "negative id": ([-1], 0),
        "id beyond vocabulary": ([vocab], 0),
        "no token": ([], 0),
        "nothing new": ([5, 6], 2),
        "negative past": ([5, 6], -1),
        "beyond context": ([5] * (model.config.max_length + 1), 0),
        "too much at once": ([5] * model.config.max_length, 0),
    }
    errors = {
        name: caught(lambda ids=ids, past=past: model.generate_next_token(ids, config, past, 1))
        for name, (ids, past) in calls.items()
    }
    errors["still alive"] = caught(lambda: generate(model, config, [5, 6, 7]))
    return errors


def seeded(package, config, path, files):
    """Tokens that a sampler with a seed draws after each of some prompts, one for each prompt and setting."""
    model = package.Pipeline(path).model
    drawn = []
    for ids in prompts(model):
        model.evaluate(ids, 1, 0, len(ids))
        for temperature, top_p, top_k, min_p in ((0.8, 0.8, 0, 0), (2, 1, 0, 0.01), (5, 0.99, 40, 0), (20, 1, 0, 0)):
            sampler = package._C.Sampler()
            sampler.temperature, sampler.top_p, sampler.top_k, sampler.min_p = temperature, top_p, top_k, min_p
            sampler.seed(len(drawn))
            drawn.append(model.draw(sampler, ids))
    return drawn


def decode(package, config, path, files):
    """Text of ids that the tokenizer knows, with ids among them that it does not know."""
    tokenizer = package.Pipeline(path).tokenizer
    ids = tokenizer.encode("hello world", 100)
    unknown = [10**6, -1, 2**31 - 1]
    return {
        "known": tokenizer.decode(ids),
        "mixed": tokenizer.decode(ids + unknown),
        "unknown": tokenizer.decode(unknown),
        "no room": len(tokenizer.encode("hello world", 0)),
    }


def open_files(package, config, path, files):
    """What opening each of ``files`` raises, in order; the first line only."""
    return [caught(lambda name=name: package.Pipeline(name)).splitlines()[:1] for name in files]


def chat(package, config, path, files):
    """A whole answer through the package's own interface."""
    pipeline = package.Pipeline(path)
    message = package.ChatMessage("user", "你好")
    return pipeline.chat([message], max_length=40, do_sample=False).content


JOBS = {
    job.__name__: job
    for job in (
        about,
        greedy,
        chunks,
        long_context,
        lock_released,
        two_threads,
        bad_input,
        seeded,
        decode,
        open_files,
        chat,
    )
}

if __name__ == "__main__":
    main(*sys.argv[1:])
