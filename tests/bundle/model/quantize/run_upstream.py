"""Runs upstream's convert.py, or saves checkpoints with transformers, inside the environment that has torch.

``run_upstream.py convert CONVERT.PY OUTPUT FOLDER,... TYPE,...`` and ``run_upstream.py save FOLDER OUTPUT``
"""

import contextlib
import importlib.util
import io
import shutil
import sys
from pathlib import Path


def convert(script: str, output: str, folders: str, types: str) -> None:
    spec = importlib.util.spec_from_file_location("upstream_convert", script)
    upstream = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(upstream)
    for folder in folders.split(","):
        for dtype in types.split(","):
            path = Path(output, f"{Path(folder).name}.{dtype}")
            with path.open("wb") as out, contextlib.redirect_stdout(io.StringIO()):
                upstream.convert(out, folder, dtype=dtype)


def save(folder: str, output: str) -> None:
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, trust_remote_code=True, low_cpu_mem_usage=True)
    transformers_layouts = {
        "safetensors": {"safe_serialization": True},
        "safetensors-shards": {"safe_serialization": True, "max_shard_size": "200KB"},
        "bin": {"safe_serialization": False},
        "bin-shards": {"safe_serialization": False, "max_shard_size": "200KB"},
    }
    for name, options in transformers_layouts.items():
        model.save_pretrained(Path(output, name), **options)
    state = model.state_dict()
    # What checkpoints hold besides weights, and a view into a larger storage.
    more = {"transformer.rotary_pos_emb.inv_freq": torch.ones(8), "position_ids": torch.arange(10)}
    name = "transformer.output_layer.weight"
    more[name] = torch.cat((torch.zeros_like(state[name]), state[name]))[len(state[name]) :]
    torch_layouts = {
        "bin-parameters": ({key: torch.nn.Parameter(value, False) for key, value in state.items()}, True),
        "bin-views": ({**state, **more}, True),
        "bin-legacy": ({**state, **more}, False),
    }
    for name, (content, zipped) in torch_layouts.items():
        Path(output, name).mkdir(parents=True)
        shutil.copy(Path(folder, "config.json"), Path(output, name))
        torch.save(content, Path(output, name, "pytorch_model.bin"), _use_new_zipfile_serialization=zipped)
    for layout in Path(output).iterdir():
        shutil.copy(Path(folder, "tokenizer.model"), layout)


if __name__ == "__main__":
    {"convert": convert, "save": save}[sys.argv[1]](*sys.argv[2:])
