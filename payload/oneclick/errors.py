"""Failures a user can act on: a key into the message table and its values."""

from __future__ import annotations

from oneclick.messages import both, say


class OneClickError(Exception):
    """A failure told to the user in words; ``key`` names the sentence, ``values`` fill it.

    The sentence says what happened, why, and what to do, in at most three short lines.
    """

    def __init__(self, key: str, **values: object) -> None:
        self.key = key
        self.values = values
        super().__init__(key)

    def __str__(self) -> str:
        return say(self.key, **self.values)

    def both(self) -> tuple[str, str]:
        """Return the Chinese and the English sentence."""
        return both(self.key, **self.values)
