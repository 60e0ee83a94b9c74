"""``smoke``, ``accept``, ``verify``, ``diff`` and ``size``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from bundle.assemble import assemble
from bundle.check.diff import diff_archives
from bundle.check.rebuild import rebuild
from bundle.check.size import size_report
from bundle.check.smoke import smoke_test
from bundle.check.verify import verify_archive
from bundle.cli.options import source_options, sources_of
from bundle.errors import UsageError
from bundle.log import Log
from bundle.recipe.recipe import read_recipe
from oneclick.files import write_whole


@click.command()
@click.argument("archive", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--model", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Chat with this model.")
@click.option(
    "--windows-build", type=int, default=0, metavar="N", help="Under Wine: be this build of Windows, such as 22631."
)
def smoke(archive: Path, model: Path | None, windows_build: int) -> None:
    """Extract an archive into an awkward folder, double-click it, chat, and stop it."""
    log = Log()
    with log.step("Double-click the finished archive"):
        report = smoke_test(archive, log, model=model, windows_build=windows_build)
    click.echo(report.summary())


@click.command()
@click.argument("model", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--archive", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Instead of the default's."
)
@click.option("--recipe", "recipe_name", metavar="NAME|FILE", default="chatglm3", show_default=True)
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), help="Write the two files there.")
def accept(model: Path, archive: Path | None, recipe_name: str, output: Path | None) -> int:
    """Try an archive with a real model file: tokens, sentences, forms, speed, memory.

    Writes acceptance.json and acceptance.md beside the archive. Exit 1: something failed; 2: not all could be known.
    """
    from bundle.check.accept import accept as try_it

    recipe = read_recipe(recipe_name)
    archive = archive or Path("dist") / f"{recipe.name}.7z"
    if not archive.is_file():
        raise UsageError(
            f"{archive} does not exist", why="nothing was built here yet", do="run build.py, or give --archive"
        )
    report = try_it(model, archive, recipe, Log())
    folder = output or archive.parent
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "acceptance.json", report.to_json().encode())
    write_whole(folder / "acceptance.md", report.markdown().encode())
    click.echo(report.markdown())
    return report.exit_code


@click.command()
@click.argument("archive", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the report for programs.")
@click.option("--rebuild", is_flag=True, help="Also build it again and say whether the bytes are the same.")
@source_options
def verify(archive: Path, as_json: bool, rebuild: bool, cache: Path | None, mirrors: str, offline: bool) -> int:
    """Compare an archive (or its volumes) with its own manifest, without unpacking it to disk."""
    log = Log()
    with log.bar("verify", None) as bar:
        report = verify_archive(archive, progress=bar.at)
    click.echo(json.dumps(report.to_json(), indent=1) if as_json else "\n".join(report.lines()))
    if not report.ok:
        return 5
    return _rebuild(archive, log, cache, mirrors, offline) if rebuild else 0


def _rebuild(archive: Path, log: Log, cache: Path | None, mirrors: str, offline: bool) -> int:
    import tempfile

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        result = rebuild(
            archive,
            Path(scratch),
            lambda plan: assemble(plan, sources_of(plan, log, cache, mirrors, offline), log).archive,
        )
    if result.difference is None:
        click.echo("rebuilt: this repository builds exactly these bytes")
        return 0
    click.echo("rebuilt: this repository builds something else:")
    click.echo("\n".join(result.difference.lines()))
    return 5


@click.command()
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the report for programs.")
def diff(before: Path, after: Path, as_json: bool) -> None:
    """Say what changed between two archives, by part and by file."""
    report = diff_archives(before, after)
    click.echo(json.dumps(report.to_json(), indent=1) if as_json else "\n".join(report.lines()))


@click.command()
@click.argument("archive", type=click.Path(path_type=Path, exists=True))
@click.option("--json", "as_json", is_flag=True, help="Print the report for programs.")
def size(archive: Path, as_json: bool) -> None:
    """Say what weighs how much in an archive or a staged folder."""
    report = size_report(archive)
    click.echo(json.dumps(report.to_json(), indent=1) if as_json else "\n".join(report.lines()))
