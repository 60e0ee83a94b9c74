"""Downloads one file in a process that can be killed: ``child.py URL TARGET SIZE SHA256 [TUNING-JSON]``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from oneclick.download import RemoteFile, Source, Tuning, download


def main() -> None:
    url, target, size, sha256, tuning = sys.argv[1:]
    file = RemoteFile(Path(target).name, int(size), sha256, [Source("A", url)])
    result = download(file, Path(target), tuning=Tuning(**json.loads(tuning)))
    print(result.source)


if __name__ == "__main__":
    main()
