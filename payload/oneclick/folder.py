"""Where everything of an extracted bundle lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CHATS = "对话"


@dataclass(frozen=True)
class BundleFolder:
    """The folder that ``一键运行.bat`` lies in; every path we ever write is inside it."""

    root: Path

    @classmethod
    def of_this_program(cls) -> BundleFolder:
        """Return the folder this program was extracted to: ``ROOT/app/oneclick/folder.py`` or the zip in ``ROOT/app``.

        The working directory is not asked: a double-click as administrator starts in System32. While an update is
        applied, this program is the copy in ``ROOT/update/runner``.
        """
        here = Path(__file__).absolute()
        app = next((parent for parent in here.parents if parent.name == "app"), here.parents[1])
        root = app.parent
        return cls(root.parents[1] if root.parts[-2:] == ("update", "runner") else root)

    @property
    def settings(self) -> Path:
        return self.root / "设置.toml"

    @property
    def bundle_json(self) -> Path:
        return self.root / "bundle.json"

    @property
    def manifest(self) -> Path:
        return self.root / "MANIFEST.json"

    @property
    def report(self) -> Path:
        return self.root / "诊断报告.txt"

    @property
    def chats(self) -> Path:
        """The user's conversations; see ``server.chats``. No update and no command touches them."""
        return self.root / CHATS

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def module_cache(self) -> Path:
        """Compiled code of our modules, in no manifest; see ``module_cache``."""
        return self.logs / "cache"

    @property
    def running(self) -> Path:
        """Who serves from this folder right now; see ``instance``."""
        return self.logs / "running.json"

    @property
    def remembered(self) -> Path:
        """What was measured once on this PC; see ``remembered``."""
        return self.logs / "remembered.json"
