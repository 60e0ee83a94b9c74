from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PAYLOAD = Path(__file__).resolve().parents[4] / "payload"
HEAVY = ("click", "multiprocessing", "starlette", "anyio", "http.client", "argparse", "uvicorn.main")
LATER = ("oneclick.server.chats",)
"""Needed once the page is shown."""


def printed(code: str) -> str:
    """Run ``code`` in a Python that has imported nothing yet."""
    setup = f"import sys; sys.path.insert(0, {str(PAYLOAD)!r})\n"
    done = subprocess.run([sys.executable, "-c", setup + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_server_imports_nothing_that_it_does_not_use() -> None:
    code = (
        f"import oneclick.server.api.app, oneclick.server.http.serve; "
        f"print([n for n in {(*HEAVY, *LATER)!r} if n in sys.modules])"
    )
    assert printed(code) == "[]"


def test_a_later_import_of_uvicorn_is_the_real_one() -> None:
    code = "from oneclick.server.http import uvicorn_parts as own; import uvicorn; "
    code += "print(uvicorn.Config is own.Config, uvicorn.run)"
    assert printed(code).startswith("True <function run")
