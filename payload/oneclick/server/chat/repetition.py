"""Tells when an answer has begun to say the same over and over, a complaint about every small model.

Two signs: its end is one piece of text again and again; or nearly all of its last sentences are the same but for their
numbers and marks. Tables, code, lists and verse repeat too, so it takes much, and code between fences takes no part in
the second.
"""

from __future__ import annotations

import re
from collections import Counter

LOOK_EVERY = 48
"""Characters between two looks."""
TAIL = 2400
"""Characters at the end that are looked at."""
LONGEST_UNIT, TIMES = 400, 6
WORDS, MARKS = 300, 1200
"""So many characters of repetition are enough; of nothing but marks, digits and space (rules, empty tables) so many."""
SENTENCES, ALIKE = 12, 10
"""So many of the last sentences must be alike."""
SHORTEST = 6
"""Letters of a sentence that counts."""

_END = re.compile(r"[。！？!?；;\n]+")
_NO_LETTER = re.compile(r"[\W\d_]+")


class RepetitionGuard:
    """Reads one answer as it grows."""

    def __init__(self) -> None:
        self._text = ""
        self._fences = 0
        self._unseen = 0
        self.repeats = False
        """It has begun to repeat itself."""

    def feed(self, text: str) -> bool:
        """Take the next piece of the answer; return ``repeats``."""
        self._text += text
        self._unseen += len(text)
        if self._unseen >= LOOK_EVERY and not self.repeats:
            self._unseen = 0
            self._fences += self._text[:-TAIL].count("```")
            self._text = self._text[-TAIL:]
            self.repeats = self._is_cycle() or self._says_the_same()
        return self.repeats

    def _is_cycle(self) -> bool:
        """Tell whether the end is one unit, repeated: the longest border of each suffix, by Knuth, Morris and Pratt."""
        back = self._text[::-1]
        borders = [0] * len(back)
        for end in range(1, len(back)):
            border = borders[end - 1]
            while border and back[end] != back[border]:
                border = borders[border - 1]
            borders[end] = border + (back[end] == back[border])
            length = end + 1
            unit = length - borders[end]
            if unit <= LONGEST_UNIT and length >= max(WORDS, TIMES * unit):
                enough = WORDS if _NO_LETTER.sub("", back[:unit]) else MARKS
                if length >= enough:
                    return True
        return False

    def _says_the_same(self) -> bool:
        prose = "\n".join(self._text.split("```")[self._fences % 2 :: 2])
        sentences = [sentence for sentence in _END.split(prose) if not sentence.lstrip().startswith("|")]
        spoken = [_NO_LETTER.sub("", sentence) for sentence in sentences]
        last = [words for words in spoken if len(words) >= SHORTEST][-SENTENCES:]
        return bool(last) and Counter(last).most_common(1)[0][1] >= ALIKE
