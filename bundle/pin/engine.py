"""Pins of our own engine: what compiling it gives, written down so that every other build can be compared with it."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bundle.engine.compile.build import build_engine
from bundle.engine.compile.inputs import input_digest
from bundle.engine.compile.parts import wheel_parts
from bundle.engine.compile.pinned import valid_pin
from bundle.engine.request import EngineRequest
from bundle.errors import BundleError
from bundle.fetch.sources import Sources
from bundle.log import Log
from bundle.recipe.lock import EnginePin, EngineWheel, Lock
from bundle.recipe.recipe import Recipe
from bundle.stage.python import stage_python
from oneclick.update.integrity import file_sha256


def engine_request(recipe: Recipe, python: str, python_dll: Path = Path()) -> EngineRequest:
    """Return what is to be compiled of ``recipe`` for a minor version of Python; doing so needs its ``python_dll``."""
    return EngineRequest(
        version=recipe.engine.version,
        python=recipe.python.versions[python],
        python_dll=python_dll,
        levels=recipe.engine.cpu,
        openblas=recipe.engine.openblas,
    )


def pin_engine(recipe: Recipe, lock: Lock, sources: Sources, log: Log, *, anew: bool) -> Lock:
    """Return ``lock`` with pins of the engine for every Python of ``recipe`` it can be compiled for here.

    anew: whether it is also compiled where the pin is already made of the source as it is now. What the cache holds is
    not compiled again. Where it cannot be compiled, such a pin stays; one of another source is of no use and goes.
    """
    pins = {}
    for python in recipe.python.versions:
        valid = valid_pin(engine_request(recipe, python), lock)
        try:
            pins[python] = valid if valid and not anew else _compile(recipe, python, lock, sources, log)
        except BundleError as error:
            if valid:
                pins[python] = valid
            kept = "its pin is kept" if valid else "it has no pin"
            log.warn(f"Python {python}: {kept}: {error.what} ({error.why.splitlines()[0]})")
    return dataclasses.replace(lock, engine=pins)


def _compile(recipe: Recipe, python: str, lock: Lock, sources: Sources, log: Log) -> EnginePin:
    with tempfile.TemporaryDirectory() as scratch, log.step(f"Compile the engine for Python {python}"):
        folder = Path(scratch) / "python"
        stage_python(sources.fetch_any(f"python@{python}")[1], python, folder)
        request = engine_request(recipe, python, folder / f"python{python.replace('.', '')}.dll")
        inputs = input_digest(request, lock.digests)
        wheels = build_engine(
            request, inputs, sources.fetch, sources.cache.root, log.line, uv_options=sources.uv_options()
        )
    return EnginePin(inputs=inputs, wheel=tuple(map(_pin, request.levels, wheels)))


def _pin(level: str, wheel: Path) -> EngineWheel:
    return EngineWheel(
        level=level,
        name=wheel.name,
        sha256=file_sha256(wheel),
        size_bytes=wheel.stat().st_size,
        parts=" ".join(wheel_parts(wheel).values()),
    )


def stale_pins(recipe: Recipe, lock: Lock) -> Iterator[str]:
    """Yield what is wrong with the lock's pins of the engine, one sentence for each Python."""
    for python in lock.engine.keys() - recipe.python.versions.keys():
        yield f"the engine for Python {python} is pinned, but the recipe has no such Python"
    for python in lock.engine.keys() & recipe.python.versions.keys():
        if valid_pin(engine_request(recipe, python), lock) is None:
            yield f"the engine for Python {python} is pinned as another source makes it: build.py lock --engine"
