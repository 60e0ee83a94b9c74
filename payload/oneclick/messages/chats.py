"""What is said about the conversations in the folder."""

from __future__ import annotations

from oneclick.messages import Table

TABLE: Table = {
    "me": ("我", "Me"),
    "page_only": (
        "对话只给本程序自己打开的聊天页面看。请用“一键运行.bat”打开的页面。",
        "Conversations are for the program's own page alone. Use the page that 一键运行.bat opens.",
    ),
    "no_folder": ("这里没有可以存对话的文件夹。", "There is no folder here to keep conversations in."),
    "unwritable": (
        "“对话”文件夹不能读写（{reason}）。请检查程序的文件夹是不是只读、还在不在。",
        "The folder 对话 cannot be used ({reason}). Is the program's folder read-only, or its drive gone?",
    ),
    "full": (
        "磁盘满了，对话存不进“对话”文件夹。请腾出一些空间。",
        "The disk is full: the conversation cannot be kept in the folder 对话. Please make some room.",
    ),
    "changed": (
        "这个对话刚在别处改过，先读新的内容再存。",
        "This conversation was changed elsewhere meanwhile; read it again before saving.",
    ),
    "gone": ("没有这个对话，可能已在别处删除。", "There is no such conversation; it may have been deleted elsewhere."),
    "damaged": (
        "对话文件“{name}”打不开：内容不完整，或不是本程序存的。它原样留在“对话”文件夹里。",
        "The conversation's file {name} cannot be read: it is damaged or none of ours. It stays in 对话 as it is.",
    ),
    "invalid": ("对话的数据不完整：{where}", "The conversation's data is not complete: {where}"),
}
