"""A folder of original ChatGLM3 weights: its configuration, its tokenizer and where each tensor lies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bundle.errors import UsageError
from bundle.model.quantize import safetensors, torch_pickle
from bundle.model.quantize.stored import StoredTensor, damaged
from oneclick.model.header import SPECIAL_TOKENS, ModelHeader, kind_of
from oneclick.model.layout import weight_shapes

ARCHITECTURE_FACTS = {
    "add_bias_linear": False,
    "add_qkv_bias": True,
    "apply_residual_connection_post_layernorm": False,
    "multi_query_attention": True,
    "original_rope": True,
    "post_layer_norm": True,
    "rmsnorm": True,
}
"""What chatglm.cpp takes for granted; a checkpoint that differs cannot be carried by its file format."""

_SIZES = {
    "padded_vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "num_attention_heads": "num_heads",
    "multi_query_group_num": "num_kv_heads",
    "num_layers": "num_layers",
    "ffn_hidden_size": "intermediate_size",
    "seq_length": "sequence_length",
}
"""Name in config.json -> name in the header."""

_WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Checkpoint:
    """The original weights, checked to be a whole ChatGLM3."""

    folder: Path
    config: Mapping[str, Any]
    tokenizer: bytes
    """Serialized sentencepiece ModelProto, as sentencepiece itself writes it (what upstream embeds)."""
    tensors: Mapping[str, StoredTensor]
    """Every weight of the header's layout, and ``NAME_scale`` for those stored as int8."""

    @property
    def model_dtype(self) -> str:
        """The type in which transformers would load the weights: ``float16`` for the published models."""
        return str(self.config.get("torch_dtype") or "float32")

    @property
    def bits(self) -> int:
        """4 or 8 for the checkpoints that are quantised already, else 0."""
        return int(self.config.get("quantization_bit") or 0)

    @property
    def rope_ratio(self) -> float:
        return float(self.config.get("rope_ratio") or 1)

    def header(self, dtype: str, version: int) -> ModelHeader:
        """Return the header of the model file made of this checkpoint."""
        return _header(self.config, len(self.tokenizer), dtype, version)


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read what ``folder`` says about its weights, without the weights themselves.

    Raises UsageError: not ChatGLM3, files missing or damaged, shapes that do not fit config.json. All problems with
    tensors are reported together.
    """
    config = _read_config(folder)
    _check_architecture(folder, config)
    tokenizer = _read_tokenizer(folder, config)
    header = _header(config, len(tokenizer), "f32", 1)
    names = [name for name, _ in weight_shapes(header)]
    places = _read_places(folder, names)
    checkpoint = Checkpoint(folder, config, tokenizer, places)
    _check_tensors(checkpoint, header)
    return checkpoint


def _read_config(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(
            f"{folder} holds no original weights",
            why="there is no config.json in it",
            do="give the folder with config.json, tokenizer.model and the weights, or a hub id: THUDM/chatglm3-6b",
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(file, f"it cannot be read as JSON: {error}") from error
    if not isinstance(config, dict):
        raise damaged(file, "it is not a JSON object")
    return config


def _check_architecture(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise UsageError unless ``config`` describes a ChatGLM3 that chatglm.cpp's format can carry."""
    problems = []
    if config.get("model_type") != "chatglm":
        problems.append(f"config.json: model_type is {config.get('model_type')!r}, ChatGLM3's is 'chatglm'")
    elif "multi_query_attention" not in config:
        problems.append("config.json has no multi_query_attention: this is the first ChatGLM-6B")
    elif _is_chatglm2(folder, config):
        problems.append("it has no <|system|> and <|user|> tokens: this is ChatGLM2")
    else:
        for key, wanted in ARCHITECTURE_FACTS.items():
            if bool(config.get(key, False)) is not wanted:
                problems.append(f"config.json: {key} is {config.get(key)!r}, only {wanted} is supported")
        sizes = {key: config.get(key) for key in _SIZES}
        wrong = {key: size for key, size in sizes.items() if type(size) is not int or size <= 0}
        problems += [f"config.json: {key} is {size!r}, not a positive number" for key, size in wrong.items()]
    if not problems:
        if config.get("kv_channels", 0) * config["num_attention_heads"] != config["hidden_size"]:
            problems.append("config.json: kv_channels times num_attention_heads is not hidden_size")
        if config.get("quantization_bit") not in (None, 0, 4, 8):
            problems.append(f"config.json: quantization_bit is {config['quantization_bit']!r}, not 4 or 8")
        if config.get("pre_seq_len"):
            problems.append("config.json: pre_seq_len is set: a P-Tuning prefix cannot be carried over")
    if problems:
        raise UsageError(
            f"{folder.name} cannot be turned into a ChatGLM3 model file",
            why="\n".join(problems),
            do="use the original weights of ChatGLM3-6B, its -base or -32k form, or a fine-tuned model merged into one",
        )


