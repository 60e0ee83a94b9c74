"""Answers of a promised form through the double-clicked archive, and on a Windows whose grammar library cannot load."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import jsonschema
import pytest
import requests

from bundle.engine.compile.tools import install_tools
from bundle.fetch.cache import default_cache_dir
from bundle.model.random_model import write_random_model
from tests.e2e.conftest import MakeBundle
from tests.support.wine import Running

pytestmark = pytest.mark.wine

HELLO = [{"role": "user", "content": "你好"}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["北京", "上海"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "trip", "schema": SCHEMA}}
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]
PRNG = """
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size) { return SystemFunction036(data, (ULONG)size); }
"""
"""Every Windows since 8 has this function (https://learn.microsoft.com/windows/win32/seccng/processprng); Wine has it
from 9.3 on, and the one we test with is 8.0."""


@pytest.fixture(scope="session")
def random_numbers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Windows' own bcryptprimitives.dll, as far as a Rust library asks for it."""
    folder = tmp_path_factory.mktemp("prng")
    source, dll = folder / "prng.c", folder / "bcryptprimitives.dll"
    source.write_text(PRNG, encoding="ascii")
    zig = install_tools(default_cache_dir(), print).zig
    options = ["-target", "x86_64-windows-gnu", "-shared", "-O2", "-o", str(dll), str(source), "-ladvapi32"]
    subprocess.run([str(zig), "cc", *options], cwd=folder, check=True)
    return dll


def ask(running: Running, **more: object) -> requests.Response:
    body = {"messages": HELLO, "max_tokens": 200, "temperature": 1.5, **more}
    return requests.post(running.url + "/v1/chat/completions", json=body, timeout=120)


def test_schemas_and_calls_are_kept_by_the_double_clicked_bundle(
    make_bundle: MakeBundle, random_numbers: Path, tmp_path: Path
) -> None:
    model = tmp_path / "any.bin"
    write_random_model(model, "tiny", speech="any")
    bundle = make_bundle("我的 软件", model=model)
    bundle.replace("app/packages/llguidance/bcryptprimitives.dll", random_numbers.read_bytes())
    with bundle.running("--port", "0", "--threads", "1") as running:
        for seed in range(5):
            choice = ask(running, response_format=FORMAT, seed=seed).json()["choices"][0]
            assert choice["finish_reason"] == "stop"
            jsonschema.validate(json.loads(choice["message"]["content"]), SCHEMA)
        choice = ask(running, tools=TOOLS, tool_choice="required", seed=1).json()["choices"][0]
        (call,) = choice["message"]["tool_calls"]
        jsonschema.validate(json.loads(call["function"]["arguments"]), SCHEMA)
        answers = [ask(running, seed=3, max_tokens=12, logprobs=True).json()["choices"][0] for _ in range(2)]
        assert answers[0]["message"] == answers[1]["message"]
        assert len(answers[0]["logprobs"]["content"]) == 12


def test_a_windows_that_is_too_old_says_so_and_chats_on(make_bundle: MakeBundle) -> None:
    with make_bundle().running("--port", "0", "--threads", "1") as running:
        refused = ask(running, response_format=FORMAT)
        assert refused.status_code == 400
        assert "Windows" in refused.json()["error"]["message"]
        assert running.chat("你好")["choices"]
