from __future__ import annotations

from oneclick.pc.privacy import without_personal_data

PC = {"USERPROFILE": r"C:\Users\张三", "USERNAME": "zhangsan", "COMPUTERNAME": "DESKTOP-9X"}


def test_home_name_and_computer_are_left_out() -> None:
    text = r"C:\Users\张三\Desktop\x of zhangsan on desktop-9x"
    assert without_personal_data(text, PC) == r"%USERPROFILE%\Desktop\x of %USERNAME% on %COMPUTERNAME%"


def test_passwords_in_proxy_addresses_are_left_out() -> None:
    assert without_personal_data("http://me:secret@proxy:80", {}) == "http://***@proxy:80"


def test_a_name_inside_another_word_stays() -> None:
    assert without_personal_data("available", {"USERNAME": "ava"}) == "available"
    assert without_personal_data("x", {"USERNAME": "x"}) == "x"


def test_what_follows_a_question_mark_in_an_address_is_left_out() -> None:
    text = without_personal_data(
        "mirror https://u:p@x.example/m.bin?token=abc&x=1 and http://127.0.0.1:8000/#token=abc", {}
    )
    assert "abc" not in text and "u:p" not in text and "https://***@x.example/m.bin?***" in text
