"""A maintainer on Windows gets the archive that one on Linux gets."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from bundle.cache import Cache, default_cache_dir
from bundle.log import Log
from bundle.plan import resolve_plan
from bundle.python_runtime import stage_python
from bundle.sources import Sources
from bundle.wine import WinePrefix, usable_locale

ROOT = Path(__file__).resolve().parents[2]
PACK = """
import sys
from pathlib import Path
repository, packages, tree, target = sys.argv[1:]
sys.path[:0] = [repository, repository + "/payload", packages]
from bundle.archive import write_archive
write_archive(Path(tree), Path(target))
"""


def test_pythons_of_windows_and_of_this_machine_pack_the_same_bytes(
    built_archive: Path, real_bundle: Path, tmp_path: Path
) -> None:
    """Their liblzma differs (5.2.5 in Python 3.10 for Windows), as do paths, permissions and file times."""
    plan = resolve_plan(output=tmp_path)
    _, embeddable = Sources(plan.recipe, plan.lock, Cache(default_cache_dir()), Log()).fetch_any("python@3.10")
    stage_python(embeddable, "3.10", tmp_path / "python")
    packages = tmp_path / "packages"
    platform = ["--python-platform", "x86_64-pc-windows-msvc", "--python-version", "3.10", "--only-binary", ":all:"]
    install = [sys.executable, "-m", "uv", "pip", "install", "-q", *platform, "--target", str(packages)]
    subprocess.run([*install, "-c", str(ROOT / "requirements.txt"), "py7zr"], check=True)
    script, target = tmp_path / "pack.py", tmp_path / "windows.7z"
    script.write_text(PACK)
    with WinePrefix.temporary(locale=usable_locale()) as prefix:
        command = [tmp_path / "python" / "python.exe", script, ROOT, packages, real_bundle, target]
        program = prefix.start([str(part) for part in command], cwd=tmp_path)
        assert program.wait() == 0, program.output
    assert sha256(target) == sha256(built_archive)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
