"""What is said about the PC and the folder."""

from __future__ import annotations

from oneclick.messages import Table

TABLE: Table = {
    "not_windows": ("这不是 Windows。", "This is not Windows."),
    "windows_ok": ("{name}（{build}）", "{name} ({build})"),
    "windows_old": (
        "{name}（{build}）太旧了：本程序是为 Windows 10 和 11 做的，可能无法运行。",
        "{name} ({build}) is too old: this program is made for Windows 10 and 11 and may not run.",
    ),
    "cpu_ok": ("{name}，{cores} 核，支持 {features}", "{name}, {cores} cores, with {features}"),
    "cpu_lower_level": (
        "{name} 没有较新的指令集，改用兼容版引擎（{level}），速度会慢一些。",
        "{name} lacks newer instructions; the compatible engine ({level}) is used, which is slower.",
    ),
    "cpu_too_old": (
        (
            "这台电脑的处理器（{name}）没有 {missing} 指令集，引擎无法运行。\n"
            "这和内存、模型文件都没有关系；请换一台 2013 年以后的电脑。虚拟机里请打开 CPU 直通。"
        ),
        (
            "This PC's processor ({name}) lacks {missing}, so the engine cannot run.\n"
            "Memory and the model file are not the cause. Use a PC made after 2013; in a virtual machine pass the CPU "
            "through."
        ),
    ),
    "arm_emulated": (
        ("{name} 是 ARM 处理器：Windows 用模拟的方式运行本程序（引擎 {level}），可以用，但会慢得多。"),
        (
            "{name} is an ARM processor: Windows emulates an x64 PC for this program (engine {level}). It works, but "
            "much slower than on an Intel or AMD processor of its class."
        ),
    ),
    "arm_without_avx": (
        (
            "{name} 是 ARM 处理器，这个版本的 Windows 还不能为本程序模拟 {missing} 指令集，引擎无法运行。\n"
            "请用 Windows 更新升级到 Windows 11 24H2 或更新版本，并装上 2025 年 10 月的更新（KB5066835）。"
        ),
        (
            "{name} is an ARM processor, and this Windows does not emulate {missing} yet, so the engine cannot run.\n"
            "Update to Windows 11 24H2 or later with the updates of October 2025 (KB5066835), then try again."
        ),
    ),
    "memory_ok": (
        "需要内存约 {need}，可用 {available}，上下文 {context}",
        "About {need} of memory needed, {available} available, context {context}",
    ),
    "memory_low": (
        "需要内存约 {need}，现在只有 {available} 可用：能用，但会很慢。请关闭一些程序。",
        "About {need} of memory is needed and {available} is available: it works, but slowly. Close some programs.",
    ),
    "context_reduced": (
        "内存不多，上下文从 {wanted} 缩短到 {context}（能记住的对话短一些），需要约 {need}。",
        (
            "Memory is short: the context is reduced from {wanted} to {context}, so less of a conversation is "
            "remembered; about {need} is needed."
        ),
    ),
    "memory_tight": (
        "内存刚刚够（共 {total}，需要约 {need}），上下文缩短到 {context}。请关闭其他所有程序，否则会很慢。",
        (
            "Memory just suffices ({total} in all, about {need} needed); the context is reduced to {context}. "
            "Close all other programs, or it will be very slow."
        ),
    ),
    "memory_too_small": (
        (
            "内存不够：这个模型至少需要 {need}，这台电脑一共只有 {total}。\n"
            "模型文件没有坏；请换一台内存更大的电脑（8 GB 以上）。"
        ),
        (
            "Not enough memory: this model needs at least {need}, this PC has {total} in all.\n"
            "The model file is fine; use a PC with 8 GB or more."
        ),
    ),
    "commit_too_small": (
        (
            "这个模型声明的上下文长达 {length}，引擎要预留 {reserved}，而 Windows 连同虚拟内存一共只有 {limit}。\n"
            "请换一个模型（例如双击“下载模型.bat”）；如果是您自己转换的，请检查它的 sequence_length。"
        ),
        (
            "This model declares a context of {length}: the engine would reserve {reserved} at its start, and Windows "
            "has {limit} in all, page file included.\n"
            "Use another model (double-click 下载模型.bat); if you converted it yourself, check its sequence_length."
        ),
    ),
    "commit_low": (
        (
            "虚拟内存偏小：引擎要预留 {reserved}，Windows 现在只能给 {commit}。如果启动失败，"
            "请关闭一些程序，或在“高级系统设置 → 性能 → 高级 → 虚拟内存”里选“自动管理”。"
        ),
        (
            "Virtual memory is small: the engine reserves {reserved}, Windows can give {commit} now. If it does not "
            "start, close programs, or let Windows manage the page file (System > Advanced > Performance)."
        ),
    ),
    "folder_writable": ("文件夹可以写入", "The folder can be written"),
    "folder_read_only": (
        "这个文件夹不能写入（{reason}）：不能下载模型，也没有日志。请把文件夹移到桌面或 D 盘。",
        "The folder cannot be written ({reason}): no download and no log. Move it to a place of your own.",
    ),
    "path_ok": ("路径长度 {length}（上限 {limit}）", "Path length {length} (limit {limit})"),
    "path_long": (
        "文件夹的路径太长（{length} 个字符，上限 {limit}），有些文件可能打不开。请移到 D:\\ChatGLM3_cpp 这样短的位置。",
        (
            "The folder's path is too long ({length} characters, limit {limit}); some files may not open. "
            "Move it to a short place such as D:\\ChatGLM3_cpp."
        ),
    ),
    "place_ok": ("文件夹的位置没有问题", "The folder is in a good place"),
    "in_temp": (
        "现在是从临时文件夹运行的（可能在压缩软件里直接双击了），文件随时会消失。请先解压到自己的文件夹。",
        (
            "This runs from a temporary folder (perhaps from inside the archive program), which will be emptied. "
            "Extract it to a folder of your own first."
        ),
    ),
    "in_onedrive": (
        "文件夹在 OneDrive 里：会被上传，也可能被移到云端。请移到 OneDrive 以外的位置。",
        "The folder is inside OneDrive: it will be uploaded and may be moved to the cloud. Move it elsewhere.",
    ),
    "on_network": (
        "文件夹在网络共享上，读取模型会很慢。请复制到本机硬盘。",
        "The folder is on a network share; reading the model will be slow. Copy it to this PC's disk.",
    ),
    "disk_ok": ("磁盘剩余 {free}（{file_system}）", "{free} free on the disk ({file_system})"),
    "disk_full": (
        "磁盘只剩 {free}，请清理出一些空间。",
        "Only {free} is free on the disk; make some room.",
    ),
    "fat32": (
        "磁盘是 {file_system} 格式，放不下大于 4 GB 的模型（q4_0 可以）。剩余 {free}。",
        "The disk is {file_system}, which cannot hold models above 4 GB (q4_0 fits). {free} free.",
    ),
    "online_only": (
        "{name} 只存在云端（OneDrive 占位文件），第一次读取要先下载，会很慢。请右键选择“始终保留在此设备上”。",
        (
            "{name} is only in the cloud (OneDrive placeholder); reading it downloads it first. "
            "Right-click it and choose “Always keep on this device”."
        ),
    ),
    "marked": (
        (
            "文件带有“来自互联网”的标记（{names}），Windows 可能会拦截。"
            "如果被拦，请右键压缩包 → 属性 → 解除锁定，再重新解压。"
        ),
        (
            "Files are marked as coming from the internet ({names}); Windows may block them. If so, right-click the "
            "archive, Properties, Unblock, and extract again."
        ),
    ),
    "not_marked": ("没有“来自互联网”的标记", "No mark of coming from the internet"),
}
