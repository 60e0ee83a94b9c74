"""What the window says from double-click to ready, and what ends it."""

from __future__ import annotations

from oneclick.messages import Table

TABLE: Table = {
    "title": ("ChatGLM3 一键运行", "ChatGLM3 one-click"),
    "hello": (
        "{name} {version}　关闭本窗口即可停止，不会留下任何东西。",
        "{name} {version} - close this window to stop it; nothing stays behind.",
    ),
    "step": ("[{number}/{total}] {what}", "[{number}/{total}] {what}"),
    # 1. the port
    "port_ours": ("端口　{url}", "Port      {url}"),
    "ipv6_taken": (
        "另一个程序占用了 [::1]:{port}：写 localhost 的程序可能会连到它那里。请一律填写 {url}",
        "Another program has [::1]:{port}; what is sent to localhost may reach it. Write {url} everywhere.",
    ),
    "port_other": (
        "端口　{url}\n      注意：{wanted} 已被占用（{owner}），改用了 {port}。Chatbox 里也要改成这个地址。",
        "Port      {url}\n      Note: {wanted} is taken ({owner}), using {port}. Change the address in Chatbox, too.",
    ),
    "owner_unknown": ("另一个程序", "another program"),
    "owner_reserved": ("Windows 保留", "kept by Windows"),
    "already_running": (
        "已经在运行了：{url}\n已为您打开聊天网页，这个窗口可以关闭。",
        "It is already running: {url}\nIts page has been opened; this window may be closed.",
    ),
    "port_taken": (
        "端口 {port} 已被另一个程序占用。\n请关闭那个程序，或在 设置.toml 里换一个 port。",
        "Port {port} is taken by another program.\nClose that program, or set another port in 设置.toml.",
    ),
    "port_taken_by": (
        "端口 {port} 已被 {owner}（进程号 {pid}）占用。\n请关闭它，或在 设置.toml 里换一个 port。",
        "Port {port} is taken by {owner} (process {pid}).\nClose it, or set another port in 设置.toml.",
    ),
    "port_reserved": (
        (
            "端口 {port} 被 Windows 保留（常见于装了 Hyper-V、WSL 或 Docker 的电脑），谁都不能用。\n"
            "请在 设置.toml 里换一个 port，例如 9000。"
        ),
        (
            "Port {port} is kept by Windows (usual with Hyper-V, WSL or Docker); no program may use it.\n"
            "Set another port in 设置.toml, such as 9000."
        ),
    ),
    "address_unusable": (
        "不能使用地址 {host}：{reason}\n请检查 设置.toml 里的 host，一般写 '127.0.0.1'。",
        "The address {host} cannot be used: {reason}\nCheck host in 设置.toml; '127.0.0.1' is the usual one.",
    ),
    "key_needed": (
        "host 设成 {host} 后，别的电脑也能连上来，所以必须在 设置.toml 里设置 api_key。",
        "With host {host} other computers can connect, so api_key must be set in 设置.toml.",
    ),
    # 2. the PC
    "pc": (
        "电脑　{system}，{cpu}（{cores} 核），内存 {memory}，可用 {available}",
        "PC        {system}, {cpu} ({cores} cores), memory {memory}, {available} available",
    ),
    "bundle_incomplete": (
        "缺少 {name}：压缩包没有完整解压，或文件被杀毒软件删除。\n请重新解压整个压缩包，再从解压出来的文件夹里启动。",
        (
            "{name} is missing: the archive was extracted in part, or an antivirus program removed the file.\n"
            "Extract the whole archive again and start from the extracted folder."
        ),
    ),
    "bundle_damaged": (
        "{name} 已损坏（{reason}）。\n请重新解压整个压缩包。",
        "{name} is damaged ({reason}).\nExtract the whole archive again.",
    ),
    "note": ("      注意：{what}", "      Note: {what}"),
    # 3. the model
    "model": (
        "模型　{name}：{architecture} {dtype}，{size}，{verdict}",
        "Model     {name}: {architecture} {dtype}, {size}, {verdict}",
    ),
    "digest_right": ("校验通过", "checksum right"),
    "digest_unknown": ("不在已知列表里，可以使用", "not on the known list, usable"),
    "digest_differs": (
        "校验值和官方文件不同：如果不是您自己微调的模型，回答又乱码，请删除它并重新下载",
        (
            "its checksum is not the official one: unless you made it yourself, delete it and download again when "
            "answers are garbage"
        ),
    ),
    "verifying": ("校验模型（只在第一次）", "Checking the model (first time only)"),
    "model_refused": ("没有使用 {name}：{reason}", "{name} is not used: {reason}"),
    "no_model": (
        (
            "模型　本文件夹里还没有模型（{name}）。任选一种办法，本窗口会自动继续：\n"
            "      · 在打开的网页里点“下载”，或双击“下载模型.bat”\n"
            "      · 把下载好的 {name} 放进本文件夹：{folder}"
        ),
        (
            "Model     There is no model ({name}) in this folder yet. Do one of these; this window goes on by itself:\n"
            "      - click Download in the page that opened, or double-click 下载模型.bat\n"
            "      - put {name} into this folder: {folder}"
        ),
    ),
    "model_missing": ("本文件夹里还没有模型 {name}。", "There is no model {name} in the folder yet."),
    "copying": ("{name} 正在复制进来", "{name} is being copied"),
    # 4. loading
    "engine": ("引擎　{level}，{threads} 个线程", "Engine    {level}, {threads} threads"),
    "engine_blocked": (
        "Windows 不让启动引擎进程（{reason}）。\n多半是杀毒软件拦截，请在杀毒软件里允许本文件夹，再重新双击。",
        (
            "Windows refuses to start the engine's process ({reason}).\n"
            "Most likely an antivirus program blocks it: allow this folder there and start again."
        ),
    ),
    "measuring_threads": (
        "      正在测试用几个线程最快（只在第一次）……",
        "      Finding the fastest number of threads (once)...",
    ),
    "lower_level": ("处理器不支持这个引擎，改用兼容版（{level}）。", "The processor cannot run it; trying {level}."),
    "loading": ("加载模型", "Loading the model"),
    "downloading": ("下载模型 {done} / {total}，{rate}，{source}", "Downloading {done} / {total}, {rate}, {source}"),
    "restarting": ("引擎意外退出，正在重新启动：{reason}", "The engine stopped and is started again: {reason}"),
    "ready": (
        (
            "\n准备好了！（用时 {seconds} 秒）\n"
            "  聊天网页　　　{url}\n"
            "  Chatbox 设置　模型提供方选“OpenAI API 兼容”，API 域名填 {base}，密钥{api_key}，模型填 {model}\n"
            "  命令行　　　　{curl}\n"
            "\n用完后关闭本窗口，或按 Ctrl+C。"
        ),
        (
            "\nReady ({seconds} s).\n"
            "  Chat page         {url}\n"
            "  Chatbox settings  provider OpenAI API Compatible, API host {base}, key {api_key}, model {model}\n"
            "  Command line      {curl}\n"
            "\nClose this window or press Ctrl+C when you are done."
        ),
    ),
    "any_key": ("随便填", "anything"),
    "your_key": ("填 设置.toml 里的 api_key", "the api_key of 设置.toml"),
    # the end
    "stopping": ("正在停止……", "Stopping..."),
    "stopped": ("已停止。", "Stopped."),
    "failed": ("启动失败：{reason}", "It did not start: {reason}"),
    "unexpected": (
        (
            "程序出错了：{reason}\n详细信息在 logs 文件夹的 oneclick.log 里。"
            "请双击“环境诊断.bat”，把生成的 诊断报告.txt 发给我们。"
        ),
        (
            "Something went wrong: {reason}\nDetails are in oneclick.log in the folder logs. "
            "Double-click 环境诊断.bat and send us the 诊断报告.txt that it writes."
        ),
    ),
    "usage": (
        (
            "用法：一键运行.bat [--port 端口] [--host 地址] [--no-browser] [--model 文件]\n"
            "      [--context 长度] [--threads 数目]\n"
            "      一键运行.bat --check-update　看看有没有新版本"
        ),
        (
            "Usage: 一键运行.bat [--port N] [--host ADDRESS] [--no-browser] [--model FILE]\n"
            "       [--context N] [--threads N]\n"
            "       一键运行.bat --check-update   asks whether there is a newer version"
        ),
    ),
    "bad_argument": ("看不懂的参数：{reason}\n{usage}", "Wrong argument: {reason}\n{usage}"),
}
