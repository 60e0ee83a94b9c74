"""llama.cpp on a model of ChatGLM3-6B's shape with random weights: the measure that the engine is held against.

    python bench/peers/llama_cpp.py write FILE LAYERS
    python bench/peers/llama_cpp.py measure FILE THREADS PORT    until the connection ends; see orders.py
    python bench/peers/llama_cpp.py serve FILE THREADS    until stdin ends; prints its address

Run by an environment with xllamacpp and gguf (bench/engine.py makes it). The file is a "llama" model: its products
have ChatGLM3's sizes (the three parts of query_key_value and the two of the MLP lie apart), so both engines
read the same number of weights and do the same work per token.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from orders import obey

HIDDEN, HEADS, KV_HEADS, FFN, VOCAB, CONTEXT = 4096, 32, 2, 13696, 65024, 8192
MEASURED_CONTEXT = 2048
BLOCK_BYTES, BLOCK = 18, 32
"""q4_0: a half-precision scale and 32 numbers of 4 bits."""


def write(path: Path, layers: int) -> None:
    """Write the model as GGUF: 3.5 GB with 28 layers."""
    import gguf
    import numpy as np

    generator = np.random.default_rng(0)
    blocks = generator.integers(0, 256, (VOCAB * HIDDEN // BLOCK, BLOCK_BYTES), dtype=np.uint8)
    blocks[:, :2] = np.frombuffer(np.float16(0.004).tobytes(), dtype=np.uint8)
    pool = blocks.reshape(-1)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(layers)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCAB)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
    _add_vocabulary(writer, gguf)

    def matrix(name: str, rows: int, columns: int) -> None:
        size = rows * columns // BLOCK * BLOCK_BYTES
        data = pool[:size].reshape(rows, columns // BLOCK * BLOCK_BYTES)
        writer.add_tensor(name, data, raw_dtype=gguf.GGMLQuantizationType.Q4_0)

    matrix("token_embd.weight", VOCAB, HIDDEN)
    matrix("output.weight", VOCAB, HIDDEN)
    ones = np.ones(HIDDEN, dtype=np.float32)
    writer.add_tensor("output_norm.weight", ones)
    for number in range(layers):
        layer = f"blk.{number}."
        kv_size = HIDDEN // HEADS * KV_HEADS
        writer.add_tensor(layer + "attn_norm.weight", ones)
        writer.add_tensor(layer + "ffn_norm.weight", ones)
        for name, rows, columns in (
            ("attn_q", HIDDEN, HIDDEN),
            ("attn_k", kv_size, HIDDEN),
            ("attn_v", kv_size, HIDDEN),
            ("attn_output", HIDDEN, HIDDEN),
            ("ffn_gate", FFN, HIDDEN),
            ("ffn_up", FFN, HIDDEN),
            ("ffn_down", HIDDEN, FFN),
        ):
            matrix(f"{layer}{name}.weight", rows, columns)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_vocabulary(writer, gguf) -> None:  # type: ignore[no-untyped-def]
    """Names without meaning: prompts are given as numbers. The 256 byte tokens are what loading asks for."""
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    kinds += [gguf.TokenType.BYTE] * 256
    tokens += [f"t{number}" for number in range(len(tokens), VOCAB)]
    kinds += [gguf.TokenType.NORMAL] * (VOCAB - len(kinds))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * VOCAB)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)


def start(path: str, context: int, threads: int):  # type: ignore[no-untyped-def]
    """llama.cpp's own server, which also listens on a port of 127.0.0.1 that was free."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_ctx = context
    params.n_parallel = 1
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.n_gpu_layers = 0
    params.warmup = True
    params.verbosity = 0
    return xllamacpp.Server(params)


def serve(path: str, threads: int) -> None:
    """Serve with the context of ChatGLM3 until stdin ends."""
    server = start(path, CONTEXT, threads)
    print(server.listening_address, flush=True)
    sys.stdin.read()


def measure(path: str, threads: int, port: int) -> None:
    """Carry out the orders of bench/engine.py."""
    server = start(path, MEASURED_CONTEXT, threads)
    draw = random.Random(1)

    def complete(length: int, count: int) -> dict[str, float]:
        prompt = [draw.randrange(300, VOCAB) for _ in range(length)]
        request = {"prompt": prompt, "n_predict": count, "cache_prompt": False, "temperature": 0, "ignore_eos": True}
        answer = server.handle_completions(request)
        answer = json.loads(answer) if isinstance(answer, str) else answer
        timings: dict[str, float] = answer["timings"]
        return timings

    def carry_out(name: str, *numbers: int) -> float | None:
        if name == "prompt":
            return complete(numbers[0], 1)["prompt_per_second"]
        if name == "decode":
            # The first token is the prompt's: its server counts the time, and since 2026 the tokens, after that one.
            return complete(8, numbers[0] + 1)["predicted_per_second"]
        return _peak_memory_mb()

    obey(port, carry_out)


def _peak_memory_mb() -> float | None:
    """The process's own memory (without the mapped model) where the system tells it."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    return int(fields["RssAnon"].split()[0]) / 1024


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1] == "serve":
        serve(sys.argv[2], int(sys.argv[3]))
    else:
        measure(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
