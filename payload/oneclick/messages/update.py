"""What ``更新.bat`` and ``一键运行.bat --check-update`` say."""

from __future__ import annotations

from oneclick.messages import Table

TABLE: Table = {
    "title": (
        "更新　{before} → {after}。模型、设置.toml 和 logs 不会改动。",
        "Update {before} -> {after}. The model, 设置.toml and logs are left alone.",
    ),
    "usage": ("请双击“更新.bat”，不要单独运行这一步。", "Double-click 更新.bat instead of running this step alone."),
    "checking": ("正在检查现有文件", "Checking the present files"),
    "applying": ("正在更新", "Updating"),
    "checking_result": ("正在检查结果", "Checking the result"),
    "done": ("更新完成，现在是 {version}。双击“一键运行.bat”即可使用。", "Updated to {version}. Start 一键运行.bat."),
    "running": (
        "ChatGLM3 还在运行，不能更新。\n请先关掉它的黑色窗口，再双击“更新.bat”。",
        "ChatGLM3 is still running.\nClose its window first, then double-click 更新.bat again.",
    ),
    "no_patch": (
        "没有找到补丁的内容（update 文件夹）。\n请把补丁压缩包完整解压到旧文件夹所在的位置，让两个文件夹合并。",
        "The patch's content (the folder update) is missing.\nExtract the whole patch where the old folder lies.",
    ),
    "damaged": (
        "补丁的说明文件坏了：{reason}\n请重新下载补丁并解压。",
        "The patch's list is damaged: {reason}\nDownload the patch again and extract it.",
    ),
    "incomplete": (
        "补丁没有完整解压：{name} 缺少或不对。\n请重新解压补丁；还是不行就重新下载。",
        "The patch was extracted in part: {name} is missing or wrong.\nExtract it again, or download it again.",
    ),
    "already": ("已经是 {version} 了，不用更新。", "This is {version} already; there is nothing to do."),
    "other_release": (
        "这个补丁只能用在版本 {version} 上，这里的不是它。\n请下载完整的压缩包，解压到新文件夹，再把模型文件移过去。",
        "This patch fits version {version} only.\nDownload the whole archive, extract it elsewhere, move the model.",
    ),
    "changed_folder": (
        "有 {count} 个文件和原来的不一样：{names}\n可能被杀毒软件动过，所以没有更新。请下载完整的压缩包，重新解压。",
        "{count} files are not as they were packed: {names}\nNothing was updated. Download the whole archive instead.",
    ),
    "no_space": (
        "不能在这个文件夹里写文件：{reason}\n请腾出 100 MB 空间，或换一个可以写入的文件夹。",
        "Nothing can be written here: {reason}\nFree 100 MB, or use a folder that can be written.",
    ),
    "held": (
        "有程序正占用刚写好的文件：{reason}\n多半是杀毒软件在检查新文件。等一分钟再双击“更新.bat”；还是不行就重启电脑。",
        "Another program holds a file that was just written: {reason}\nMost likely a virus scanner. Try again soon.",
    ),
    "not_whole": ("更新后的文件不完整：{names}", "The updated files are not complete: {names}"),
    "interrupted": ("上次中断了", "it was interrupted"),
    "undone": (
        "没有更新成功，已经恢复成 {version}，可以照常使用。\n原因：{reason}\n请重启电脑，重新解压补丁再试。",
        "The update was undone; {version} works as before.\nReason: {reason}\nRestart, then extract the patch again.",
    ),
    "stuck": (
        "更新没有完成，有文件正被别的程序占用：{reason}\n请重启电脑，再双击“一键运行.bat”，会自动接着处理。",
        "The update is not finished, a file is in use: {reason}\nRestart the PC and start 一键运行.bat; it goes on.",
    ),
    "broken": (
        "恢复旧版时有文件不对：{names}\n请下载完整的压缩包，重新解压；模型文件可以留用。",
        "Some files could not be restored: {names}\nDownload and extract the whole archive; the model can be kept.",
    ),
    "other_name": (
        "这个补丁是给 {other} 用的，这里是 {name}。\n请下载和这个文件夹同名的补丁。",
        "This patch is for {other}, and this is {name}.\nDownload the patch that is named after this folder.",
    ),
    "downgrade": (
        "这个补丁会把 {before} 退回到更旧的 {after}，没有使用。\n请从下载页重新下载补丁。",
        "This patch would turn {before} into the older {after}; it was not used.\nDownload it again from the page.",
    ),
    # signatures, of patches and of latest.json
    "unsigned": (
        "注意：这个包没有签名公钥，更新的来源无法核对。请只使用您信任的人给的文件。",
        "Note: this bundle carries no public key, so nobody can tell who made an update. Use only files you trust.",
    ),
    "not_signed": (
        "{name} 没有签名，不能确认是发布者做的，没有使用。\n请从下载页重新下载；不要用别人改过的文件。",
        "{name} is not signed, so nobody knows who made it; it was not used.\nDownload it again from the page.",
    ),
    "wrong_signature": (
        "{name} 的签名不对：内容被改过，或者没有下载完整，没有使用。\n请从下载页重新下载。",
        "The signature of {name} is wrong: it was changed or is incomplete; it was not used.\nDownload it again.",
    ),
    "foreign_key": (
        "{name} 是用另一把钥匙签的名，不是这个包的发布者，没有使用。\n请从下载页重新下载完整的压缩包。",
        "{name} is signed with another key than that of this bundle; it was not used.\nDownload the whole archive.",
    ),
    "planted": (
        "有一次没做完的更新，但接着做的程序不是从这个文件夹来的：{name}\n没有运行它。请删除 update 文件夹再试。",
        "An unfinished update would go on with a foreign program: {name}\nIt was not run. Delete the folder update.",
    ),
    # --check-update
    "no_page": (
        "这个包没有填写发布页，无法检查更新。请到下载它的地方看看。",
        "This bundle names no release page. Look where you downloaded it.",
    ),
    "asking": ("正在询问 {address}", "Asking {address}"),
    "no_answer": (
        "没有问到最新版本：{reason}\n请检查网络，或用浏览器打开 {page}",
        "The newest version could not be asked for: {reason}\nCheck the network, or open {page}",
    ),
    "bad_answer": (
        "发布页的回答看不懂。请用浏览器打开 {page}",
        "The release page gave an answer that makes no sense. Open {page}",
    ),
    "newest": ("已经是最新版 {version}。", "{version} is the newest version."),
    "available": ("有新版本：{version}（现在是 {present}）", "A new version: {version} (this is {present})"),
    "not_newer": (
        "发布页上的版本 {version} 不比现在的 {present} 新，不用更新。",
        "The release page offers {version}, which is not newer than {present}; there is nothing to do.",
    ),
    "patch_digest": ("　　它的 sha256：{sha256}", "  its sha256: {sha256}"),
    "patch_line": ("小补丁：{address}（{size}）", "Small patch: {address} ({size})"),
    "page_line": ("下载页：{page}", "Download page: {page}"),
}
