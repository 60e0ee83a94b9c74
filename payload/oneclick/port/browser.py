"""Show the chat page in the user's own browser."""

from __future__ import annotations

import logging
import os
import sys

logger = logging.getLogger(__name__)


def open_page(url: str) -> bool:
    """Open ``url`` in the default browser; return False where there is none, which is never fatal."""
    try:
        if sys.platform == "win32":
            os.startfile(url)
            return True
        import webbrowser

        return webbrowser.open(url)
    except OSError as error:
        logger.warning("no browser opened: %s", error)
        return False