def _is_chatglm2(folder: Path, config: Mapping[str, Any]) -> bool:
    """Tell ChatGLM2 from ChatGLM3, whose configurations look alike, as upstream does.

    Converters from 0.3.2 ask the tokenizer for ``<|system|>``; 0.3.0 looks at the version of transformers.
    """
    code = folder / "tokenization_chatglm.py"
    if code.is_file():
        return "<|system|>" not in code.read_text(encoding="utf-8", errors="replace")
    return config.get("transformers_version") == "4.27.1"


def _read_tokenizer(folder: Path, config: Mapping[str, Any]) -> bytes:
    """Return tokenizer.model as sentencepiece serialises it, checked to fit the vocabulary."""
    from sentencepiece import SentencePieceProcessor

    file = folder / "tokenizer.model"
    if not file.is_file():
        raise UsageError(
            f"tokenizer.model is missing in {folder}",
            why="the model file carries the tokenizer",
            do="download tokenizer.model from the page of the weights",
        )
    processor = SentencePieceProcessor()
    data = file.read_bytes()
    try:
        processor.LoadFromSerializedProto(data)
    except (RuntimeError, TypeError) as error:
        raise damaged(file, "sentencepiece cannot read it (GLM-4's tokenizer has another form)") from error
    needed = processor.GetPieceSize() + len(SPECIAL_TOKENS)
    if not data or needed > config["padded_vocab_size"]:
        raise damaged(file, f"it has {needed} tokens, config.json only {config['padded_vocab_size']}")
    proto = processor.serialized_model_proto()
    return bytes(proto)


def _header(config: Mapping[str, Any], tokenizer_length: int, dtype: str, version: int) -> ModelHeader:
    ids = {f"{kind}_token_id": _token_id(config.get(f"{kind}_token_id")) for kind in ("bos", "eos", "pad", "sep")}
    header = ModelHeader(
        architecture="ChatGLM3",
        version=version,
        dtype=dtype,
        tokenizer_offset=64 if version == 1 else 68,
        tokenizer_length=tokenizer_length,
        **{ours: config[theirs] for theirs, ours in _SIZES.items()},
        **ids,
    )
    if version == 1:
        return header
    return replace(
        header,
        bos_token_id=-1,  # version 2 carries neither of these two
        sep_token_id=-1,
        norm_eps=_single(config.get("layernorm_epsilon", 1e-5)),
        rope_theta=_single(10000.0 * float(config.get("rope_ratio") or 1)),
    )


def _token_id(value: Any) -> int:
    """Return a token id of config.json, -1 where there is none; of several (newer transformers) the first."""
    if isinstance(value, list) and value:
        value = value[0]
    return value if type(value) is int else -1


def _single(value: float) -> float:
    """Return ``value`` as a float32 holds it."""
    import numpy as np

    return float(np.float32(value))


