"""Names of what a user sees in a bundle."""

from __future__ import annotations

DOORS = {"一键运行.bat": "", "下载模型.bat": "download", "环境诊断.bat": "doctor"}
"""File a user double-clicks -> subcommand of ``python -m oneclick``."""
HELP_FILE = "使用说明.html"
SETTINGS_FILE = "设置.toml"
