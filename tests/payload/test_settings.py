from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.stage.render import render_text
from oneclick import settings
from oneclick.messages import set_language
from oneclick.settings import CHECKS, Settings, decode, parse_settings, read_settings
from oneclick.settings_file import set_value, with_value


@pytest.fixture(autouse=True)
def chinese() -> None:
    set_language("zh")


def shipped() -> str:
    return render_text("settings.toml.j2")


def test_a_missing_file_means_defaults(tmp_path: Path) -> None:
    assert read_settings(tmp_path / "设置.toml") == Settings()


def test_the_shipped_file_changes_nothing_and_explains_every_key() -> None:
    assert parse_settings(shipped()) == Settings()
    assert parse_settings(shipped()).problems == ()
    for key in CHECKS:
        assert f"\n# {key} = " in shipped(), key


def test_the_examples_in_the_shipped_file_are_valid() -> None:
    lines = shipped().splitlines()
    keys = tuple(f"# {key} =" for key in CHECKS)
    examples = "\n".join(line[2:] for line in lines if line.startswith(keys))
    read = parse_settings(examples)
    assert read.problems == ()
    assert read.mirrors == ("https://example.com/chatglm3-ggml.bin",)


def test_values_are_read() -> None:
    read = parse_settings(
        "port = 9000\nhost = 'localhost'\nmodel = 'D:\\模型\\a.bin'\ncontext = 2048\nthreads = 'auto'\n"
        "browser = false\nlanguage = 'en'\nmirrors = [\n 'https://a.example/m.bin',\n]\napi_key = 'k'\n"
    )
    assert read.problems == ()
    assert (read.port, read.port_is_fixed, read.host) == (9000, True, "127.0.0.1")
    assert (read.model, read.context, read.threads, read.browser) == ("D:\\模型\\a.bin", 2048, "auto", False)
    assert (read.language, read.mirrors, read.api_key) == ("en", ("https://a.example/m.bin",), "k")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# x\nprot = 1", "第 2 行：没有“prot”这一项，已忽略。是不是想写 port"),
        ("Browser = true", "是不是想写 browser"),
        ("zzzzz = 1", "可用的有：port"),
        ("port = 70000", "第 1 行：port 要写 1 到 65535 之间的整数，现在是 70000，改用默认值 8000"),
        ("port = true", "port 要写 1 到 65535"),
        ("context = 100", "context 要写 256 到 8192"),
        ("threads = 'many'", "threads 要写 1 到 256"),
        ("browser = 'maybe'", "browser 要写 true"),
        ("language = 'fr'", "language 只能是 auto, zh, en 之一"),
        ("mirrors = ['not an address']", "mirrors 要写成网址列表"),
        ("api_key = 5", "api_key 要写成带英文引号的文字"),
        ("\n\nport ＝ 9000", "第 3 行：用了中文标点 ＝"),
        ("model = “a.bin”", "用了中文标点"),
        ('model = "D:\\models\\a.bin"', "路径请用英文单引号括起来，例如 model = 'D:\\models\\a.bin'"),
        ("model = a.bin", "文字要用英文引号括起来，例如 model = 'a.bin'"),
        ("port = 1\nport = 2", "第 2 行：port 写了两次"),
        ("port", "第 1 行写法不对"),
        ("[server]\nport = 9000", "没有“server”这一项"),
    ],
)
def test_a_wrong_line_is_named_with_its_number_and_a_way_out(text: str, words: str) -> None:
    problems = parse_settings(text).problems
    assert words in "\n".join(map(str, problems))


def test_a_wrong_line_costs_that_line_only() -> None:
    read = parse_settings('port = 9000\nmodel = "D:\\models"\ncontext = 1024\nbrowser = perhaps\n')
    assert (read.port, read.context, read.browser, read.model) == (9000, 1024, True, "")
    assert [problem.line for problem in read.problems] == [2, 4]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_what_windows_editors_save_is_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "设置.toml"
    path.write_bytes("# 中文说明\r\nmodel = '模型.bin'\r\n".encode(encoding))
    assert read_settings(path).model == "模型.bin"


def test_setting_a_value_keeps_every_comment_and_line_end(tmp_path: Path) -> None:
    path = tmp_path / "设置.toml"
    text = shipped().replace("\n", "\r\n")
    path.write_bytes(text.encode())
    set_value(path, "model", "chatglm3-q8_0.bin")
    set_value(path, "port", 9000)
    changed = decode(path.read_bytes())
    assert parse_settings(changed).model == "chatglm3-q8_0.bin"
    assert parse_settings(changed).port == 9000
    lines = [line for line in changed.splitlines() if not line.startswith(("model", "port"))]
    assert lines == text.splitlines()
    assert changed.count("\r\n") == changed.count("\n")
    assert [file.name for file in tmp_path.iterdir()] == ["设置.toml"]


def test_setting_a_value_twice_changes_one_line() -> None:
    once = with_value("# a\nport = 8000 # mine\nbrowser = true\n", "port", 9000)
    assert once == "# a\nport = 9000\nbrowser = true\n"
    assert with_value(once, "port", 9000) == once


def test_setting_replaces_a_list_of_several_lines() -> None:
    text = "mirrors = [\n  'https://a.example/x',\n]\nport = 1\n"
    assert with_value(text, "mirrors", []) == "mirrors = []\nport = 1\n"


def test_setting_makes_the_file_when_there_is_none(tmp_path: Path) -> None:
    set_value(tmp_path / "设置.toml", "browser", False)
    assert read_settings(tmp_path / "设置.toml").browser is False


def test_an_unknown_key_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        set_value(tmp_path / "设置.toml", "prot", 1)
    assert list(tmp_path.iterdir()) == []


@given(st.text())
def test_any_text_set_is_the_text_read(value: str) -> None:
    text = value.replace("\ud800", "").strip()
    if any(0xD800 <= ord(char) < 0xE000 for char in text):
        return
    read = parse_settings(with_value(shipped(), "api_key", text))
    assert read.api_key == text
    assert read.problems == ()


@given(st.text())
def test_no_text_keeps_anyone_from_starting(text: str) -> None:
    assert isinstance(parse_settings(text), Settings)


@given(st.binary())
def test_no_bytes_keep_anyone_from_starting(raw: bytes) -> None:
    assert isinstance(parse_settings(decode(raw)), settings.Settings)


def test_origins_of_any_scheme_count_one_by_one() -> None:
    text = "allowed_origins = ['https://a.example/', 'chrome-extension://*', 'nonsense', 'https://*', 'obsidian://x']"
    found = settings.parse_settings(text)
    assert found.allowed_origins == ("https://a.example", "chrome-extension://*", "obsidian://x")
    assert len(found.problems) == 1 and "nonsense" in str(found.problems[0])


@pytest.mark.parametrize(
    "line",
    [
        *(
            "api_key = {0}",
            "api_key = '{0}",
            'api_key = "{0}',
            "api_key = [ '{0}' ]",
            "api_key ＝ '{0}'",
            "API_KEY = {0}",
        ),
        *("api_key = 12345678901234", 'api_key = "C:\\x{0}"', "api_key: {0}", "'api_key' = {0} # {0}"),
    ],
)
def test_the_key_is_never_shown_however_it_was_written(line: str) -> None:
    secret = "s3cr3t-Geheim"
    found = settings.parse_settings(line.format(secret) + "\nport = 'x'\n")
    told = "\n".join(str(problem) for problem in found.problems)
    assert "port" in told
    assert secret not in told and "12345678901234" not in told
