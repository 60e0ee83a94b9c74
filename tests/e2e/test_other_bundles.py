"""Bundles beside the default one: each is built whole, engine included, and double-clicked by the builder itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.build_py import build_py

pytestmark = [pytest.mark.wine, pytest.mark.timeout(3600)]  # a cold cache compiles each engine: minutes


@pytest.mark.parametrize(
    ("options", "name", "engine"),
    [
        (
            ["--wheel", "compile", "--python", "3.11"],
            "ChatGLM3_cpp.7z",
            "0.3.0+oneclick.1 (compile; avx2, avx; OpenBLAS)",
        ),
        (["--recipe", "chatglm3-0.4"], "ChatGLM3_cpp_0.4.7z", "0.4.2+oneclick.1 (compile; avx2)"),
    ],
    ids=["Python 3.11", "chatglm_cpp 0.4.2"],
)
def test_it_is_built_and_chats(options: list[str], name: str, engine: str, tmp_path: Path) -> None:
    done = build_py("build", *options, "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"engine:  chatglm_cpp {engine}" in done.stdout
    assert "smoke:   passed" in done.stdout
    verified = build_py("verify", "--json", tmp_path / name)
    assert verified.returncode == 0, verified.stderr
    assert json.loads(verified.stdout)["ok"] is True
