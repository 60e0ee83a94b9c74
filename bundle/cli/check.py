"""``smoke``, ``verify``, ``diff`` and ``size``."""

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
from bundle.log import Log


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
