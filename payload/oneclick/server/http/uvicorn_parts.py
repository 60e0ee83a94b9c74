"""uvicorn's server and HTTP protocol without its command line.

``import uvicorn`` also brings click, multiprocessing and the reloader, a fifth of the whole start, and none of it is
used here. So its modules are imported as parts of a package whose ``__init__`` has not run; it is not left behind,
whoever imports uvicorn later gets all of it, with these very modules in it.
"""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Sequence

NEEDED = ("uvicorn.config", "uvicorn.server", "uvicorn.protocols.http.h11_impl", "uvicorn.lifespan.off")
"""The last is what uvicorn itself imports when it starts."""


def _import_parts(names: Sequence[str]) -> None:
    if "uvicorn" in sys.modules:
        return
    spec = find_spec("uvicorn")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("uvicorn is missing", name="uvicorn")
    package = ModuleType("uvicorn")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["uvicorn"] = package
    try:
        for name in names:
            module = importlib.import_module(name)
            # Its own modules ask the package for this one name.
            package.__dict__.setdefault("Config", getattr(module, "Config", None))
    finally:
        del sys.modules["uvicorn"]


_import_parts(NEEDED)

from uvicorn.config import Config  # noqa: E402
from uvicorn.protocols.http.h11_impl import H11Protocol  # noqa: E402
from uvicorn.server import Server  # noqa: E402

__all__ = ["Config", "H11Protocol", "Server"]
