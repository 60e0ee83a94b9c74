"""Folders that are no ChatGLM3 weights: refused before any work, with what and where."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bundle.errors import UsageError
from bundle.model.quantize.checkpoint import read_checkpoint
from bundle.model.random_checkpoint import write_random_checkpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_random_checkpoint(tmp_path / "chatglm3-6b")
    return tmp_path / "chatglm3-6b"


def change_config(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_whole_checkpoint_is_read(folder: Path) -> None:
    checkpoint = read_checkpoint(folder)
    assert len(checkpoint.tensors) == 17
    assert checkpoint.model_dtype == "float16"
    assert checkpoint.header("q4_0", 1).sequence_length == 8192


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model_type": "llama"}, "model_type is 'llama'"),
        ({"add_bias_linear": True}, "add_bias_linear is True"),
        ({"rmsnorm": False}, "rmsnorm is False"),
        ({"original_rope": None}, "original_rope is None"),
        ({"hidden_size": "64"}, "hidden_size is '64'"),
        ({"num_layers": 0}, "num_layers is 0"),
        ({"seq_length": None}, "seq_length is None"),
        ({"kv_channels": 17}, "kv_channels times num_attention_heads"),
        ({"quantization_bit": 3}, "quantization_bit is 3"),
        ({"pre_seq_len": 128}, "P-Tuning"),
        ({"transformers_version": "4.27.1"}, "ChatGLM2"),
    ],
)
def test_another_architecture_is_told_by_the_entry_that_shows_it(
    folder: Path, changes: dict[str, Any], told: str
) -> None:
    change_config(folder, **changes)
    with pytest.raises(UsageError, match=told):
        read_checkpoint(folder)


def test_the_first_chatglm_is_told_by_name(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["multi_query_attention"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match="the first ChatGLM-6B"):
        read_checkpoint(folder)


def test_the_tokenizers_code_says_which_generation_it_is(folder: Path) -> None:
    change_config(folder, transformers_version="4.27.1")
    (folder / "tokenization_chatglm.py").write_text('special_tokens = ["<|system|>"]')
    assert read_checkpoint(folder)
    change_config(folder, transformers_version="4.40.0")
    (folder / "tokenization_chatglm.py").write_text('special_tokens = ["gMASK"]')
    with pytest.raises(UsageError, match="ChatGLM2"):
        read_checkpoint(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "\ufeff{", "[" * 100_000])
def test_a_damaged_configuration_is_named(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(UsageError, match=r"config\.json is not a usable weights file"):
        read_checkpoint(folder)


def test_a_folder_without_weights_is_told_so(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no config\.json"):
        read_checkpoint(tmp_path)
    for file in folder.glob("model*"):
        file.unlink()
    with pytest.raises(UsageError, match="there are no weights"):
        read_checkpoint(folder)


def test_missing_shards_are_listed(folder: Path) -> None:
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(UsageError, match=r"1 of 2 shards are missing(?s:.*)model-00002-of-00002") as caught:
        read_checkpoint(folder)
    assert "download these files" in caught.value.do


def _truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1000])


def _lfs(file: Path) -> None:
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 99\n")


def _page(file: Path) -> None:
    file.write_bytes(b"<!DOCTYPE html><title>Sign in</title>")


def _nothing(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "told"),
    [(_truncate, "cut off or damaged"), (_lfs, "git-lfs"), (_page, "web page"), (_nothing, "empty")],
)
def test_a_damaged_shard_is_named_with_its_damage(folder: Path, damage: Callable[[Path], None], told: str) -> None:
    damage(folder / "model-00001-of-00002.safetensors")
    with pytest.raises(UsageError, match=told) as caught:
        read_checkpoint(folder)
    assert "model-00001-of-00002.safetensors" in str(caught.value)


def test_shapes_that_do_not_fit_the_configuration_are_all_listed(folder: Path) -> None:
    change_config(folder, ffn_hidden_size=192)
    with pytest.raises(UsageError, match=r"do not fit config\.json") as caught:
        read_checkpoint(folder)
    assert "mlp.dense_h_to_4h.weight has shape [256, 64], config.json says [384, 64]" in caught.value.why
    assert len(caught.value.why.splitlines()) == 4


def test_missing_tensors_are_listed_up_to_ten(folder: Path) -> None:
    change_config(folder, num_layers=9)
    with pytest.raises(
        UsageError, match=r"transformer\.encoder\.layers\.2\.input_layernorm\.weight is missing"
    ) as caught:
        read_checkpoint(folder)
    assert caught.value.why.endswith("... and 39 more")


def test_an_index_that_leads_out_of_the_folder_is_refused(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"]["transformer.output_layer.weight"] = "../../etc/passwd"
    index.write_text(json.dumps(content))
    with pytest.raises(UsageError, match="outside its folder"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    "content", ["", "[]", '{"weight_map": 7}', '{"weight_map": {"transformer.output_layer.weight": 7}}']
)
def test_a_damaged_index_is_named(folder: Path, content: str) -> None:
    (folder / "model.safetensors.index.json").write_text(content)
    with pytest.raises(UsageError, match=r"model\.safetensors\.index\.json"):
        read_checkpoint(folder)


def test_integer_weights_without_their_scales_are_refused(tmp_path: Path) -> None:
    write_random_checkpoint(tmp_path, bits=8)
    change_config(tmp_path, quantization_bit=0)
    with pytest.raises(UsageError, match=r"stored as int8, but config\.json gives no quantization_bit"):
        read_checkpoint(tmp_path)
    change_config(tmp_path, quantization_bit=4)
    with pytest.raises(UsageError, match=r"has shape \[128, 64\], config.json says \[128, 32\]"):
        read_checkpoint(tmp_path)


def test_a_missing_tokenizer_is_told(folder: Path) -> None:
    (folder / "tokenizer.model").unlink()
    with pytest.raises(UsageError, match=r"tokenizer\.model is missing"):
        read_checkpoint(folder)


@pytest.mark.parametrize("content", [b"", b"IQ== 0\nIg== 1\n", b"\x00" * 100])
def test_a_tokenizer_of_another_kind_is_refused(folder: Path, content: bytes) -> None:
    (folder / "tokenizer.model").write_bytes(content)
    with pytest.raises(UsageError, match=r"tokenizer\.model is not a usable weights file"):
        read_checkpoint(folder)


def test_a_tokenizer_larger_than_the_vocabulary_is_refused(folder: Path) -> None:
    change_config(folder, padded_vocab_size=1005)
    with pytest.raises(UsageError, match=r"it has 1006 tokens, config\.json only 1005"):
        read_checkpoint(folder)


def test_safetensors_are_taken_where_there_are_both(folder: Path) -> None:
    shutil.copy(folder / "config.json", folder / "pytorch_model.bin")
    assert all(place.file.suffix == ".safetensors" for place in read_checkpoint(folder).tensors.values())
