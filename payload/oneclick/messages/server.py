"""What the server says: errors of its interface, and why the model's worker ended."""

from __future__ import annotations

from oneclick.messages import Table

TABLE: Table = {
    # States that pass by themselves.
    "not_ready": (
        "模型还没有准备好（{phase}），请稍等片刻再试。",
        "The model is not ready yet ({phase}). Please try again in a moment.",
    ),
    "queue_full": (
        "排队的请求已有 {limit} 个，请等前面的回答完成后再试。",
        "{limit} requests are waiting already. Please try again when they are done.",
    ),
    "closing": ("程序正在关闭。", "The program is being closed."),
    "model_changed": ("模型已更换，请重新发送。", "The model was changed. Please send your message again."),
    "worker_hung": (
        "引擎很久没有反应，已经重新启动。",
        "The engine did not answer for a long time and was started anew.",
    ),
    "worker_died": (
        "模型进程意外退出，正在自动重新启动，请重新发送。原因：{chinese}",
        "The model process ended unexpectedly and is being restarted; please send your message again. Why: {english}",
    ),
    "failed": (
        "模型无法使用：{chinese}",
        "The model cannot be used: {english}",
    ),
    # Requests that cannot be answered.
    "json": ("请求不是有效的 JSON：{reason}", "The request is not valid JSON: {reason}"),
    "json_object": ("请求必须是一个 JSON 对象。", "The request must be a JSON object."),
    "json_depth": ("JSON 嵌套超过 {limit} 层。", "The JSON is nested deeper than {limit} levels."),
    "encoding": (
        "看不懂请求的文字编码。请用 UTF-8 发送，并写上 Content-Type: application/json; charset=utf-8。",
        "The request's text is in no known encoding. Send UTF-8, with Content-Type: application/json; charset=utf-8.",
    ),
    "lost_characters": (
        (
            "收到的内容全是问号：汉字在发送时就丢了。请用 UTF-8；PowerShell 5.1 请加 -ContentType 'application/json; "
            "charset=utf-8' 并用 [Text.Encoding]::UTF8.GetBytes 转换正文。真想问“??”，请再加几个字。"
        ),
        (
            "Nothing but question marks arrived: the characters were lost while sending. Send UTF-8; in PowerShell 5.1 "
            "convert the body with [Text.Encoding]::UTF8.GetBytes and add -ContentType 'application/json; "
            "charset=utf-8'. If you really meant ??, add some words."
        ),
    ),
    "content_encoding": (
        "不支持用 {encoding} 压缩的请求，请不压缩发送，或用 gzip。",
        "Requests compressed with {encoding} are not supported. Send them as they are, or with gzip.",
    ),
    "compressed": (
        "请求写明用 {encoding} 压缩，内容却解不开。请不压缩发送。",
        "The request says it is compressed with {encoding}, but cannot be unpacked. Send it as it is.",
    ),
    "type": ("参数 {name} 的类型不对，应为 {wanted}。", "The parameter {name} has the wrong type; {wanted} is needed."),
    "range": (
        "参数 {name} 超出范围，应在 {low} 到 {high} 之间。",
        "The parameter {name} is out of range; it must be between {low} and {high}.",
    ),
    "stop": ("stop 应为一个字符串，或字符串的数组。", "stop must be a string or an array of strings."),
    "messages_type": ("缺少 messages 数组。", "The array messages is missing."),
    "messages_empty": ("messages 是空的，至少要有一条消息。", "messages is empty; at least one message is needed."),
    "messages_many": ("消息超过 {limit} 条。", "There are more than {limit} messages."),
    "role": (
        "{where}.role 无效，可用：system、developer、user、assistant、tool、function。",
        "{where}.role is not valid; use system, developer, user, assistant, tool or function.",
    ),
    "content_type": (
        "{where} 应为字符串或文本片段的数组。",
        "{where} must be a string or an array of text parts.",
    ),
    "part": (
        "{where} 里有这个模型不支持的内容，只支持文字。",
        "{where} has content this model does not support; only text is.",
    ),
    "image": (
        "这个模型只懂文字，看不了图片。",
        "Invalid content type. image_url is only supported by certain models. This model reads text only.",
    ),
    "tool_call": (
        "{where}.tool_calls 无效：每一项都要有 function.name。",
        "{where}.tool_calls is not valid: each needs function.name.",
    ),
    "tools": ("tools 应为最多 {limit} 项的数组。", "tools must be an array of at most {limit} items."),
    "tool": ("tools 的每一项都要有 function.name。", "Each of the tools needs function.name."),
    "continue": (
        "continue_final_message 只能用来接着写 assistant 的最后一条消息。",
        "continue_final_message needs an assistant message at the end, to go on with.",
    ),
    "answer_format": (
        "response_format 为 {asked} 时无法保证答案的格式，所以不接受。请去掉它，在消息里写明想要的 JSON，并检查答案。",
        (
            "response_format {asked} is refused: nothing here could guarantee that format. Leave it out, describe the "
            "JSON in your message and check the answer."
        ),
    ),
    "tool_choice": (
        "{name} 只能是 auto 或 none：这个模型无法被强制调用工具。请用 auto，并在消息里要求它调用。",
        (
            "{name} must be auto or none: this model cannot be forced to call a tool. Use auto and ask for the call in "
            "your message."
        ),
    ),
    "tool_type": (
        "不支持 {asked} 类型的工具，只支持 function。",
        "Tools of the type {asked} are not supported, only functions are.",
    ),
    "prompt_type": (
        "prompt 应为一个字符串，或者一个 token 编号的列表。",
        "prompt must be a string, or a list of token ids.",
    ),
    "token": (
        "prompt 里的 {token} 不是这个模型的 token 编号。编号可用 /tokenize 得到。",
        "{token} in prompt is no token id of this model. POST /tokenize gives the ids of a text.",
    ),
    "bias_token": (
        "logit_bias 里的 {token} 不是这个模型的 token 编号：每个模型的编号都不同。编号可用 /tokenize 得到。",
        "{token} in logit_bias is no token id of this model: each model has its own. POST /tokenize gives them.",
    ),
    "top_logprobs": (
        "top_logprobs 需要同时设置 logprobs: true。",
        "top_logprobs needs logprobs: true.",
    ),
    "echo_stream": (
        "echo、logprobs 和 stream 不能同时使用：提示词的概率要到最后才齐。请去掉 stream。",
        "echo with logprobs cannot be streamed: the prompt's figures are complete only at the end. Leave out stream.",
    ),
    "engine_lacks": (
        "这个整合包用的是官方发布的引擎，它不支持 {name}。请去掉这个参数，或改用默认的整合包。",
        "This bundle has the engine as released, which cannot do {name}. Leave it out, or use the default bundle.",
    ),
    "unsupported": (
        "不支持参数 {name}：它会改变答案，而这里做不到。请去掉它。",
        "The parameter {name} is not supported: it would change the answer, and that is not done here. Leave it out.",
    ),
    "context": (
        "内容太长：最新的一轮对话连同系统提示共 {prompt_tokens} 个 token，最多 {limit} 个。请缩短后重发。",
        (
            "Too long: the newest turn and the system message have {prompt_tokens} tokens, at most {limit} fit. "
            "This model's maximum context length is limited; please shorten your message."
        ),
    ),
    "body": ("请求超过 {limit_mib} MiB。", "The request is larger than {limit_mib} MiB."),
    # Who may ask.
    "host": (
        "拒绝访问：地址不是本机。请用 http://127.0.0.1 加端口号访问。",
        "Refused: the address is not this computer's. Use http://127.0.0.1 and the port.",
    ),
    "model_too_long": (
        "model 太长，最多 {limit} 个字符；这里只有一个模型，写 chatglm3-6b 即可。",
        "model is longer than {limit} characters; there is one model here, chatglm3-6b.",
    ),
    "bodies": (
        "同时发来的大请求太多，内存放不下，请稍后再试。",
        "Too many large requests are arriving at once; try again in a moment.",
    ),
    "origin": (
        "拒绝来自 {origin} 的访问。若信任它，请在 设置.toml 里写一行 allowed_origins = ['{origin}']，再重新启动。",
        "Refused for {origin}. If you trust it, write allowed_origins = ['{origin}'] into 设置.toml and start again.",
    ),
    "api_key": ("API 密钥不对或没有填写。", "The API key is wrong or missing."),
    "page_token": (
        "只有本程序的网页可以这样做，请刷新页面后再试。",
        "Only this program's own page may do that. Reload the page and try again.",
    ),
    # Paths.
    "path": (
        "没有 {path} 这个地址。软件里请选“OpenAI 兼容”，API 地址填 {base}（或加 /v1），对话在 /v1/chat/completions。",
        (
            "There is no {path} here. Choose “OpenAI compatible” in the program and use {base} (or {base}/v1) as the "
            "API's address; chats go to /v1/chat/completions."
        ),
    ),
    "method": ("这个地址不支持该请求方式，可用：{allowed}。", "This address does not take that method; use {allowed}."),
    "model_unknown": (
        "没有叫 {name} 的模型，这里只有 {own}。（聊天时填什么名字都行。）",
        "There is no model {name} here, only {own}. (A chat may name any.)",
    ),
    "no_embeddings": (
        "{path}：这个模型不做向量（embedding）。请在软件里另选一个向量模型；对话请用 {use}。",
        "{path}: this model makes no embeddings. Choose another model for them; for chats use {use}.",
    ),
    "no_images": (
        "{path}：这个模型只懂文字，不能画图。对话请用 {use}。",
        "{path}: this model reads and writes text, it makes no pictures. For chats use {use}.",
    ),
    "no_audio": (
        "{path}：这个模型只懂文字，不能听也不能说。请用系统自带的语音；对话请用 {use}。",
        "{path}: this model reads and writes text, no sound. Use the system's own voices; for chats use {use}.",
    ),
    "no_messages": (
        "{path} 是 Anthropic 的接口，这里没有。请在软件里选“OpenAI 兼容”，对话用 {use}。",
        "{path} is Anthropic's interface, which is not offered. Choose “OpenAI compatible”; for chats use {use}.",
    ),
    "no_model_changes": (
        "{path}：模型只有文件夹里的那一个，请在聊天网页或“下载模型.bat”里下载。对话请用 /api/chat 或 {use}。",
        (
            "{path}: the model is the one in the folder; download it on the chat page or with 下载模型.bat. "
            "For chats use /api/chat or {use}."
        ),
    ),
    "only_chat": (
        "{path}：这里只有文字对话，没有这项功能。对话请用 {use}。",
        "{path}: this server only chats in text. For chats use {use}.",
    ),
    "stateless": (
        "这里不保存回答：不能用 previous_response_id 或 conversation。请把之前的消息都放进 input 一起发送。",
        (
            "Answers are not stored here, so previous_response_id and conversation cannot be used. Send the earlier "
            "messages in input."
        ),
    ),
    "item": (
        "{where} 里有这里做不到的内容（{asked}）。",
        "{where} has content that cannot be used here ({asked}).",
    ),
    "no_downloads": ("现在没有可以下载的模型。", "There is no model to download now."),
    "download_action": (
        "action 应为 start 或 pause，model 应为模型编号。",
        "action must be start or pause, and model a model's id.",
    ),
    # Failures of ours.
    "engine_error": ("推理引擎出错：{reason}", "The engine failed: {reason}"),
    "bug": (
        "程序内部出错（{request_id}），详情见 logs 文件夹。",
        "Something went wrong inside the program ({request_id}); see the logs folder.",
    ),
    # Loading the model.
    "engine_import": (
        "推理引擎无法启动：{reason}。请完整解压后再运行；若仍不行，请运行“环境诊断.bat”。",
        (
            "The engine does not start: {reason}. Extract the whole archive and try again; "
            "if that does not help run 环境诊断.bat."
        ),
    ),
    "model_refused": (
        "模型 {name} 无法载入：{reason}。文件可能已损坏，请删除后重新下载。",
        "The model {name} cannot be loaded: {reason}. The file may be damaged; delete it and download it again.",
    ),
    "model_name": (
        "引擎打不开文件名“{name}”，请改名为 chatglm3-ggml.bin。",
        "The engine cannot open a file called {name}. Rename it to chatglm3-ggml.bin.",
    ),
    # Why the worker ended.
    "exit_illegal_instruction": (
        "这台电脑的 CPU 不支持引擎所需的指令集（如 AVX2），代码 {code}。请运行“环境诊断.bat”。",
        "This PC's processor lacks instructions the engine needs (such as AVX2), code {code}. Run 环境诊断.bat.",
    ),
    "exit_access_violation": (
        "引擎访问了无效内存（代码 {code}）。常见原因是模型文件损坏，请重新下载。",
        "The engine touched memory it must not (code {code}). Often the model file is damaged: download it again.",
    ),
    "exit_abort": (
        "引擎自检失败后退出（代码 {code}）。常见原因是内存不足或模型文件损坏。",
        "The engine stopped itself (code {code}). Often memory is short or the model file is damaged.",
    ),
    "exit_heap": ("引擎的内存数据被破坏（代码 {code}）。", "The engine's memory was corrupted (code {code})."),
    "exit_stack": ("引擎的栈空间不足（代码 {code}）。", "The engine ran out of stack (code {code})."),
    "exit_memory": (
        "内存不足（代码 {code}）。请关闭其他程序后再试。",
        "Memory ran out (code {code}). Close other programs and try again.",
    ),
    "exit_dll": (
        "缺少引擎需要的 DLL（代码 {code}）。请重新完整解压。",
        "A DLL the engine needs is missing (code {code}). Extract the whole archive again.",
    ),
    "exit_disk": (
        "模型文件读不下去了：U 盘被拔掉、网络断开或硬盘出错（代码 {code}）。请插好再试，或把整个文件夹放到本机硬盘。",
        "The model cannot be read any further: a stick was pulled, a share is gone or the disk failed (code {code}).",
    ),
    "exit_blocked": (
        (
            "Windows 的应用控制（智能应用控制或企业策略）不允许运行引擎（代码 {code}）。\n"
            "请看“Windows 安全中心 → 应用和浏览器控制”；公司电脑请找管理员。"
        ),
        (
            "Windows' Application Control (Smart App Control or a policy) forbids the engine (code {code}).\n"
            "See Windows Security, App & browser control; on a company's PC ask its administrator."
        ),
    ),
    "engine_blocked": (
        (
            "Windows 或安全软件不允许加载引擎：{reason}\n"
            "请看“Windows 安全中心 → 应用和浏览器控制”和杀毒软件的隔离区；公司电脑请找管理员。"
        ),
        (
            "Windows or a security program forbids loading the engine: {reason}\n"
            "See Windows Security, App & browser control, and the quarantine; on a company's PC ask its administrator."
        ),
    ),
    "exit_killed": (
        "模型进程被强行结束（代码 {code}），可能是内存不足。",
        "The model process was killed (code {code}), perhaps because memory ran out.",
    ),
    "exit_python": (
        "模型进程内部出错（代码 {code}），详情见 logs 文件夹。",
        "The model process failed inside (code {code}); see the logs folder.",
    ),
    "exit_other": (
        "模型进程退出，代码 {code}。",
        "The model process ended with code {code}.",
    ),
}
