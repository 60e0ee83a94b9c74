from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from oneclick.bytecode import drop_other_caches, use_cache


@pytest.fixture(autouse=True)
def python_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "pycache_prefix", None)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", "")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")


def test_compiled_modules_go_below_logs_for_us_and_our_processes(tmp_path: Path) -> None:
    (tmp_path / "MANIFEST.json").write_text("1")
    use_cache(tmp_path)
    assert sys.pycache_prefix is not None
    assert Path(sys.pycache_prefix).parent == tmp_path / "logs" / "pycache"
    assert sys.dont_write_bytecode is False
    assert os.environ["PYTHONPYCACHEPREFIX"] == sys.pycache_prefix
    assert "PYTHONDONTWRITEBYTECODE" not in os.environ


def test_another_version_gets_another_cache_and_the_old_one_goes(tmp_path: Path) -> None:
    (tmp_path / "MANIFEST.json").write_text("1")
    use_cache(tmp_path)
    old = Path(str(sys.pycache_prefix))
    old.mkdir(parents=True)
    (tmp_path / "MANIFEST.json").write_text("2")
    use_cache(tmp_path)
    assert Path(str(sys.pycache_prefix)) != old
    drop_other_caches(tmp_path)
    assert not old.exists()


def test_a_folder_that_is_no_bundle_is_left_alone(tmp_path: Path) -> None:
    use_cache(tmp_path)
    assert sys.pycache_prefix is None
    assert sys.dont_write_bytecode is True
    drop_other_caches(tmp_path)
    assert list(tmp_path.iterdir()) == []
