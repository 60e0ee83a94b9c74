"""A small sentencepiece model written by hand: any text can be encoded, no training, the same bytes each time.

Fields and numbers: sentencepiece_model.proto of https://github.com/google/sentencepiece (ModelProto, TrainerSpec,
NormalizerSpec). Settings are those of ChatGLM3's tokenizer.model: BPE with byte fallback, identity normalisation.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator

NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6
_BPE = 2

ENGLISH = (
    "the of and to in is that for it as was with be on by are this have from or not at but you we they one all can "
    "has there been if more when will would who so no out up into do time only some could them see other than then "
    "now look come its over think also back after use two how our work first well way even new want because any "
    "these give day most us model chat hello world code data answer question please thank yes what which"
)
CHINESE = (
    "的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后小么心多天而能好都然没日于起还发成事只作当想"
    "看文无开手十用主行方又如前所本见经头面公同三已老从动两长知民样现分将外但身些与高意进把法此实回二理美点月明其种声全工己话儿者向情部正名定女问力机给等几很"
    "业最间新什打便位因重被走电四第门相次东政海口使教西再平真听世气信北少关并内加化由却代军产入先山五太水万市眼体别处总才场师书比住员九笑性通目华报立马命张活难神数"
    "件安表原车白应路期叫死常提感金何更反合放做系计或司利受光王果亲界及今京务制解各任至清物台象记边共风战干接它许八特觉望直服毛林题建南度统色字请交爱让认算论百吃"
    "义科怎元社术结六功指思非流每青管夫连远资队跟带花快条院变联言权往展该领传近留红治决周保达办运武半候七必城父强步完革深区即求品士转量空甚众技轻程告江语英基派满式"
)
WORDS = (
    "你好 我们 你们 他们 什么 可以 没有 自己 知道 今天 中国 北京 "
    "问题 模型 语言 世界 时间 谢谢 因为 所以 人工 智能 学习 对话"
)
MARKS = "，。！？；：、（）《》“”—…·【】"


def make_proto(pieces_total: int = 0, size_bytes: int = 0) -> bytes:
    """Return a serialized ModelProto; see ``pieces`` for what it holds.

    ``pieces_total``: add rarer pieces until there are so many (0: as they come).
    ``size_bytes``: pad to exactly this size with a comment field (0: no padding).
    """
    start, end = b"".join(_field(1, _piece(*piece)) for piece in pieces(pieces_total)), _field(3, _normalizer())
    proto = start + _field(2, _trainer(b"")) + end
    # A comment costs its length and some bytes around it, which are more for a long one.
    lengths = range(max(0, size_bytes - len(proto) - 8), size_bytes - len(proto) + 1) if size_bytes else ()
    for length in lengths:
        proto = start + _field(2, _trainer(b"x" * length)) + end
        if len(proto) == size_bytes:
            break
    if size_bytes and len(proto) != size_bytes:
        raise ValueError(f"a proto of exactly {size_bytes} bytes cannot be made of {pieces_total} pieces")
    return proto


def pieces(total: int = 0) -> list[tuple[str, float, int]]:
    """Return (piece, score, type) in the order of their ids.

    Ids 0-2 are ``<unk> <s> </s>`` and 3-258 the bytes, as in ChatGLM3; then words with all their beginnings (BPE joins
    two symbols only if the result is a piece too), Chinese words and characters, marks, letters.
    """
    listed = [("<unk>", 0.0, UNKNOWN), ("<s>", 0.0, CONTROL), ("</s>", 0.0, CONTROL)]
    listed += [(f"<0x{byte:02X}>", 0.0, BYTE) for byte in range(256)]
    beginnings = (f"▁{word[:end]}" for word in ENGLISH.split() for end in range(1, len(word) + 1))
    characters = [chr(code) for code in range(0x21, 0x7F)]
    texts = [*beginnings, *WORDS.split(), "▁", *CHINESE, *"".join(WORDS.split()), *MARKS, *characters]
    known = {piece for piece, _, _ in listed}
    scored: list[str] = []
    for text in texts:
        if text not in known:
            known.add(text)
            scored.append(text)
    missing = total - len(listed) - len(scored)
    if total and missing < 0:
        raise ValueError(f"at least {total - missing} pieces are needed, not {total}")
    if total:
        scored += itertools.islice((text for text in _more_texts() if text not in known), missing)
    return listed + [(text, -float(rank), NORMAL) for rank, text in enumerate(scored)]


def _more_texts() -> Iterator[str]:
    """Yield rarer pieces of at most 6 bytes: the remaining Chinese characters, then pairs of common ones."""
    yield from map(chr, range(0x4E00, 0x9FA6))
    yield from map("".join, itertools.product(CHINESE, repeat=2))


def _piece(text: str, score: float, kind: int) -> bytes:
    encoded = _field(1, text.encode()) + _tag(2, 5) + struct.pack("<f", score)
    return encoded if kind == NORMAL else encoded + _number(3, kind)


def _trainer(comment: bytes) -> bytes:
    return b"".join(
        (
            _field(2, comment) if comment else b"",  # model_prefix: where the trainer would have written its files
            _number(3, _BPE),
            _number(35, 1),  # byte_fallback
            _number(40, 0),  # unk_id
            _number(41, 1),  # bos_id
            _number(42, 2),  # eos_id
            _number(43, (1 << 64) - 1),  # pad_id -1: none
        )
    )


def _normalizer() -> bytes:
    # add_dummy_prefix, spaces kept, spaces escaped as U+2581
    return _field(1, b"identity") + _number(3, 1) + _number(4, 0) + _number(5, 1)


def _tag(number: int, wire: int) -> bytes:
    return _varint(number << 3 | wire)


def _number(number: int, value: int) -> bytes:
    return _tag(number, 0) + _varint(value)


def _field(number: int, data: bytes) -> bytes:
    return _tag(number, 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)
