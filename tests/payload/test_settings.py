from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.stage.render import render_text
from oneclick import settings
from oneclick.errors import OneClickError
from oneclick.messages import set_language
from oneclick.settings import CHECKS, Settings, decode, parse_settings, read_settings
from oneclick.settings_file import add_to_list, set_value, with_added, with_value


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


# What the page's card writes: one more entry in a list

HOSTS_WRITTEN = {
    "# 中文": "# 中文\n+",
    "port = 9000\n": "port = 9000\n+",
    "port = 9000\r\n": "port = 9000\r\nallowed_hosts = ['my-pc']\r\n",
    "allowed_hosts = []": "allowed_hosts = ['my-pc']",
    "allowed_hosts = ['a']  # mine": "allowed_hosts = ['my-pc', 'a']  # mine",
    'allowed_hosts = "a" # mine\r\nport = 1\r\n': "allowed_hosts = ['my-pc', \"a\"] # mine\r\nport = 1\r\n",
    "allowed_hosts = [ # none yet\n]\nport = 1\n": "allowed_hosts = ['my-pc' # none yet\n]\nport = 1\n",
    "allowed_hosts = [\n  # the NAS\n  'nas', # here: ]\n  '[fe80::1]',\n]\n# end": (
        "allowed_hosts = ['my-pc', \n  # the NAS\n  'nas', # here: ]\n  '[fe80::1]',\n]\n# end"
    ),
    "'allowed_hosts' = ['a']": "'allowed_hosts' = ['my-pc', 'a']",
    "allowed_hosts = a  # forgot the quotes\nport = 9000\n": (
        "allowed_hosts = a  # forgot the quotes\nport = 9000\nallowed_hosts = ['my-pc']\n"
    ),
    "allowed_hosts = ['a']\nallowed_hosts = ['b']\n": "allowed_hosts = ['a']\nallowed_hosts = ['my-pc', 'b']\n",
    "# allowed_hosts = ['host.docker.internal']\n# api_key = ''": (
        "# allowed_hosts = ['host.docker.internal']\nallowed_hosts = ['my-pc']\n# api_key = ''"
    ),
    "port = 9000\n[more]\n# allowed_hosts = []\nx = 1\n": (
        "port = 9000\nallowed_hosts = ['my-pc']\n[more]\n# allowed_hosts = []\nx = 1\n"
    ),
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
@pytest.mark.parametrize(("before", "wanted"), HOSTS_WRITTEN.items())
def test_adding_to_a_list_changes_nothing_else(tmp_path: Path, before: str, wanted: str, encoding: str) -> None:
    path = tmp_path / "设置.toml"
    path.write_bytes(before.encode(encoding))
    add_to_list(path, "allowed_hosts", "my-pc")
    raw = path.read_bytes()
    assert raw.decode(encoding) == wanted.replace("+", "allowed_hosts = ['my-pc']\n")
    assert raw.startswith(before.encode(encoding)[:2])  # its byte order mark, or none
    assert "my-pc" in read_settings(path).allowed_hosts


@pytest.mark.parametrize("key", ["allowed_origins", "allowed_hosts"])
def test_the_shipped_file_gets_the_line_below_its_explanation(tmp_path: Path, key: str) -> None:
    path = tmp_path / "设置.toml"
    text = shipped().replace("\n", "\r\n")
    path.write_bytes(text.encode())
    value = "chrome-extension://abc" if key == "allowed_origins" else "my-pc"
    add_to_list(path, key, value)
    lines = path.read_bytes().decode().split("\r\n")
    at = lines.index(f"{key} = ['{value}']")
    assert lines[at - 1].startswith(f"# {key} = ")
    assert "\r\n".join([*lines[:at], *lines[at + 1 :]]) == text


ENTRY = st.from_regex(r"[a-z][a-z0-9-]{0,8}(\.[a-z]{1,5})?", fullmatch=True)
COMMENT = st.from_regex(r"# ?[ \]\['\",=a-z设置]{0,12}", fullmatch=True)
OTHER_LINE = st.one_of(
    COMMENT,
    st.just(""),
    st.integers(1, 60000).map(lambda number: f"port = {number}"),
    st.sampled_from(
        ["model = 'D:\\模型\\a.bin'", "browser = maybe", "api_key = 'x]'", "mirrors = [\n'https://a.example'\n]"]
    ),
)


@st.composite
def list_text(draw: st.DrawFn) -> str:
    """A list the way people write it: in one line or several, with and without comments and a last comma."""
    entries = draw(st.lists(ENTRY, max_size=4))
    quoted = [draw(st.sampled_from(["'{}'", '"{}"'])).format(one) for one in entries]
    if draw(st.booleans()):
        return f"allowed_hosts = [{', '.join(quoted)}] {draw(st.one_of(st.just(''), COMMENT))}"
    lines = [f"  {one}, {draw(st.one_of(st.just(''), COMMENT))}" for one in quoted]
    return "\n".join([f"allowed_hosts =[ {draw(st.one_of(st.just(''), COMMENT))}", *lines, "]"])


@given(
    before=st.lists(OTHER_LINE, max_size=4, unique=True),
    own=st.one_of(st.none(), list_text()),
    after=st.lists(OTHER_LINE, max_size=4, unique=True),
    newline=st.sampled_from(["\n", "\r\n"]),
    value=ENTRY,
)
def test_any_list_grows_by_one_entry_and_every_other_character_stays(
    before: list[str], own: str | None, after: list[str], newline: str, value: str
) -> None:
    text = newline.join([*before, *([own] if own else []), *after]).replace("\r\n", "\n").replace("\n", newline)
    changed = with_added(text, "allowed_hosts", value)
    place = next(at for at in range(len(changed) + 1) if changed[:at] != text[:at] or at == len(changed))
    grown = len(changed) - len(text)
    cuts = [at for at in range(max(0, place - grown), place + 1) if changed[:at] + changed[at + grown :] == text]
    assert cuts, "something else changed"
    assert f"'{value}'" in changed[cuts[0] : cuts[-1] + grown]


def test_a_read_only_file_is_left_alone_and_said_so(tmp_path: Path) -> None:
    path = tmp_path / "设置.toml"
    path.write_text("port = 9000\n", encoding="utf-8")
    path.chmod(0o444)
    with pytest.raises(OneClickError, match="只读"):
        add_to_list(path, "allowed_hosts", "my-pc")
    assert path.read_bytes() == b"port = 9000\n"


@pytest.mark.parametrize(
    "raw", [b"allowed_hosts = [\nport = 1\n", "# \ud800".encode("utf-16-be", "surrogatepass"), b"# \xff"]
)
def test_a_file_that_cannot_be_changed_for_certain_is_left_alone(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "设置.toml"
    path.write_bytes(raw)
    with pytest.raises(OneClickError, match="特殊"):
        add_to_list(path, "allowed_hosts", "my-pc")
    assert path.read_bytes() == raw


def test_wrong_host_names_cost_themselves_only() -> None:
    found = parse_settings(
        "allowed_hosts = ['host.docker.internal', 'http://x', 'nas:8000', '*', 'my_pc', '[fe80::1]']"
    )
    assert found.allowed_hosts == ("host.docker.internal", "my_pc", "[fe80::1]")
    assert "http://x" in str(found.problems[0]) and "不带 http:// 和端口" in str(found.problems[0])
