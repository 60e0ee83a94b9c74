"""The misbehaving server of the download, for the windows that show one."""

from __future__ import annotations

from tests.payload.download.conftest import english as english
from tests.payload.download.conftest import server as server
