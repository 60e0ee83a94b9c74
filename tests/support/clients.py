"""Other people's clients, installed once into the builder's cache folder and run against a server's address."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests

from bundle.archive.unpack import unpack_tar
from bundle.fetch.cache import default_cache_dir
from bundle.fetch.pypi import find_file, own_index
from oneclick.server.chat.tokenizer import ChatTokenizer
from tests.support.scripted_model import write_scripted_model

OPENAI_SDIST = "openai-3.54.0.tar.gz"
OPENAI_SHA256 = "2e393e63f8a38be6452806f9ef0b6534fecd6d41ab3b2165180dfce3599249cd"
"""The version in tests/requirements.txt."""
OPENAI_FILES = ("tests/api_resources/chat/test_completions.py", "tests/api_resources/test_models.py")
OPENAI_TESTS = "(Completions and create) or (Models and (list or retrieve))"
NODE = Path(__file__).resolve().parents[1] / "payload" / "server" / "node"
PYTHON_CLIENTS = NODE.parent / "python_clients"


def openai_sdk_tests() -> Path:
    """Return the unpacked sdist of the openai package, which holds its tests."""
    folder = default_cache_dir() / "client-tests" / OPENAI_SHA256[:16]
    if not folder.is_dir():
        answer = requests.get(find_file(own_index(), "openai", OPENAI_SDIST).url, timeout=60)
        answer.raise_for_status()
        assert hashlib.sha256(answer.content).hexdigest() == OPENAI_SHA256
        folder.parent.mkdir(parents=True, exist_ok=True)
        archive = folder.parent / OPENAI_SDIST
        archive.write_bytes(answer.content)
        unpack_tar(archive, folder)
    (source,) = folder.iterdir()
    return source


def run_openai_tests(url: str) -> str:
    """Run the 75 tests that concern us against ``url`` and return what pytest printed; fails when one does."""
    command = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *OPENAI_FILES, "-k", OPENAI_TESTS],
        cwd=openai_sdk_tests(),
        env={**os.environ, "TEST_API_BASE_URL": f"{url}/v1"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def node_clients(source: Path = NODE) -> Path:
    """Return a folder with the scripts of ``source`` and what they need, installed once from its lock file."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(source.iterdir()))).hexdigest()[:16]
    folder = default_cache_dir() / "client-tests" / f"node-{digest}"
    if not (folder / "complete").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder)
        npm = shutil.which("npm")
        assert npm, "npm is needed for the JavaScript clients and the workflow linter: install Node.js 20 or later"
        subprocess.run([npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder, check=True, timeout=300)
        (folder / "complete").touch()
    return folder


def python_clients() -> Path:
    """Return the Python of an environment with the client libraries, installed once from their pins."""
    pins = PYTHON_CLIENTS / "requirements.txt"
    digest = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()[:16]
    folder = default_cache_dir() / "client-tests" / f"python-{digest}"
    program = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not (folder / "complete").is_file():
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True, timeout=60)
        subprocess.run([*uv, "pip", "install", "--quiet", "--python", program, "-r", pins], check=True, timeout=600)
        (folder / "complete").touch()
    return program


def run_python_clients(url: str, calling_url: str) -> dict[str, Any]:
    """Run python_clients/clients.py and return what each client saw."""
    done = subprocess.run(
        [python_clients(), PYTHON_CLIENTS / "clients.py", url, calling_url],
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LANGSMITH_TRACING": "false"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return results


def run_node_clients(url: str, calling_url: str) -> dict[str, Any]:
    """Run clients.mjs and return what each client saw; the server at ``calling_url`` has the calling model."""
    done = subprocess.run(
        ["node", "clients.mjs", url, calling_url],
        cwd=node_clients(),
        env={**os.environ, "AI_SDK_LOG_WARNINGS": "false"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return results


def write_calling_model(path: Path, tokenizer: ChatTokenizer) -> None:
    """Write a model that calls the tool ``f(a=1)``, whatever it is asked."""
    write_scripted_model(path, _call_ids(tokenizer), tokenizer.assistant)


def _call_ids(tokenizer: ChatTokenizer) -> Sequence[int]:
    """Return the ids of the call, no token twice."""
    letters = {piece: tokenizer._pieces.processor.PieceToId(piece) for piece in "f(a=1)"}
    as_byte = {letter: 3 + ord(letter) for letter in "\nf"}
    call = [letters["f"], as_byte["\n"], as_byte["f"], *(letters[letter] for letter in "(a=1)")]
    return [*call, tokenizer.observation]
