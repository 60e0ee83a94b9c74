"""Take passwords and tokens out of addresses, before a log, a report or a window shows them."""

from __future__ import annotations

import re

_AFTER_PATH = re.compile(r"(\w+://[^\s?#\"'<>]*)[?#][^\s\"'<>]*")
"""What follows a question mark or a hash in an address is often a token."""
_USER = re.compile(r"(\w+://)[^\s\"'<>]*@")
"""Up to the last ``@``: people write passwords with slashes in them."""
_USER_WITHOUT_SCHEME = re.compile(r"(?<![^\s\"'<>=(])[^\s\"'<>:/@]+:(?![/\\])[^\s\"'<>]+@")
"""As in ``http_proxy=me:secret@proxy:80``."""
_QUERY_WITHOUT_SCHEME = re.compile(r"([?&][\w.-]+=)[^\s\"'<>&]+")


def without_secrets(text: str) -> str:
    """Return ``text`` with user, password, query and fragment of every address replaced by ``***``."""
    text = _USER.sub(r"\1***@", _AFTER_PATH.sub(r"\1?***", text))
    return _QUERY_WITHOUT_SCHEME.sub(r"\1***", _USER_WITHOUT_SCHEME.sub("***@", text))
