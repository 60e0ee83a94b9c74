"""What ``环境诊断.bat`` says."""

from __future__ import annotations

from oneclick.messages import Table

TABLE: Table = {
    "title": ("ChatGLM3 一键运行 环境诊断　{time}", "ChatGLM3 one-click diagnosis  {time}"),
    "section_bundle": ("程序文件", "Program files"),
    "section_pc": ("电脑", "This PC"),
    "section_folder": ("文件夹与设置", "Folder and settings"),
    "section_engine": ("引擎", "Engine"),
    "section_model": ("模型与内存", "Model and memory"),
    "section_network": ("网络", "Network"),
    "section_errors": ("最近的错误记录", "Last errors in the log"),
    "bundle": (
        "{name} {version}，Python {python}，引擎 {engine}（{levels}）",
        "{name} {version}, Python {python}, engine {engine} ({levels})",
    ),
    "comparing": ("核对 {count} 个文件", "Comparing {count} files"),
    "files_whole": ("{count} 个文件全部完好", "All {count} files are as packed"),
    "files_missing": (
        "缺少 {count} 个文件：{names}\n可能没有完整解压，或被杀毒软件隔离。请恢复，或重新解压整个压缩包。",
        (
            "{count} files are missing: {names}\n"
            "The archive was extracted in part, or an antivirus program took them. Restore them or extract again."
        ),
    ),
    "files_changed": (
        "{count} 个文件和打包时不一样：{names}\n可能损坏或被修改。请重新解压整个压缩包。",
        "{count} files differ from what was packed: {names}\nThey are damaged or changed. Extract the archive again.",
    ),
    "files_unreadable": (
        "{count} 个文件打不开：{names}\n可能正被杀毒软件检查，请稍等再试。",
        "{count} files cannot be read: {names}\nAn antivirus program may be checking them; try again later.",
    ),
    "cache_dropped": (
        "logs\\cache 里编译好的程序已清除，下次启动会按核对过的文件重新生成",
        "The compiled modules in logs\\cache were removed; the next start makes them from the files just compared",
    ),
    "cache_kept": (
        "logs\\cache 清除不了（{reason}）。请先关掉正在运行的窗口，再手动删除这个文件夹。",
        "logs\\cache cannot be removed ({reason}). Close the running window, then delete that folder by hand.",
    ),
    "memory": (
        "内存 {total}，可用 {available}，虚拟内存可用 {commit}",
        "Memory {total}, available {available}, virtual memory available {commit}",
    ),
    "antivirus": (
        "杀毒软件：{chinese}。如果它删了或拦了本程序的文件，请在它那里信任整个文件夹",
        "Antivirus: {english}. If it removed or blocked files of this program, let it trust the whole folder",
    ),
    "antivirus_on": ("{name}（开启）", "{name} (on)"),
    "antivirus_off": ("{name}（关闭）", "{name} (off)"),
    "antivirus_none": ("Windows 安全中心没有登记杀毒软件", "Windows' Security Center lists no antivirus program"),
    "language": (
        "界面语言 {language}，代码页 {ansi}，输出编码 {code_page}",
        "Interface language {language}, code page {ansi}, output {code_page}",
    ),
    "engine_loads": ("{level}：可以加载（{version}）", "{level}: loads ({version})"),
    "engine_fails": ("{level}：不能加载。{why}\n{words}", "{level}: does not load. {why}\n{words}"),
    "no_model": (
        "文件夹里没有模型。请双击“下载模型.bat”，或把 chatglm3-ggml.bin 放进来。",
        "There is no model in the folder. Double-click 下载模型.bat or put chatglm3-ggml.bin here.",
    ),
    "model_right": ("{name}：{dtype}，校验通过", "{name}: {dtype}, checksum right"),
    "model_unknown": (
        "{name}：{dtype}，完整；不在已知列表里（sha256 {digest}）",
        "{name}: {dtype}, complete; not on the known list (sha256 {digest})",
    ),
    "model_differs": (
        "{name}：{dtype}，和官方文件不一样（sha256 {digest}）。如果回答乱码，请删除它并重新下载。",
        "{name}: {dtype}, not the official file (sha256 {digest}). If answers are garbage, download it again.",
    ),
    "port_ours": ("正在运行：{url}", "Running now: {url}"),
    "port_free": ("端口 {port} 可用", "Port {port} is free"),
    "port_taken": (
        "端口 {port} 已被 {owner} 占用；启动时会换一个端口（固定了 port 时会失败）。",
        "Port {port} is taken by {owner}; another one will be used (a fixed port fails).",
    ),
    "no_proxy": ("没有设置代理", "No proxy is set"),
    "proxy_bypassed": (
        "代理：{proxies}；本机地址不走代理，正常",
        "Proxies: {proxies}; local addresses go around them, as they should",
    ),
    "proxy": (
        "代理：{proxies}；本机地址 127.0.0.1 也会走代理。如果网页打不开，请在代理软件里把 127.0.0.1 设为直连。",
        "Proxies: {proxies}; 127.0.0.1 goes through them, too. If the page does not open, exclude 127.0.0.1 there.",
    ),
    "no_errors": ("没有错误记录", "No errors in the log"),
    "error_line": ("{line}", "{line}"),
    "not_examined": ("这一项没有查成：{reason}", "This could not be examined: {reason}"),
    "all_well": ("一切正常，可以双击“一键运行.bat”。", "All is well; double-click 一键运行.bat."),
    "some_warnings": (
        "可以运行；带 [ !! ] 的地方值得看一下。",
        "It can run; the lines marked [ !! ] are worth a look.",
    ),
    "some_errors": (
        "有问题需要处理：请看带 [ XX ] 的行。",
        "Something has to be done: see the lines marked [ XX ].",
    ),
    "report_written": (
        "已写入 {name}，需要帮助时请把它发出来（不含个人信息）。",
        "Written to {name}; send it when you ask for help (it holds no personal data).",
    ),
    "report_not_written": ("诊断报告.txt 写不进去：{reason}", "诊断报告.txt cannot be written: {reason}"),
}
