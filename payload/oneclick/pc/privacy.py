"""Take names of people and computers, and passwords, out of what a user may send to strangers."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from oneclick.masking import without_secrets

SHORTEST_NAME = 3
"""A shorter user name would be found inside ordinary words."""


def without_personal_data(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return ``text`` with the user's home, name and computer name replaced, and ``without_secrets``."""
    text = without_secrets(text)
    for variable in ("USERPROFILE", "HOME", "USERNAME", "USER", "COMPUTERNAME"):
        value = environment.get(variable, "")
        if len(value) < SHORTEST_NAME or value in ("/root",):
            continue
        pattern = re.escape(value)
        if variable in ("USERNAME", "USER", "COMPUTERNAME"):
            pattern = rf"(?<!\w){pattern}(?!\w)"
        text = re.sub(pattern, f"%{variable}%", text, flags=re.IGNORECASE)
    return text
