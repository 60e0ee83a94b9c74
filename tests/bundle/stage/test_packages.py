"""Windows packages on any host: markers of the target, every hash checked, nothing that tells of this machine."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

import pytest

from bundle.errors import UsageError
from bundle.recipe.lock import PinnedFile
from bundle.stage.packages import stage_packages


def wheel(folder: Path, name: str, files: dict[str, bytes], tag: str = "py3-none-any") -> tuple[PinnedFile, Path]:
    """Write a real wheel and pin it."""
    info = f"{name}-1.0.dist-info"
    members = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n".encode(),
    }
    record = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}"
        for path, data in members.items()
    ]
    path = folder / f"{name}-1.0-{tag}.whl"
    with zipfile.ZipFile(path, "w") as out:
        for member, data in members.items():
            out.writestr(member, data)
        out.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,"]) + "\n")
    data = path.read_bytes()
    pinned = PinnedFile(name=path.name, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data), project=name)
    return pinned, path


def test_wheels_for_windows_are_installed_on_any_host(tmp_path: Path) -> None:
    native = wheel(tmp_path, "fast", {"fast/_c.cp310-win_amd64.pyd": b"MZ"}, "cp310-cp310-win_amd64")
    pure = wheel(
        tmp_path, "plain", {"plain/__init__.py": b"", "plain/tests/test_a.py": b"", "plain/__pycache__/a.pyc": b""}
    )
    target = tmp_path / "bundle" / "packages"
    target.parent.mkdir()
    stage_packages(dict([native, pure]), "3.10", target)
    files = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    assert {"fast/_c.cp310-win_amd64.pyd", "plain/__init__.py"} <= files
    assert not [name for name in files if "tests" in name or "__pycache__" in name or name.startswith(("bin/", "S"))]
    assert not [name for name in files if name.rsplit("/", 1)[-1] in ("RECORD", "INSTALLER", "direct_url.json")]
    assert [path.name for path in target.parent.iterdir()] == ["packages"]


def test_a_wheel_for_another_python_is_refused(tmp_path: Path) -> None:
    pinned = wheel(tmp_path, "fast", {"fast/_c.pyd": b"MZ"}, "cp311-cp311-win_amd64")
    with pytest.raises(UsageError, match="could not install"):
        stage_packages(dict([pinned]), "3.10", tmp_path / "packages")


def test_a_wheel_that_changed_after_it_was_locked_is_refused(tmp_path: Path) -> None:
    pinned, path = wheel(tmp_path, "plain", {"plain/__init__.py": b""})
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(UsageError, match="could not install"):
        stage_packages({pinned: path}, "3.10", tmp_path / "packages")
