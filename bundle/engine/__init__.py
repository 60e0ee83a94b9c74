"""The chatglm_cpp engine: compiled here or precompiled, checked, and staged into a bundle.

Use: ``required_files(request)`` tells the lock what a compile takes, ``build_engine`` gives one wheel per CPU level,
``stage_engine`` puts wheels (ours, the release's or a maintainer's own) into a bundle.
"""

from __future__ import annotations

from bundle.engine.compile.build import build_engine
from bundle.engine.request import LEVELS, EngineInfo, EngineRequest, NeededFile, required_files, runtime_files
from bundle.engine.stage import stage_engine

__all__ = [
    "LEVELS",
    "EngineInfo",
    "EngineRequest",
    "NeededFile",
    "build_engine",
    "required_files",
    "runtime_files",
    "stage_engine",
]
