"""Every sentence a user can read, in Chinese and English, looked up by key."""

from __future__ import annotations

import importlib
import locale
import os
import sys
from typing import Dict, Tuple

Table = Dict[str, Tuple[str, str]]
"""key inside its area -> (Chinese, English); ``str.format`` placeholders in both."""

_language = ""


def windows_language() -> str:
    """Return ``"zh"`` where the user interface of this system is Chinese, else ``"en"``.

    On Windows the interface language is asked, not the code page: people run Chinese programs on
    English Windows and the other way round.
    """
    if sys.platform == "win32":
        import ctypes

        ask = ctypes.WinDLL("kernel32").GetUserDefaultUILanguage
        ask.restype = ctypes.c_uint16
        primary_language = ask() & 0x3FF
        return "zh" if primary_language == 0x04 else "en"
    name = os.environ.get("LC_ALL") or os.environ.get("LANG") or locale.getlocale()[0] or ""
    return "zh" if name.startswith("zh") else "en"


def set_language(language: str) -> None:
    """Choose ``"zh"`` or ``"en"`` for everything said from now on; ``"auto"`` asks the system."""
    global _language
    _language = windows_language() if language == "auto" else language


def current_language() -> str:
    """Return ``"zh"`` or ``"en"``."""
    if not _language:
        set_language("auto")
    return _language


def both(key: str, **values: object) -> tuple[str, str]:
    """Return the Chinese and the English sentence of ``key``, which is ``area.name``.

    Areas are modules beside this one, imported only when one of their sentences is needed.
    """
    area, _, name = key.partition(".")
    table: Table = importlib.import_module(f"{__name__}.{area}").TABLE
    chinese, english = table[name]
    return chinese.format(**values), english.format(**values)


def say(key: str, **values: object) -> str:
    """Return the sentence of ``key`` in the language of this run."""
    chinese, english = both(key, **values)
    return chinese if current_language() == "zh" else english
