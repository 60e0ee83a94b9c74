"""Options that several commands take, and what is made of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bundle.log import Log

if TYPE_CHECKING:
    from bundle.fetch.sources import Sources
    from bundle.plan import Plan
    from bundle.release.sign import Signer


INTERRUPTED = 130
"""Exit code after Ctrl+C, as shells have it."""


def recipe_option(function: Any) -> Any:
    return click.option(
        "--recipe", "recipe_name", default="chatglm3", metavar="NAME|FILE", help="Recipe to follow.", show_default=True
    )(function)


def key_option(function: Any) -> Any:
    """Add the option that says what updates are signed with."""
    return click.option(
        "--key",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        envvar="SIGNING_KEY",
        help="Secret key of minisign to sign with (or in SIGNING_KEY; its password in SIGNING_PASSWORD, else asked).",
    )(function)


def signer_of(key: Path | None) -> Signer | None:
    if key is None:
        return None
    from bundle.release.sign import read_signer

    def password() -> str:
        known = os.environ.get("SIGNING_PASSWORD")
        return known if known is not None else click.prompt(f"password of {key.name}", hide_input=True, err=True)

    return read_signer(key, password)


def source_options(function: Any) -> Any:
    """Add the options that say where files come from."""
    options = [
        click.option("--cache", type=click.Path(path_type=Path, file_okay=False), help="Folder for downloads."),
        click.option("--mirrors", type=click.Choice(["auto", "cn", "global"]), default="auto", show_default=True),
        click.option("--offline", is_flag=True, help="Take nothing from the network."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def plan_options(function: Any) -> Any:
    """Add the options that decide the archive's content."""
    options = [
        click.option("--python", help="Python inside the bundle, such as 3.10."),
        click.option("--wheel", default="auto", metavar="auto|release|compile|FILE", help="Where the engine is from."),
    ]
    for option in reversed(options):
        function = option(function)
    return recipe_option(function)


def sources_of(plan: Plan, log: Log, cache: Path | None, mirrors: str, offline: bool) -> Sources:
    from bundle.fetch.cache import Cache, default_cache_dir
    from bundle.fetch.sources import Sources

    return Sources(plan.recipe, plan.lock, Cache(cache or default_cache_dir()), log, mirrors=mirrors, offline=offline)
