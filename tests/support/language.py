"""Sentences in English, whatever the language of this machine; where it is imported, every test has it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from oneclick import messages


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    messages.set_language("en")
    yield
    messages.set_language("auto")
