"""One thing that was looked at on this PC and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Mapping

from oneclick.messages import both, say

NOTE = "note"
OK = "ok"
WARNING = "warning"
ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """``severity`` is NOTE (told, not judged), OK, WARNING (works, but worse) or ERROR.

    An ERROR will not work until the user does something.
    """

    severity: str
    key: str
    """Sentence in the message table; ``values`` fill it."""
    values: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return say(self.key, **self.values)

    def both(self) -> tuple[str, str]:
        """Return the Chinese and the English sentence."""
        return both(self.key, **self.values)
