"""Bundles beside the default one: each is built whole, engine included, and double-clicked by the builder itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bundle.model.random_model import write_random_model
from bundle.windows.wine import WinePrefix, usable_locale
from tests.support.build_py import build_py
from tests.support.wine import extract

pytestmark = [pytest.mark.wine, pytest.mark.timeout(3600)]  # a cold cache compiles each engine: minutes

# A token at a time, so that each computation needs a few bytes more than the one before; then all of them at once.
GROW = """
import sys
from oneclick.engine.engine import Engine, import_engine

engine = Engine(import_engine(sys.argv[1], sys.argv[2:]), "tiny.bin", 1)
ids = [5]
for step in range(400):
    engine.evaluate(ids, len(ids) - 1)
    ids.append(5 + step % 90)
engine.evaluate(ids, 0)
print("survived")
"""


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
    assert "survived" in grown(extract(tmp_path / name, tmp_path / "extracted"))


def grown(folder: Path) -> str:
    """Return what GROW prints in the Python and on the engine of the extracted bundle ``folder``."""
    write_random_model(folder / "tiny.bin", "tiny")
    (folder / "grow.py").write_text(GROW, encoding="utf-8")
    engine = folder / "app" / "engine"
    with WinePrefix(folder / "wine", locale=usable_locale()) as windows:
        command = [str(folder / "python" / "python.exe"), "-X", "utf8", "grow.py"]
        program = windows.start([*command, str(engine / "avx2"), str(engine / "shared")], cwd=folder)
        program.wait(240)
    return program.output
