"""The embeddable Python's programs carry the Python Software Foundation's signature (Authenticode), checked offline.

python3XX.zip and the ._pth file are not signed by anybody: the pinned digest of the download protects them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path

import certifi

from bundle.audit.findings import AuditExpectations, Finding, Tree

_PSF = "/O=Python Software Foundation/"
_MICROSOFT = "/O=Microsoft Corporation/"
_MICROSOFTS = ("vcruntime140.dll", "vcruntime140_1.dll", "vcruntime140_threads.dll", "ucrtbase.dll")
"""Microsoft's runtime inside the embeddable Python. Their root certificate is not in certifi, so of these only the
digest inside the signature and the signer's name are compared."""


_OLD_ROOT = Path(__file__).with_name("digicert_assured_id_root_ca.pem")
_VALID_FROM = re.compile(r"notBefore : (\w+ +\d+ [\d:]+ \d+) GMT")


def signature_tool() -> str | None:
    """Path of osslsigncode, which reads Windows signatures on any system; None when it is not installed."""
    return shutil.which("osslsigncode")


def check_signatures(tree: Tree, expected: AuditExpectations) -> Iterator[Finding]:
    """Verify every program of the embeddable Python; says nothing when there is no tool to verify with."""
    tool = signature_tool()
    if tool is None:
        return
    names = [n for n in tree.with_suffix(".exe", ".dll", ".pyd") if n.startswith(f"{expected.python_folder}/")]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(max_workers=4) as pool:
        roots = Path(folder) / "roots.pem"
        roots.write_bytes(Path(certifi.where()).read_bytes() + b"\n" + _OLD_ROOT.read_bytes())
        results = pool.map(partial(_problem, tool, roots), [tree.path(name) for name in names])
        for name, problem in zip(names, results, strict=True):
            if problem is not None:
                do = "take the embeddable Python from python.org again"
                yield Finding(path=name, rule="signature", what=problem, do=do)


def _problem(tool: str, roots: Path, path: Path) -> str | None:
    """What is wrong with the signature of ``path``; None when it is right."""
    verified, text = _verify(tool, roots, path)
    if "MISMATCH" in text:
        return "it was changed after it was signed"
    if "Signer's certificate" not in text:
        return "it carries no signature"
    by_microsoft = path.name.lower() in _MICROSOFTS
    if (_MICROSOFT if by_microsoft else _PSF) not in text:
        return f"it is not signed by the {'Microsoft Corporation' if by_microsoft else 'Python Software Foundation'}"
    if by_microsoft or verified:
        return None
    # The authorities that stamped the time before 2021 are gone. Then the certificate is judged at its own time:
    # who signed is as certain as before, only when is not.
    valid_from = _VALID_FROM.search(text)
    if valid_from is not None:
        day = datetime.strptime(valid_from[1], "%b %d %H:%M:%S %Y").replace(tzinfo=timezone.utc) + timedelta(days=1)
        verified, _ = _verify(tool, roots, path, "-ignore-timestamp", "-time", str(int(day.timestamp())))
    return None if verified else "its signature does not lead to a known authority"


def _verify(tool: str, roots: Path, path: Path, *options: str) -> tuple[bool, str]:
    """Whether the signature is right in every respect, and what the tool says about it."""
    command = [tool, "verify", "-ignore-crl", *options, "-CAfile", str(roots), "-TSA-CAfile", str(roots), str(path)]
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, env=environment)
    return done.returncode == 0, done.stdout + done.stderr
