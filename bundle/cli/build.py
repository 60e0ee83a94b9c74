"""``build``, ``wheel`` and ``clean``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import click

from bundle.assemble import get_engine
from bundle.cli.options import plan_options, source_options, sources_of
from bundle.fetch.cache import Cache, default_cache_dir
from bundle.finished import build_unless_finished
from bundle.log import Log, human_bytes, human_seconds
from bundle.plan import resolve_plan
from bundle.stage.python import stage_python


@click.command()
@plan_options
@click.option("--with-model", metavar="TYPE|FILE", help="Pack a model too: a catalogue name such as q4_0, or a file.")
@click.option("--volume-size", metavar="SIZE", help="Split the archive, such as 2g.")
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), default=Path("dist"), show_default=True)
@source_options
@click.option("--no-smoke", is_flag=True, help="Do not start the finished archive.")
def build(
    recipe_name: str,
    python: str | None,
    wheel: str,
    with_model: str | None,
    volume_size: str | None,
    output: Path,
    cache: Path | None,
    mirrors: str,
    offline: bool,
    no_smoke: bool,
) -> None:
    """Make the archive, audit it, and double-click it."""
    start = time.monotonic()

    log = Log()
    plan = resolve_plan(
        recipe_name=recipe_name,
        python=python,
        wheel=wheel,
        with_model=with_model,
        volume_size=volume_size,
        output=output,
    )
    sources = sources_of(plan, log, cache, mirrors, offline)

    made = build_unless_finished(plan, sources, log, smoke=not no_smoke)
    _summary(made.lines(), log, time.monotonic() - start)


def _summary(lines: Sequence[str], log: Log, total_s: float) -> None:
    """Say what was made, what took longest, what to heed."""
    longest = sorted(log.durations_s.items(), key=lambda item: -item[1])[:3]
    steps = ", ".join(f"{name} {human_seconds(seconds)}" for name, seconds in longest)
    log.line("")
    for warning in log.warnings:
        log.line(f"warning: {warning}")
    log.line(f"total time: {human_seconds(total_s)}" + (f" ({steps})" if steps else ""))
    for line in lines:
        click.echo(line)


@click.command()
@plan_options
@source_options
def wheel(recipe_name: str, python: str | None, wheel: str, cache: Path | None, mirrors: str, offline: bool) -> None:
    """Get or compile the engine alone and print the paths of its wheels."""
    import tempfile

    log = Log()
    with tempfile.TemporaryDirectory() as scratch:
        plan = resolve_plan(recipe_name=recipe_name, python=python, wheel=wheel, output=Path(scratch))
        sources = sources_of(plan, log, cache, mirrors, offline)
        tree = Path(scratch) / "tree"
        tree.mkdir()
        stage_python(sources.fetch_any(f"python@{plan.python}")[1], plan.python, tree / "python")
        wheels, _ = get_engine(plan, tree, sources, log)
    for path in wheels:
        click.echo(path)


@click.command()
@click.option("--cache", type=click.Path(path_type=Path, file_okay=False), help="Cache folder to empty.")
def clean(cache: Path | None) -> None:
    """Delete downloads and compiled engines from the cache."""
    click.echo(f"freed {human_bytes(Cache(cache or default_cache_dir()).clean())}")
