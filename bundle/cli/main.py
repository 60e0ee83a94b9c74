"""The maintainer's command line: options in, exit code out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

import click

from bundle.cli.options import INTERRUPTED
from bundle.errors import BundleError


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; only here are BundleErrors caught."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a console that lacks a character must not end a build
    from oneclick.messages import set_language

    set_language("en")  # the builder speaks English; what it shares with the payload does both
    debug = "--debug" in arguments
    words = [word for word in arguments if word != "--debug"]
    if not words or (words[0].startswith("-") and words[0] not in ("--help", "-h")):
        words.insert(0, "build")
    try:
        result = cli.main(words, prog_name="build.py", standalone_mode=False, obj=main)
    except click.ClickException as error:
        error.show()
        return 2
    except (KeyboardInterrupt, click.Abort):
        sys.stderr.write("stopped; what was downloaded or compiled is kept for the next run\n")
        return INTERRUPTED
    except BundleError as error:
        if debug:
            raise
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return result if isinstance(result, int) else 0


COMMANDS = {
    "build": "build",
    "wheel": "build",
    "smoke": "check",
    "verify": "check",
    "diff": "check",
    "size": "check",
    "quantize": "model",
    "inspect": "model",
    "lock": "pin",
    "clean": "build",
    "publish": "release",
    "patch": "release",
    "matrix": "release",
}
"""Command -> the module of this folder that it is in."""


class _Commands(click.Group):
    """Imports a command when it is asked for: most need a library that no other one does."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"bundle.cli.{COMMANDS[cmd_name]}"), cmd_name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
def cli() -> None:
    """Builds ChatGLM3_cpp.7z. Without a command: build. Every command takes --debug for tracebacks."""
