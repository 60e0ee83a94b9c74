"""The random checkpoints on which we and upstream's convert.py must agree."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from bundle.model.random_checkpoint import write_random_checkpoint

TYPES = ("f32", "f16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0")

CASES: dict[str, dict[str, Any]] = {
    "half": {},
    "bfloat": {"stored": "BF16", "seed": 1},
    "single": {"stored": "F32", "seed": 2},
    "int8": {"bits": 8, "seed": 3},
    "int4": {"bits": 4, "seed": 4},
    "int4-single": {"bits": 4, "stored": "F32", "torch_dtype": "float16", "seed": 5},
    "single-loaded-as-half": {"stored": "F32", "torch_dtype": "float16", "seed": 6},
    "bfloat-loaded-as-half": {"stored": "BF16", "torch_dtype": "float16", "seed": 7},
    "half-loaded-as-bfloat": {"stored": "F16", "torch_dtype": "bfloat16", "seed": 8},
    "half-loaded-as-single": {"stored": "F16", "torch_dtype": "float32", "seed": 9},
    "long-context": {"seq_length": 32768, "rope_ratio": 50, "bos_token_id": 1, "seed": 10},
    "no-token-ids": {"eos_token_id": None, "pad_token_id": None, "seed": 11},
}
"""name -> arguments of ``write_random_checkpoint``."""


def write_case(name: str, parent: Path) -> Path:
    """Write the checkpoint ``name`` with the code that upstream needs beside it, and return its folder."""
    folder = parent / name
    write_random_checkpoint(folder, **CASES[name])
    for code in (Path(__file__).parent / "remote_code").glob("*.py"):
        shutil.copy(code, folder)
    tokenizer = {
        "auto_map": {"AutoTokenizer": ["tokenization_chatglm.ChatGLMTokenizer", None]},
        "tokenizer_class": "ChatGLMTokenizer",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    return folder
