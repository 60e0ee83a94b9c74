"""What is said of the antivirus programs that Windows lists; that they are read: test_windows_calls.py."""

from __future__ import annotations

import pytest

from oneclick.messages import set_language
from oneclick.pc.antivirus import check_antivirus
from oneclick.pc.findings import NOTE, OK


@pytest.fixture(autouse=True)
def chinese() -> None:
    set_language("zh")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (0x061000, "开启"),
        (0x041010, "开启"),
        (0x061100, "开启"),
        (0x060100, "关闭"),
        (0x062000, "关闭"),
        (0x063000, "关闭"),
    ],
)
def test_each_is_named_with_whether_it_is_on(state: int, words: str) -> None:
    finding = check_antivirus([("360 杀毒", state)])
    assert finding.severity == OK
    assert str(finding).startswith(f"杀毒软件：360 杀毒（{words}）。")


def test_what_was_removed_badly_is_listed_once() -> None:
    finding = check_antivirus([("Surfshark", 0x60000), ("Defender", 0x61100), ("Surfshark", 0x61000)])
    assert "Antivirus: Surfshark (on), Defender (on)." in finding.both()[1]


def test_none_is_told_and_not_judged() -> None:
    finding = check_antivirus([])
    assert (finding.severity, str(finding)) == (NOTE, "Windows 安全中心没有登记杀毒软件")
