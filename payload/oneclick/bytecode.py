"""Keep compiled modules in ``logs/pycache`` of the bundle: the second start need not compile everything again.

Shipping .pyc files would need the bundle's own Python at build time, which only Windows can run. Python's own check of
a cached file (time and size of its source) is no use here, because every file of an archive has the same time: the
cache is named after MANIFEST.json, which holds the digest of every file. Another version gets another cache.
"""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import suppress
from pathlib import Path


def use_cache(root: Path) -> None:
    """Let imports from now on read and write compiled modules below ``root``/logs; nothing where it is not a bundle."""
    with suppress(OSError):
        key = hashlib.sha256((root / "MANIFEST.json").read_bytes()).hexdigest()[:16]
        sys.pycache_prefix = str(root / "logs" / "pycache" / key)
        sys.dont_write_bytecode = False
        # The worker is a process of its own and inherits this.
        os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def drop_other_caches(root: Path) -> None:
    """Remove the caches of versions that were in this folder before."""
    if not sys.pycache_prefix:
        return
    import shutil

    current = Path(sys.pycache_prefix)
    with suppress(OSError):
        for folder in current.parent.iterdir():
            if folder != current:
                shutil.rmtree(folder, ignore_errors=True)
