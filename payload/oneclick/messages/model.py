"""Sentences about model files."""

from __future__ import annotations

from oneclick.messages import Table

TABLE: Table = {
    "missing": (
        "找不到模型文件 {name}。\n请双击“下载模型.bat”下载，或把模型文件放进本文件夹。",
        "The model file {name} is not there.\nDouble-click 下载模型.bat, or put the file into this folder.",
    ),
    "not_a_file": (
        "{name} 是一个文件夹，不是模型文件。\n请把文件夹里的模型文件（.bin）放到程序文件夹里。",
        "{name} is a folder, not a model file.\nMove the model file (.bin) inside it into the program's folder.",
    ),
    "unreadable": (
        "打不开模型文件 {name}：{reason}\n可能正被杀毒软件或其他程序占用，请稍等再试，或重新放一份。",
        (
            "The model file {name} cannot be opened: {reason}\n"
            "An antivirus or another program may hold it: wait and try again, or copy the file again."
        ),
    ),
    "held": (
        (
            "模型文件 {name} 正被另一个程序占用（多半是下载软件、网盘同步或杀毒软件），文件本身没有坏。\n"
            "请在那个程序里暂停或退出；不用删除，也不用重新下载。"
        ),
        (
            "Another program holds the model file {name} (a download tool, a cloud drive, an antivirus); the file is "
            "fine.\nPause or quit that program; there is no need to delete or download anything."
        ),
    ),
    "empty": (
        "模型文件 {name} 是空的（0 字节），下载没有成功。\n请删除它，再双击“下载模型.bat”。",
        "The model file {name} is empty (0 bytes): its download failed.\nDelete it and double-click 下载模型.bat.",
    ),
    "html": (
        "{name} 其实是一个网页，不是模型：下载时网站给了错误页或登录页。\n请删除它，再双击“下载模型.bat”。",
        (
            "{name} is a web page, not a model: the site answered with an error or login page.\n"
            "Delete it and double-click 下载模型.bat."
        ),
    ),
    "text": (
        "{name} 是一段文字，不是模型：下载时网站给了错误信息。\n请删除它，再双击“下载模型.bat”。",
        (
            "{name} holds text, not a model: the site answered with an error message.\n"
            "Delete it and double-click 下载模型.bat."
        ),
    ),
    "lfs_pointer": (
        (
            "{name} 只有几行说明文字，真正的模型没有下载下来（git clone 时没有安装 git-lfs）。\n"
            "请删除它，再双击“下载模型.bat”。"
        ),
        (
            "{name} is only a Git LFS pointer; the model itself was not fetched (git clone without git-lfs).\n"
            "Delete it and double-click 下载模型.bat."
        ),
    ),
    "gguf": (
        (
            "{name} 是 GGUF 格式（llama.cpp、Ollama、LM Studio 用的），本程序用的是 chatglm.cpp 的 GGML 格式。\n"
            "请双击“下载模型.bat”下载 chatglm3-ggml.bin。"
        ),
        (
            "{name} is a GGUF file (for llama.cpp, Ollama, LM Studio); this program reads chatglm.cpp's GGML files.\n"
            "Double-click 下载模型.bat to get chatglm3-ggml.bin."
        ),
    ),
    "archive": (
        "{name} 是压缩包或原始权重（{kind}），不能直接使用。\n请先解压；原始权重请换成转换好的 chatglm3-ggml.bin。",
        (
            "{name} is an archive or a set of original weights ({kind}) and cannot be used as it is.\n"
            "Extract it first; original weights: download the converted chatglm3-ggml.bin instead."
        ),
    ),
    "not_a_model": (
        "{name} 不是 ChatGLM3 模型：文件开头不对，可能下载损坏或放错了文件。\n请双击“下载模型.bat”重新下载。",
        (
            "{name} is not a ChatGLM3 model: it begins with the wrong bytes; damaged, or another file.\n"
            "Double-click 下载模型.bat to download it again."
        ),
    ),
    "zeros": (
        "{name} 的开头全是 0，下载没有完成（下载工具只占好了位置）。\n请等下载工具完成，或双击“下载模型.bat”重新下载。",
        (
            "{name} begins with zeros only: a download tool reserved the space and never finished.\n"
            "Let it finish, or double-click 下载模型.bat to download it again."
        ),
    ),
    "wrong_architecture": (
        "{name} 是 {architecture} 模型，本程序只能运行 ChatGLM3。\n请双击“下载模型.bat”下载 ChatGLM3。",
        (
            "{name} is a {architecture} model; this program runs ChatGLM3 only.\n"
            "Double-click 下载模型.bat to download ChatGLM3."
        ),
    ),
    "unknown_dtype": (
        "{name} 的量化类型（编号 {code}）无法识别。\n可以使用：{known}。请换一个模型文件。",
        "{name} uses an unknown number type (code {code}).\nThese can be used: {known}. Take another model file.",
    ),
    "bad_header": (
        "{name} 的文件头不合理（{field} = {value}），文件已损坏。\n请双击“下载模型.bat”重新下载。",
        (
            "The header of {name} makes no sense ({field} = {value}): the file is damaged.\n"
            "Double-click 下载模型.bat to download it again."
        ),
    ),
    "unknown_version": (
        "{name} 的文件版本是 {version}，本程序只认识版本 1 和 2。\n请换一个模型文件。",
        "{name} has file version {version}; versions 1 and 2 are known.\nTake another model file.",
    ),
    "version_unreadable": (
        (
            "{name} 是较新工具转换的（文件版本 {version}），内置引擎 {engine} 只能读版本 {readable}。\n"
            "请双击“下载模型.bat”下载配套的模型。"
        ),
        (
            "{name} comes from a newer converter (file version {version}); the engine {engine} reads {readable}.\n"
            "Double-click 下载模型.bat to download the matching model."
        ),
    ),
    "truncated": (
        (
            "{name} 不完整：只有 {have_bytes} 字节，应为 {need_bytes} 字节，下载或复制没有完成。\n"
            "请等它完成，或双击“下载模型.bat”重新下载。"
        ),
        (
            "{name} is incomplete: {have_bytes} of {need_bytes} bytes; a download or copy has not finished.\n"
            "Let it finish, or double-click 下载模型.bat to download it again."
        ),
    ),
    "too_long": (
        "{name} 多了 {extra_bytes} 字节，文件已损坏（可能下载时拼接出错）。\n请双击“下载模型.bat”重新下载。",
        (
            "{name} is {extra_bytes} bytes too long: damaged, perhaps joined wrongly while downloading.\n"
            "Double-click 下载模型.bat to download it again."
        ),
    ),
    "damaged_tokenizer": (
        "模型文件里的词表坏了（{reason}）。\n文件下载不完整或被改过，请删除后用“下载模型.bat”重新下载。",
        "The tokenizer inside the model file is damaged ({reason}).\nDelete the file and download it again.",
    ),
    "damaged_tensor": (
        "{name} 的内容已损坏（位置 {offset}，应为 {expected}）。\n请双击“下载模型.bat”重新下载。",
        (
            "{name} is damaged inside (at byte {offset}, where {expected} belongs).\n"
            "Double-click 下载模型.bat to download it again."
        ),
    ),
    "wrong_digest": (
        "{name} 的校验值不对，文件已损坏。\n应为 {expected}\n实际 {got}\n请双击“下载模型.bat”重新下载。",
        (
            "{name} does not have the right checksum: it is damaged.\nexpected {expected}\ngot {got}\n"
            "Double-click 下载模型.bat to download it again."
        ),
    ),
    "cancelled": ("校验已取消。", "The check was cancelled."),
}
