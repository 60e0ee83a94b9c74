"""Every sentence: both languages, the same values, no key without a sentence."""

from __future__ import annotations

import importlib
import re
import string
from pathlib import Path

import pytest

from oneclick import messages

PAYLOAD = Path(__file__).parents[2] / "payload" / "oneclick"
AREAS = sorted(path.stem for path in (PAYLOAD / "messages").glob("*.py") if path.stem != "__init__")
KEY = re.compile(rf"""["']((?:{"|".join(AREAS)})\.[a-z_0-9]+)["']""")


def table(area: str) -> messages.Table:
    found: messages.Table = importlib.import_module(f"oneclick.messages.{area}").TABLE
    return found


def placeholders(sentence: str) -> set[str]:
    """Return the values a sentence takes; those that are themselves in a language count as the same."""
    sentence = re.sub(r"_zh\}|_en\}|chinese\}|english\}", "}", sentence)
    return {name.split(".")[0] for _, name, _, _ in string.Formatter().parse(sentence) if name is not None}


@pytest.mark.parametrize("area", AREAS)
def test_both_languages_tell_the_same_values(area: str) -> None:
    for key, (chinese, english) in table(area).items():
        assert chinese, key
        assert english, key
        assert placeholders(chinese) == placeholders(english), key


@pytest.mark.parametrize("area", AREAS)
def test_chinese_sentences_use_chinese_punctuation(area: str) -> None:
    for key, (chinese, _) in table(area).items():
        assert not re.search(r"[\u4e00-\u9fff][,;!?]", chinese), (key, chinese)


def test_every_key_in_the_code_has_its_sentence() -> None:
    for path in PAYLOAD.rglob("*.py"):
        for key in KEY.findall(path.read_text("utf-8")):
            area, _, name = key.partition(".")
            if f"oneclick.{key}" in path.read_text("utf-8") or name in ("py", "toml"):
                continue
            assert name in table(area), f"{path.name}: {key}"


def test_the_language_follows_the_system_or_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LC_ALL", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for chosen, expected in (("zh_CN.UTF-8", "zh"), ("en_US.UTF-8", "en"), ("de_DE.UTF-8", "en")):
        monkeypatch.setenv("LC_ALL", chosen)
        messages.set_language("auto")
        assert messages.current_language() == expected
    messages.set_language("zh")
    assert "已停止" in messages.say("launcher.stopped")
    messages.set_language("en")
    assert messages.say("launcher.stopped") == "Stopped."
