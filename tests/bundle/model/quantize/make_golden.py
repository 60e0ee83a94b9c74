"""Writes golden.json: the digests of what upstream's convert.py makes of the random checkpoints.

``python -m tests.bundle.model.quantize.make_golden``, when cases are added or the random numbers change (never to
make a failing test pass: the digests are upstream's, not ours). Takes some minutes; needs what
tests/requirements-convert.txt lists.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from oneclick.update.integrity import file_sha256
from tests.bundle.model.quantize.checkpoints import CASES, TYPES, write_case
from tests.support.upstream import run_upstream

GOLDEN = Path(__file__).with_name("golden.json")
VERSION_2_CASES = ("half", "long-context")


def main() -> None:
    golden: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        parent = Path(temporary)
        folders = [write_case(name, parent) for name in CASES]
        for release, chosen in (("0.3.0", folders), ("0.3.4", [f for f in folders if f.name in VERSION_2_CASES])):
            output = parent / f"made-{release}"
            output.mkdir()
            run_upstream(chosen, TYPES, output, release)
            for path in sorted(output.iterdir()):
                name, _, dtype = path.name.rpartition(".")
                golden.setdefault(f"{name} {release}", {})[dtype] = file_sha256(path)
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
