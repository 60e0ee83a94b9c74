"""Greedy answers of the released engine, in a process of its own: it does not survive every model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.native_engine import native_engine

CHAT = """
import json, sys
from chatglm_cpp import ChatMessage, Pipeline, _C
pipeline = Pipeline(sys.argv[1])
config = _C.GenerationConfig(max_length=8192, max_context_length=8192, do_sample=False, num_threads=1)
answers = []
for text in sys.argv[2:]:
    ids = pipeline.tokenizer.encode_messages([ChatMessage(role="user", content=text)], 2048)
    prompt, answer = list(ids), []
    while len(answer) < 30:
        n_past = len(ids) - 1 if answer else 0
        answer.append(pipeline.model.generate_next_token(ids, config, n_past, len(prompt)))
        ids.append(answer[-1])
    answers.append({"prompt": prompt, "answer": answer})
json.dump(answers, sys.stdout)
"""


def chat(model: Path, *texts: str) -> list[dict[str, Any]]:
    """Return the greedy answers of the released engine, each for ``prompt`` alone, as token ids."""
    script = f"import sys; sys.path.insert(0, {str(native_engine(patched=False))!r})\n{CHAT}"
    done = subprocess.run(
        [sys.executable, "-c", script, model.name, *texts], capture_output=True, text=True, check=True, cwd=model.parent
    )
    return list(json.loads(done.stdout))
