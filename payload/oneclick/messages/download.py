"""Sentences about downloads: failures, reasons of single sources, events, the window of 下载模型.bat."""

from __future__ import annotations

from oneclick.messages import Table

TABLE: Table = {
    # Failures of a whole download.
    "all_failed": (
        (
            "下载 {name} 失败：所有下载源都没有成功。\n"
            "已下载的部分会保留，检查网络后再运行会接着下载。\n"
            "各个下载源的情况：\n{sources_zh}"
        ),
        (
            "{name} could not be downloaded: every source failed.\n"
            "What has arrived is kept; check the network and run again to continue.\n"
            "What each source did:\n{sources_en}"
        ),
    ),
    "digest_differs": (
        (
            "下载到的 {name} 内容不对（校验值不符），不会使用它。\n"
            "文件已另存为 {kept}。\n"
            "  应为 {expected}\n"
            "  实为 {got}\n"
            "各个下载源的情况：\n{sources_zh}"
        ),
        (
            "The downloaded {name} is not the right file (its sha256 differs) and is not used.\n"
            "It is kept as {kept}.\n"
            "  expected {expected}\n"
            "  got      {got}\n"
            "What each source did:\n{sources_en}"
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
    # The catalogue and 下载模型.bat.
    "unknown_model": (
        "没有名为 {name} 的模型。最接近的是 {near}。可以选：{known}。",
        "There is no model called {name}. The nearest is {near}. There are: {known}.",
    ),
    "bad_source": (
        "模型 {model} 的下载源 {source} 写得不对，已跳过。",
        "The source {source} of the model {model} is not valid; it is left out.",
    ),
    "no_sources": ("模型 {name} 没有可用的下载源。", "The model {name} has no source to download from."),
    "title": (
        "下载模型（可以随时关闭窗口，下次接着下载）",
        "Download a model (close the window any time; it resumes)",
    ),
    "list_line": (
        "  {number}. {mark}{id:<9} {size:>8}   需要内存 {memory}   {fit}\n     {title}",
        "  {number}. {mark}{id:<9} {size:>8}   memory {memory}   {fit}\n     {title}",
    ),
    "fits": ("这台电脑可以用", "fits this PC"),
    "fits_short": ("可以用，但对话长度只有 {context}", "fits with a context of {context}"),
    "fits_not": ("这台电脑内存不够", "too large for this PC's memory"),
    "pc_memory": (
        "这台电脑的内存：{total}，现在可用 {available}",
        "This PC's memory: {total}, {available} available",
    ),
    "present": ("（已下载）", "(here) "),
    "ask": ("请输入编号后按回车（直接回车选 {default}）：", "Type a number and press Enter (just Enter: {default}): "),
    "by_hand": (
        ("也可以用浏览器或别的下载工具下载下面任意一个地址，把文件放进本文件夹，文件名不用改：\n{links}"),
        "You can also fetch one of these with a browser and put the file into this folder, whatever its name:\n{links}",
    ),
    "netdisk": ("网盘下载：{address}　提取码：{code}", "Net disk: {address}  code: {code}"),
    "netdisk_no_code": ("网盘下载：{address}", "Net disk: {address}"),
    "page": ("下载页：{address}", "Download page: {address}"),
    "here_already": (
        "{name} 已经在这里，校验正确，不用再下载。",
        "{name} is already here and right.",
    ),
    "checking_file": ("正在校验 {name}……", "Checking {name}..."),
    "adopted": (
        "在本文件夹找到了下载好的 {found}，校验正确，已改名为 {name}。",
        "Found {found} in this folder; it is right and is now called {name}.",
    ),
    "found_elsewhere": (
        (
            "在“下载”文件夹里有一个大小相同的文件：\n  {path}\n"
            "如果这是您下载好的模型，请关闭本窗口，把它移到本文件夹再运行，就不用重新下载。"
        ),
        (
            "The Downloads folder has a file of the same size:\n  {path}\n"
            "If it is the model you fetched, close this window, move it here and run again."
        ),
    ),
    "unfinished": (
        "{name} 是浏览器或下载工具还没下载完的文件，等它完成后再放进来。",
        "{name} is an unfinished download of a browser or another tool; it can be used once that is done.",
    ),
    "set_aside": (
        "现有的 {name} 不是要下载的模型，已改名为 {kept} 保留。原因：{reason}",
        "The {name} that is here is not this model and is kept as {kept}. Reason: {reason}",
    ),
    "another_model": ("内容不同", "its content differs"),
    "probing": ("正在测试各个下载源的速度……", "Testing the sources..."),
    "bar_downloading": ("下载", "Downloading"),
    "bar_checking": ("校验", "Checking"),
    "bar_figures_at_first": ("{done} / {total}  {source}", "{done} / {total}  {source}"),
    "bar_figures": (
        "{done} / {total}  {rate}/s  剩余 {left}  {source}",
        "{done} / {total}  {rate}/s  {left}  {source}",
    ),
    "line_progress": (
        "{what} {percent:3d}%  {done} / {total}  {rate}/s  剩余 {left}  {source}",
        "{what} {percent:3d}%  {done} / {total}  {rate}/s  {left} left  {source}",
    ),
    "finished": (
        "\n{name} 下载完成，校验正确（来源：{source}）。\n现在可以双击“一键运行.bat”了。",
        "\n{name} is complete and right (from {source}).\nNow double-click 一键运行.bat.",
    ),
    "chosen": ("已在 设置.toml 里选用 {id}。", "设置.toml now uses {id}."),
    "usage": (
        "用法：下载模型.bat [名字] [--list]",
        "Usage: 下载模型.bat [NAME] [--list]",
    ),
    # What one source did.
    "no_connection": ("{wait:g} 秒内连不上 {host}", "no connection to {host} within {wait:g} s"),
    "refused_connection": ("连接 {host} 被拒绝或中断", "{host} refused or dropped the connection"),
    "no_name": (
        "找不到服务器 {host}（网络没有连接，或 DNS 有问题）",
        "{host} cannot be found (no network, or its DNS fails)",
    ),
    "no_listing": ("没有列出这个文件", "it does not list the file"),
    "no_address": ("没有查到下载地址（{detail}）", "its address could not be looked up ({detail})"),
    "bad_redirect": (
        "它转到了 {url}，那里不安全或在本机、局域网里，没有跟过去",
        "it leads to {url}, which is not safe or lies in this network; that was not followed",
    ),
    "redirects": ("它转来转去没有尽头", "it leads from one address to the next without end"),
    "bad_address": ("网址不正确：{url}", "not a valid address: {url}"),
    "without_proxy": ("{name}（不经代理）", "{name} (without the proxy)"),
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
