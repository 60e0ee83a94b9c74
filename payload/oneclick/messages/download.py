"""Sentences about downloads: failures, reasons of single sources, events, the window of 下载模型.bat."""

from __future__ import annotations

from oneclick.messages import Table

TABLE: Table = {
    # Failures of a whole download.
    "all_failed": (
        (
            "下载 {name} 失败：所有下载源都没有成功。\n"
            "已下载的部分会保留，检查网络后再运行会接着下载。\n"
            "各个下载源的情况："
        ),
        (
            "{name} could not be downloaded: every source failed.\n"
            "What has arrived is kept; check the network and run again to continue.\n"
            "What each source did:"
        ),
    ),
    "digest_differs": (
        (
            "下载到的 {name} 内容不对（校验值不符），不会使用它。\n"
            "文件已另存为 {kept}。\n"
            "  应为 {expected}\n"
            "  实为 {got}\n"
            "各个下载源的情况："
        ),
        (
            "The downloaded {name} is not the right file (its sha256 differs) and is not used.\n"
            "It is kept as {kept}.\n"
            "  expected {expected}\n"
            "  got      {got}\n"
            "What each source did:"
        ),
    ),
    "disk_full": (
        ("磁盘空间不够：{folder} 所在的盘还差 {missing}。\n请腾出空间后再运行一次，已下载的部分会保留。"),
        (
            "The disk is full: the drive of {folder} lacks {missing}.\n"
            "Free some space and run again; what has arrived is kept."
        ),
    ),
    "not_writable": (
        ("无法写入 {path}（{reason}）。\n请把整个文件夹移到桌面或 D 盘等可以写入的位置，再运行一次。"),
        (
            "{path} cannot be written ({reason}).\n"
            "Move the whole folder to a place you may write to, such as the desktop, and run again."
        ),
    ),
    "too_big": (
        (
            "{name} 有 {size}，这个盘是 {file_system} 格式，单个文件不能超过 4 GiB。\n"
            "请把文件夹移到 NTFS 或 exFAT 格式的盘。"
        ),
        (
            "{name} has {size}; this drive is formatted as {file_system}, which cannot hold files above 4 "
            "GiB.\n"
            "Move the whole folder to a drive formatted as NTFS or exFAT."
        ),
    ),
    "another_instance": (
        ("另一个窗口正在下载 {name}（进程 {pid}）。\n请等它完成，或者先关闭那个窗口。"),
        ("Another window is downloading {name} (process {pid}).\nWait for it, or close that window first."),
    ),
    "cannot_rename": (
        (
            "{target} 已经下载完整，但文件正被别的程序占用（{reason}），暂时改不了名字。\n"
            "请关闭杀毒软件的扫描或打开它的程序后再运行一次，不会重新下载。现在的文件名是 {kept}。"
        ),
        (
            "{target} is complete, but another program holds the file ({reason}), so it cannot get its "
            "name.\n"
            "Close that program (often a virus scanner) and run again; nothing is downloaded twice. It is "
            "now {kept}."
        ),
    ),
    "cancelled": (
        "已暂停下载 {name}，下次会接着下载。",
        "The download of {name} is paused; it continues next time.",
    ),
    # What one source did.
    "no_connection": ("{wait:g} 秒内连不上 {host}", "no connection to {host} within {wait:g} s"),
    "refused_connection": ("连接 {host} 被拒绝或中断", "{host} refused or dropped the connection"),
    "no_name": (
        "找不到服务器 {host}（网络没有连接，或 DNS 有问题）",
        "{host} cannot be found (no network, or its DNS fails)",
    ),
    "no_address": ("没有查到下载地址（{detail}）", "its address could not be looked up ({detail})"),
    "bad_address": ("网址不正确：{url}", "not a valid address: {url}"),
    "proxy": ("系统设置的代理连不上", "the system's proxy does not answer"),
    "tls": (
        "无法确认服务器的证书（可能是公司网络或杀毒软件拦截了加密连接）",
        "its certificate is not trusted (a company network or virus scanner may be intercepting)",
    ),
    "clock": (
        "证书的日期不对：这台电脑的时间是 {today}，请检查日期和时间",
        "its certificate's dates do not fit: this PC says it is {today}, please check its date and time",
    ),
    "stalled": ("很久没有收到数据", "no data came for a long time"),
    "cut": ("连接中断", "the connection broke"),
    "short": ("没有传完就断开了", "it stopped before the end"),
    "empty": ("返回了空文件", "it sent an empty file"),
    "wrong_size": ("文件大小不对：{got} 字节，应为 {expected}", "its file has {got} bytes instead of {expected}"),
    "too_long": ("文件比应有的更长", "its file is longer than it should be"),
    "html": ("返回的是网页而不是文件（可能需要登录网络）", "it sent a web page instead of the file (a network login?)"),
    "wrong_header": ("文件开头不对，不是这个文件", "the beginning of its file is that of another file"),
    "wrong_range": ("返回了错误的位置（要 {asked}，得 {got}）", "it sent another range (asked for {asked}, got {got})"),
    "no_content_range": ("没有说明返回的是哪一段", "it does not say which range it sent"),
    "range_refused": ("不接受分段下载的请求", "it refused the range"),
    "no_ranges": ("不支持断点续传", "it cannot resume"),
    "too_many": ("请求过多，暂时拒绝（HTTP {status}）", "it asks for fewer requests (HTTP {status})"),
    "status": ("服务器返回 HTTP {status}", "it answered HTTP {status}"),
    "slow": ("太慢（{rate} KB/s）", "too slow ({rate} kB/s)"),
    "wrong_digest": ("校验值不符：{got}", "its sha256 differs: {got}"),
    "wrong_block": ("有一块数据的校验值不符", "a block of its data has the wrong sha256"),
    "other_digest_announced": (
        "它提供的是另一个文件（校验值 {got}）",
        "it holds another file (sha256 {got})",
    ),
    # Events.
    "next_source": ("{value}：{reason}。改用 {source}。", "{value}: {reason}. Going on with {source}."),
    "fewer_connections": ("{source}：{reason}。改为单线程下载。", "{source}: {reason}. Going on with one connection."),
    "damaged_on_disk": ("磁盘上有一小段数据损坏，正在重新下载。", "A piece on the disk is damaged; fetching it again."),
    "compare_with": (
        "来自 {value} 的文件校验值不符，正在与 {source} 逐块比对。",
        "The file from {value} has the wrong sha256; comparing it with {source} block by block.",
    ),
    "waiting": ("所有下载源都连不上，{value} 秒后重试。", "No source can be reached; trying again in {value} s."),
}
