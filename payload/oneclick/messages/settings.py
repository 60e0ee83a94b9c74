"""What is said about ``设置.toml``."""

from __future__ import annotations

from oneclick.messages import Table

TABLE: Table = {
    "unreadable": (
        "设置.toml 读不出来（{reason}）,这次全部使用默认设置。",
        "设置.toml cannot be read ({reason}); defaults are used this time.",
    ),
    "unknown_key": (
        "设置.toml 第 {line} 行：没有“{name}”这一项，已忽略。可用的有：{known}",
        "设置.toml line {line}: there is no setting {name}, it is ignored. Known: {known}",
    ),
    "unknown_key_near": (
        "设置.toml 第 {line} 行：没有“{name}”这一项，已忽略。是不是想写 {near}？",
        "设置.toml line {line}: there is no setting {name}, it is ignored. Did you mean {near}?",
    ),
    "twice": (
        "设置.toml 第 {line} 行：{name} 写了两次，以后面的为准。",
        "设置.toml line {line}: {name} is set twice, the later one counts.",
    ),
    "want_number": (
        "设置.toml 第 {line} 行：{name} 要写 {low} 到 {high} 之间的整数，现在是 {value}，改用默认值 {default}。",
        "设置.toml line {line}: {name} must be a whole number from {low} to {high}, not {value}; using {default}.",
    ),
    "want_threads": (
        (
            "设置.toml 第 {line} 行：{name} 要写 1 到 {high} 的整数、'physical' 或 'auto'，"
            "现在是 {value}，改用 {default}。"
        ),
        (
            '设置.toml line {line}: {name} must be a number from 1 to {high}, "physical" or "auto", not {value}; '
            "using {default}."
        ),
    ),
    "want_yes_no": (
        "设置.toml 第 {line} 行：{name} 要写 true（是）或 false（否），现在是 {value}，改用默认值 {default}。",
        "设置.toml line {line}: {name} must be true or false, not {value}; using {default}.",
    ),
    "want_text": (
        "设置.toml 第 {line} 行：{name} 要写成带英文引号的文字，现在是 {value}，改用默认值。",
        "设置.toml line {line}: {name} must be text in quotes, not {value}; using the default.",
    ),
    "want_host": (
        "设置.toml 第 {line} 行：{name} 要写本机地址，例如 '127.0.0.1'，不带 http:// 和端口；改用 {default}。",
        (
            "设置.toml line {line}: {name} must be an address of this PC such as '127.0.0.1' or '0.0.0.0', without "
            "http:// and port; using {default}."
        ),
    ),
    "want_one_of": (
        "设置.toml 第 {line} 行：{name} 只能是 {choices} 之一，现在是 {value}，改用默认值 {default}。",
        "设置.toml line {line}: {name} must be one of {choices}, not {value}; using {default}.",
    ),
    "want_addresses": (
        '设置.toml 第 {line} 行：{name} 要写成网址列表，例如 ["https://example.com"]，现在是 {value}，已忽略。',
        (
            '设置.toml line {line}: {name} must be a list of addresses such as ["https://example.com"], not {value}; '
            "it is ignored."
        ),
    ),
    "want_origins": (
        (
            "设置.toml 第 {line} 行：{name} 里的 {value} 不是网页来源，已忽略（其余的有效）。"
            "例子：['https://example.com', 'chrome-extension://*']。"
        ),
        (
            "设置.toml line {line}: {value} in {name} is no origin and is ignored, the others count. "
            "Write them like ['https://example.com', 'chrome-extension://*']."
        ),
    ),
    "want_hosts": (
        (
            "设置.toml 第 {line} 行：{name} 里的 {value} 不是主机名，已忽略（其余的有效）。"
            "不带 http:// 和端口，例如 ['host.docker.internal']。"
        ),
        (
            "设置.toml line {line}: {value} in {name} is no host name and is ignored, the others count. "
            "Write them without http:// and port, like ['host.docker.internal']."
        ),
    ),
    "read_only": ("文件是只读的", "the file is read-only"),
    "unknown_shape": ("文件的写法或编码特殊", "the file is written in an unusual way or encoding"),
    "full_width": (
        "设置.toml 第 {line} 行：用了中文标点 {wrong}，请换成英文标点。这一行已忽略。",
        "设置.toml line {line}: Chinese punctuation {wrong} is used, please type the English one. Line ignored.",
    ),
    "backslash": (
        "设置.toml 第 {line} 行：路径请用英文单引号括起来，例如 {better} 。这一行已忽略。",
        "设置.toml line {line}: put the path in single quotes, for example {better} . Line ignored.",
    ),
    "quotes": (
        "设置.toml 第 {line} 行：文字要用英文引号括起来，例如 {better} 。这一行已忽略。",
        "设置.toml line {line}: text needs quotes, for example {better} . Line ignored.",
    ),
    "syntax": (
        "设置.toml 第 {line} 行写法不对，已忽略（{reason}）。",
        "设置.toml line {line} is not valid and is ignored ({reason}).",
    ),
}
