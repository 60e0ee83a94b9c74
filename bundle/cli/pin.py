"""``lock``."""

from __future__ import annotations

from pathlib import Path

import click

from bundle.cli.options import recipe_option
from bundle.fetch.cache import Cache, default_cache_dir
from bundle.fetch.sources import Sources
from bundle.log import Log
from bundle.pin.blocks import pin_blocks
from bundle.pin.engine import pin_engine
from bundle.pin.refresh import check_lock, refresh_lock, write_lock
from bundle.recipe.lock import read_lock
from bundle.recipe.recipe import read_recipe


@click.command()
@recipe_option
@click.option("--check", is_flag=True, help="Only compare the lock with the recipe and the package index.")
@click.option(
    "--model",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Only add the block digests of this model of the catalogue: damage in its download then costs 64 MiB.",
)
@click.option(
    "--engine", is_flag=True, help="Only renew the pins of our own engine: compile it for each Python (2 min each)."
)
def lock(recipe_name: str, check: bool, model: Path | None, engine: bool) -> int:
    """Refresh the pins of a recipe, or check them (exit 4 when one is wrong)."""
    recipe = read_recipe(recipe_name)
    if model is not None:
        log = Log()
        with log.bar(f"hash {model.name}", model.stat().st_size) as bar:
            refreshed, known = pin_blocks(recipe, read_lock(recipe), model, bar.at)
        write_lock(refreshed)
        click.echo(f"{recipe.lock_path}: {len(refreshed.blocks[known.sha256])} blocks of {known.id}")
        return 0
    if check:
        problems = check_lock(recipe)
        for problem in problems:
            click.echo(problem)
        click.echo(f"{recipe.lock_path.name}: " + (f"{len(problems)} problem(s)" if problems else "as it should be"))
        return 4 if problems else 0
    log = Log()
    refreshed = read_lock(recipe) if engine else refresh_lock(recipe, log)
    sources = Sources(recipe, refreshed, Cache(default_cache_dir()), log)
    refreshed = pin_engine(recipe, refreshed, sources, log, anew=engine)
    write_lock(refreshed)
    for python, pin in refreshed.engine.items():
        for wheel in pin.wheel:
            click.echo(f"{python} {wheel.level}: sha256 {wheel.sha256}  {wheel.name}")
    click.echo(recipe.lock_path)
    return 0