def _read_places(folder: Path, names: list[str]) -> dict[str, StoredTensor]:
    """Return name -> place for the tensors ``names`` and their scales, from the shards that hold them."""
    found: dict[str, StoredTensor] = {}
    for file in _weight_files(folder, names):
        _check_kind(file)
        read = safetensors.read_tensors if file.suffix == ".safetensors" else torch_pickle.read_tensors
        found.update(read(file))
    wanted = {*names, *(f"{name}_scale" for name in names)}
    return {name: place for name, place in found.items() if name in wanted}


def _weight_files(folder: Path, names: list[str]) -> list[Path]:
    """Return the files that hold ``names``: safetensors where there are both, as transformers does."""
    for whole in _WEIGHT_FILES:
        if (folder / whole).is_file():
            return [folder / whole]
        index = folder / f"{whole}.index.json"
        if index.is_file():
            return _shards(folder, index, names)
    raise UsageError(
        f"there are no weights in {folder}",
        why=f"neither {_WEIGHT_FILES[0]}, {_WEIGHT_FILES[1]} nor the .index.json of shards is there",
        do="download all files of the model's page, the large ones too (git clone needs git-lfs)",
    )


def _shards(folder: Path, index: Path, names: list[str]) -> list[Path]:
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = sorted({weight_map[name] for name in names if name in weight_map})
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged(index, f"it is not an index of shards ({type(error).__name__}: {error})") from error
    if any(not isinstance(file, str) or Path(file).name != file for file in files):
        raise damaged(index, "it names files outside its folder")
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        raise UsageError(
            f"{len(missing)} of {len(files)} shards are missing in {folder}",
            why="missing: " + ", ".join(missing),
            do="download these files into the folder",
        )
    return [folder / file for file in files]


def _check_kind(file: Path) -> None:
    """Refuse the usual results of a failed download with their names."""
    with file.open("rb") as stream:
        kind = kind_of(stream.read(64))
    meanings = {
        "empty": "it is empty",
        "html": "it is a web page: the site answered with an error or login page",
        "lfs_pointer": "it is a Git LFS pointer: the repository was cloned without git-lfs",
        "zeros": "it begins with zeros only: a download tool reserved the space and never finished",
        "ggml": "it is a converted model file already",
        "gguf": "it is a GGUF file of llama.cpp",
    }
    if kind in meanings:
        raise damaged(file, meanings[kind])


def _check_tensors(checkpoint: Checkpoint, header: ModelHeader) -> None:
    """Raise UsageError naming every tensor that is missing or whose shape does not fit the configuration."""
    problems = []
    for name, shape in weight_shapes(header):
        place = checkpoint.tensors.get(name)
        if place is None:
            problems.append(f"{name} is missing")
        elif place.stored == "I8":
            problems += _problems_of_int8(checkpoint, place, shape)
        elif place.shape != shape:
            problems.append(f"{name} has shape {list(place.shape)}, config.json says {list(shape)}")
    if problems:
        more = [f"... and {len(problems) - 10} more"] if len(problems) > 10 else []
        raise UsageError(
            f"the weights in {checkpoint.folder} do not fit config.json",
            why="\n".join(problems[:10] + more),
            do="take config.json and all weight files from the same page",
        )


def _problems_of_int8(checkpoint: Checkpoint, place: StoredTensor, shape: tuple[int, ...]) -> list[str]:
    """Return what is wrong with a matrix stored as int8 (or two int4 in each) with one scale per row."""
    if checkpoint.bits not in (4, 8) or len(shape) != 2:
        return [f"{place.name} is stored as int8, but config.json gives no quantization_bit"]
    problems = []
    stored = (shape[0], shape[1] // 2 if checkpoint.bits == 4 else shape[1])
    if place.shape != stored:
        problems.append(f"{place.name} has shape {list(place.shape)}, config.json says {list(stored)}")
    scale = checkpoint.tensors.get(f"{place.name}_scale")
    if scale is None or scale.shape != (shape[0],) or scale.stored == "I8":
        problems.append(f"{place.name}_scale is missing or does not have {shape[0]} numbers")
    return problems
