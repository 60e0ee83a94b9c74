"""A maintainer on Windows gets the archive that one on Linux gets."""

from __future__ import annotations

from pathlib import Path

from bundle.windows.wine import WinePrefix, usable_locale
from oneclick.update.integrity import file_sha256
from tests.support.wine import install_for_windows, whole_python

ROOT = Path(__file__).resolve().parents[3]
PACK = """
import sys
from pathlib import Path
repository, packages, tree, target = sys.argv[1:]
sys.path[:0] = [repository, repository + "/payload", packages]
from bundle.archive.write import write_archive
write_archive(Path(tree), Path(target))
"""


def test_pythons_of_windows_and_of_this_machine_pack_the_same_bytes(
    built_archive: Path, real_bundle: Path, tmp_path: Path
) -> None:
    """Their liblzma differs (5.2.5 in Python 3.10 for Windows), as do paths, permissions and file times."""
    python = whole_python(tmp_path / "python")
    pins = str(ROOT / "requirements.txt")
    packages = install_for_windows(tmp_path / "packages", python, "-c", pins, "py7zr")
    script, target = tmp_path / "pack.py", tmp_path / "windows.7z"
    script.write_text(PACK)
    with WinePrefix.temporary(locale=usable_locale()) as prefix:
        command = [tmp_path / "python" / "python.exe", script, ROOT, packages, real_bundle, target]
        program = prefix.start([str(part) for part in command], cwd=tmp_path)
        assert program.wait() == 0, program.output
    assert file_sha256(target) == file_sha256(built_archive)
