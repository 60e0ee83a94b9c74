"""Digests of a model's 64 MiB blocks, made from a verified file, so that damage on a user's PC costs one block.

No hub tells them: somebody who has the file makes them once (``build.py lock --model FILE``), the lock keeps them, and
``bundle.json`` carries them to the downloader.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

from bundle.errors import UsageError
from bundle.recipe.lock import Lock
from bundle.recipe.recipe import Model, Recipe
from oneclick.download.files import BLOCK_BYTES

_CHUNK = 1 << 20

Progress = Callable[[int, int], None]
"""(bytes hashed, bytes in all)."""


def block_digests(path: Path, progress: Progress | None = None) -> tuple[str, tuple[str, ...]]:
    """Return the sha256 of the file at ``path`` and those of its blocks in order, read once."""
    whole, blocks, done, size_bytes = hashlib.sha256(), [], 0, path.stat().st_size
    with path.open("rb", buffering=0) as stream:
        while done < size_bytes:
            block, end = hashlib.sha256(), min(done + BLOCK_BYTES, size_bytes)
            while done < end:
                data = stream.read(min(_CHUNK, end - done))
                if not data:
                    raise UsageError(f"{path} became shorter while it was read", why="its size changed", do="run again")
                whole.update(data)
                block.update(data)
                done += len(data)
            blocks.append(block.hexdigest())
            if progress is not None:
                progress(done, size_bytes)
    return whole.hexdigest(), tuple(blocks)


def pin_blocks(recipe: Recipe, lock: Lock, path: Path, progress: Progress | None = None) -> tuple[Lock, Model]:
    """Return ``lock`` with the block digests of the model at ``path``, and that model.

    Raises UsageError unless the file is, byte for byte, a model of the catalogue: digests of anything else would make
    every download of that model fail.
    """
    fitting = [model for model in recipe.models if model.size_bytes == path.stat().st_size]
    sha256, blocks = block_digests(path, progress) if fitting else ("", ())
    for model in fitting:
        if model.sha256 == sha256:
            kept = {known: lock.blocks[known] for known in lock.blocks if any(m.sha256 == known for m in recipe.models)}
            return dataclasses.replace(lock, blocks={**kept, sha256: blocks}), model
    raise UsageError(
        f"{path.name} is not a model of {recipe.path.name}",
        why=f"its sha256 is {sha256}" if fitting else f"no model there has its size of {path.stat().st_size} bytes",
        do="give the verified file of a model that the recipe lists, or add yours to the recipe first",
    )
