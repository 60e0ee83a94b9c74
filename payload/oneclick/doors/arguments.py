"""What may follow ``一键运行.bat`` on a command line or in the properties of a shortcut."""

from __future__ import annotations

import argparse
from typing import NoReturn, Sequence

from oneclick.errors import OneClickError
from oneclick.messages import say


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise OneClickError("launcher.bad_argument", reason=message, usage=say("launcher.usage"))


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Return what ``arguments`` ask for; None where nothing was asked. Raises OneClickError for a wrong one."""
    parser = _Parser(prog="oneclick", usage=say("launcher.usage"), add_help=True, allow_abbrev=False)
    parser.add_argument("--port", type=_port)
    parser.add_argument("--host")
    parser.add_argument("--no-browser", dest="browser", action="store_const", const=False)
    parser.add_argument("--model")
    parser.add_argument("--context", type=int)
    parser.add_argument("--threads", type=_threads)
    known, unknown = parser.parse_known_args(arguments)
    if unknown:
        name = unknown[0].partition("=")[0]
        parser.error(name if name.startswith("--") else "...")  # the rest may be a password or a key
    return known


def _port(text: str) -> int:
    """0 lets the system choose, for tests and scripts."""
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError("0...65535")
    return port


def _threads(text: str) -> object | None:
    return text if text in ("physical", "auto") else int(text)
