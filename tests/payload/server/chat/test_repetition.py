"""What is a loop and what only looks like one."""

from __future__ import annotations

import json
import random

import pytest

from oneclick.server.chat.repetition import RepetitionGuard


def repeats(text: str, size: int = 3) -> bool:
    """Return what the guard says of ``text``, which comes ``size`` characters at a time."""
    guard = RepetitionGuard()
    return any(guard.feed(text[at : at + size]) for at in range(0, len(text), size))


OPENING = "人工智能是计算机科学的一个分支，它研究怎样让机器完成需要人的智能才能完成的工作。\n\n"

LOOPS = {
    "one character": "哈" * 400,
    "a word": "的，" * 200,
    "a sentence": OPENING + "我是一个人工智能助手，很高兴为您服务。" * 20,
    "an English sentence": OPENING + "I am sorry, but I cannot help with that. " * 12,
    "a paragraph": OPENING
    + ("保持良好的作息时间，" * 2 + "避免熬夜，多吃蔬菜和水果，适当运动，保持心情愉快。\n" * 4) * 8,
    "a numbered list of one thing": "".join(f"{number}. 保持良好的作息时间，避免熬夜。\n" for number in range(1, 20)),
    "numbers that grow": "".join(f"第{number}天，我们继续沿着河边向前走；" for number in range(100, 130)),
    "the same after code": "```python\nprint(1)\n```\n" + "希望这段代码对您有所帮助！" * 30,
    "marks without an end": "。" * 1500,
    "blank lines": OPENING + "\n" * 1500,
}

HONEST = {
    "the multiplication table": "\n".join(" ".join(f"{a}×{b}={a * b}" for a in range(1, b + 1)) for b in range(1, 10)),
    "an empty timetable": "| 时间 | 周一 | 周二 | 周三 | 周四 | 周五 |\n|---|---|---|---|---|---|\n"
    + "|  |  |  |  |  |  |\n" * 12,
    "a table of alike rows": "| 编号 | 名称 | 状态 |\n|---|---|---|\n"
    + "".join(f"| {n} | 测试项目 | 已完成并且通过验收 |\n" for n in range(30)),
    "rules between parts": ("第一部分的内容。\n" + "-" * 80 + "\n第二部分的内容。\n" + "=" * 80 + "\n") * 2,
    "code with alike lines": "```python\n"
    + "".join(f"assert result[{n}] == expected[{n}]\n" for n in range(40))
    + "```\n",
    "code that is still open": "下面是代码：\n```c\n"
    + "".join(f"    case {n}: return name_of({n});\n" for n in range(40)),
    "an array of zeros": "```c\nint table[256] = {" + "0, " * 255 + "0};\n```\n",
    "a song with its chorus": (
        (
            "春天的花开秋天的风\n以及冬天的落阳\n忧郁的青春年少的我\n曾经无知的这么想\n"
            + "啦啦啦啦，啦啦啦啦，啦啦啦啦啦啦啦\n" * 4
        )
        * 3
        + "风车在四季轮回的歌里它天天地流转\n风花雪月的诗句里我在年年地成长\n"
    ),
    "a classic that repeats": "".join(f"采采芣苢，薄言{verb}之。" for verb in "采有掇捋袺襭"),
    "a list of different things": "".join(
        f"{n}. {thing}：每天花一点时间去做，坚持下去就会看到效果。\n"
        for n, thing in enumerate(
            ("早睡早起", "多喝热水", "坚持跑步", "认真读书", "学做饭菜", "整理房间", "陪伴家人", "写下日记")
        )
    ),
    "JSON of alike objects": "```json\n"
    + json.dumps(
        [{"id": n, "name": "张三", "city": "北京", "active": True} for n in range(40)], ensure_ascii=False, indent=2
    )
    + "\n```",
    "laughter": "哈哈哈哈哈哈哈哈哈哈，" * 5 + "太好笑了。",
}


@pytest.mark.parametrize("size", [1, 3, 40, 5000])
@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_is_seen(name: str, size: int) -> None:
    assert repeats(LOOPS[name], size)


@pytest.mark.parametrize("size", [1, 3, 40, 5000])
@pytest.mark.parametrize("name", HONEST)
def test_what_repeats_with_a_reason_goes_on(name: str, size: int) -> None:
    assert not repeats(HONEST[name], size)
    assert not repeats(OPENING + HONEST[name] + "\n" + OPENING, size)


def test_a_loop_is_seen_soon() -> None:
    guard, words = RepetitionGuard(), 0
    guard.feed(OPENING)
    while not guard.feed("我是一个人工智能助手，很高兴为您服务。"):
        words += 1
    assert words <= 20


def test_ordinary_text_of_any_length_goes_on() -> None:
    draw = random.Random(3)
    words = ["天气", "学习", "北京", "因为", "所以", "我们", "可以", "工作", "问题", "方法", "非常", "重要", "，", "。"]
    assert not repeats("".join(draw.choice(words) for _ in range(20_000)))
