"""The maintainer's command line: options in, exit code out."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bundle.errors import BundleError
from bundle.log import Log, human_bytes, human_seconds

if TYPE_CHECKING:
    from bundle.fetch.sources import Sources
    from bundle.plan import Plan
    from bundle.release.sign import Signer

INTERRUPTED = 130


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
        result = cli.main(words, prog_name="build.py", standalone_mode=False)
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


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
def cli() -> None:
    """Builds ChatGLM3_cpp.7z. Without a command: build. Every command takes --debug for tracebacks."""


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


def _signer(key: Path | None) -> Signer | None:
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


def _sources(plan: Plan, log: Log, cache: Path | None, mirrors: str, offline: bool) -> Sources:
    from bundle.fetch.cache import Cache, default_cache_dir
    from bundle.fetch.sources import Sources

    return Sources(plan.recipe, plan.lock, Cache(cache or default_cache_dir()), log, mirrors=mirrors, offline=offline)


@cli.command()
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
    from bundle.plan import resolve_plan

    log = Log()
    plan = resolve_plan(
        recipe_name=recipe_name,
        python=python,
        wheel=wheel,
        with_model=with_model,
        volume_size=volume_size,
        output=output,
    )
    sources = _sources(plan, log, cache, mirrors, offline)
    from bundle.finished import make_or_keep

    made = make_or_keep(plan, sources, log, smoke=not no_smoke)
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


@cli.command()
@plan_options
@source_options
def wheel(recipe_name: str, python: str | None, wheel: str, cache: Path | None, mirrors: str, offline: bool) -> None:
    """Get or compile the engine alone and print the paths of its wheels."""
    import tempfile

    from bundle.assemble import get_engine
    from bundle.plan import resolve_plan
    from bundle.stage.python import stage_python

    log = Log()
    with tempfile.TemporaryDirectory() as scratch:
        plan = resolve_plan(recipe_name=recipe_name, python=python, wheel=wheel, output=Path(scratch))
        sources = _sources(plan, log, cache, mirrors, offline)
        tree = Path(scratch) / "tree"
        tree.mkdir()
        stage_python(sources.fetch_any(f"python@{plan.python}")[1], plan.python, tree / "python")
        wheels, _ = get_engine(plan, tree, sources, log)
    for path in wheels:
        click.echo(path)


@cli.command()
@click.argument("archive", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--model", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Chat with this model.")
def smoke(archive: Path, model: Path | None) -> None:
    """Extract an archive into an awkward folder, double-click it, chat, and stop it."""
    from bundle.check.smoke import smoke_test

    log = Log()
    with log.step("Double-click the finished archive"):
        report = smoke_test(archive, log, model=model)
    click.echo(report.summary())


@cli.command()
@click.argument("archive", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the report for programs.")
@click.option("--rebuild", is_flag=True, help="Also build it again and say whether the bytes are the same.")
@source_options
def verify(archive: Path, as_json: bool, rebuild: bool, cache: Path | None, mirrors: str, offline: bool) -> int:
    """Compare an archive (or its volumes) with its own manifest, without unpacking it to disk."""
    import json

    from bundle.check.verify import verify_archive

    log = Log()
    with log.bar("verify", None) as bar:
        report = verify_archive(archive, progress=bar.at)
    click.echo(json.dumps(report.to_json(), indent=1) if as_json else "\n".join(report.lines()))
    if not report.ok:
        return 5
    return _rebuild(archive, log, cache, mirrors, offline) if rebuild else 0


def _rebuild(archive: Path, log: Log, cache: Path | None, mirrors: str, offline: bool) -> int:
    import tempfile

    from bundle.assemble import assemble
    from bundle.check.rebuild import rebuild

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        result = rebuild(
            archive,
            Path(scratch),
            lambda plan: assemble(plan, _sources(plan, log, cache, mirrors, offline), log).archive,
        )
    if result.difference is None:
        click.echo("rebuilt: this repository builds exactly these bytes")
        return 0
    click.echo("rebuilt: this repository builds something else:")
    click.echo("\n".join(result.difference.lines()))
    return 5


@cli.command()
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the report for programs.")
def diff(before: Path, after: Path, as_json: bool) -> None:
    """Say what changed between two archives, by part and by file."""
    import json

    from bundle.check.diff import diff_archives

    report = diff_archives(before, after)
    click.echo(json.dumps(report.to_json(), indent=1) if as_json else "\n".join(report.lines()))


@cli.command()
@click.argument("archive", type=click.Path(path_type=Path, exists=True))
@click.option("--json", "as_json", is_flag=True, help="Print the report for programs.")
def size(archive: Path, as_json: bool) -> None:
    """Say what weighs how much in an archive or a staged folder."""
    import json

    from bundle.check.size import size_report

    report = size_report(archive)
    click.echo(json.dumps(report.to_json(), indent=1) if as_json else "\n".join(report.lines()))


@cli.command()
@click.argument("source", required=False)
@click.option(
    "-t", "--type", "dtype", default="q4_0", show_default=True, help="q4_0, q4_1, q5_0, q5_1, q8_0, f16, f32."
)
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), default=Path("chatglm3-ggml.bin"))
@click.option("--header-version", type=click.IntRange(1, 2), default=1, show_default=True)
@click.option("--check", is_flag=True, help="Demand that the result is a published file.")
@click.option("--workers", type=click.IntRange(1), help="Threads; as many as cores without it.")
@click.option(
    "--mirrors",
    type=click.Choice(["auto", "cn", "global"]),
    default="auto",
    show_default=True,
    help="Which hubs are asked first for SOURCE.",
)
@click.option(
    "--shape-test", metavar="tiny|small|full", help="Without SOURCE: random weights, for tests and benchmarks."
)
def quantize(
    source: str | None,
    dtype: str,
    output: Path,
    header_version: int,
    check: bool,
    workers: int | None,
    mirrors: str,
    shape_test: str | None,
) -> None:
    """Turn original ChatGLM3 weights (a folder, or a hub id such as THUDM/chatglm3-6b) into a model file."""
    if (source is None) == (shape_test is None):
        raise click.UsageError("give SOURCE, or --shape-test and a shape")
    if shape_test:
        from bundle.model.random_model import write_random_model

        write_random_model(output, shape_test, dtype, header_version=header_version)
        click.echo(f"model:   {output}")
        return
    from bundle.fetch.cache import default_cache_dir
    from bundle.model.quantize.convert import quantize as convert

    assert source is not None
    made = convert(
        source,
        dtype,
        output,
        header_version=header_version,
        workers=workers,
        log=Log(),
        check=check,
        downloads=default_cache_dir() / "weights",
        mirrors=mirrors,
    )
    click.echo(f"model:   {made.path}")
    click.echo(f"size:    {human_bytes(made.size_bytes)} ({made.size_bytes} bytes)")
    if made.published:
        click.echo(f"same as: {made.published} (python build.py lock --model {made.path} pins its blocks)")


@cli.command()
@click.argument("model", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--no-digest", is_flag=True, help="Do not hash the file.")
@click.option("--tensors", is_flag=True, help="List every tensor.")
def inspect(model: Path, no_digest: bool, tensors: bool) -> None:
    """Print what a model file holds, which engines load it, and the memory it needs."""
    from bundle.model.inspect import inspect_model

    click.echo(inspect_model(model, digest=not no_digest, log=Log()).text(tensors=tensors))


@cli.command()
@recipe_option
@click.option("--check", is_flag=True, help="Only compare the lock with the recipe and the package index.")
@click.option(
    "--model",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Only add the block digests of this model of the catalogue: damage in its download then costs 64 MiB.",
)
def lock(recipe_name: str, check: bool, model: Path | None) -> int:
    """Refresh the pins of a recipe, or check them (exit 4 when one is wrong)."""
    from bundle.pin.refresh import check_lock, refresh_lock, write_lock
    from bundle.recipe.recipe import read_recipe

    recipe = read_recipe(recipe_name)
    if model is not None:
        from bundle.pin.blocks import pin_blocks
        from bundle.recipe.lock import read_lock

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
    write_lock(refresh_lock(recipe, Log()))
    click.echo(recipe.lock_path)
    return 0


@cli.command()
@click.option("--cache", type=click.Path(path_type=Path, file_okay=False), help="Cache folder to empty.")
def clean(cache: Path | None) -> None:
    """Delete downloads and compiled engines from the cache."""
    from bundle.fetch.cache import Cache, default_cache_dir

    click.echo(f"freed {human_bytes(Cache(cache or default_cache_dir()).clean())}")


@cli.command()
@click.argument("archive", required=False, metavar="[ARCHIVE|FOLDER]", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "places",
    required=True,
    multiple=True,
    metavar="FOLDER|PLACE",
    help="A folder, github:OWNER/REPO@TAG, hf:OWNER/NAME, modelscope:OWNER/NAME or webdav:URL; as often as you like.",
)
@click.option("--previous", type=click.Path(path_type=Path, exists=True), help="Archive, manifest or folder before it.")
@click.option(
    "--patch", "patches", multiple=True, type=click.Path(path_type=Path, exists=True), help="A patch to this archive."
)
@click.option("--message-zh", default="", help="What you want to say first, in Chinese.")
@click.option("--message-en", default="", help="The same in English.")
@key_option
@recipe_option
def publish(
    archive: Path | None,
    places: tuple[str, ...],
    previous: Path | None,
    patches: tuple[Path, ...],
    message_zh: str,
    message_en: str,
    key: Path | None,
    recipe_name: str,
) -> None:
    """Make a release folder of ARCHIVE (else of the recipe's one in dist) and upload it to the places named.

    A FOLDER that was made so before is uploaded as it is. Tokens come from the environment: GITHUB_TOKEN or GH_TOKEN,
    HF_TOKEN, MODELSCOPE_API_TOKEN, WEBDAV_USER with WEBDAV_PASSWORD.
    """
    from bundle.recipe.recipe import read_recipe
    from bundle.release.previous import read_previous
    from bundle.release.release import make_release
    from bundle.release.targets import Target, open_store, read_target
    from bundle.release.upload import upload_to_all

    recipe = read_recipe(recipe_name)
    log = Log()
    named = [read_target(place) for place in places]
    targets = [place for place in named if isinstance(place, Target)]
    folders = [place for place in named if isinstance(place, Path)]
    if archive and archive.is_dir():
        if folders:
            raise click.UsageError("a release folder is uploaded as it is: give places on the network with --to")
        folders = [archive]
    elif not folders:
        folders = [Path("dist") / "release"]
    stores = [open_store(target, folders[0], log) for target in targets]  # a missing token is said before any work
    for folder in folders if folders != [archive] else []:
        with log.step("Make the release folder"):
            release = make_release(
                archive or Path("dist") / f"{recipe.name}.7z",
                folder,
                recipe,
                previous=read_previous(previous) if previous else None,
                patches=patches,
                message=(message_zh, message_en),
                signer=_signer(key),
            )
        for file in release.archive:
            click.echo(f"sha256 {file.sha256}  {file.name}")
        click.echo(f"page:   {folder / 'index.html'}")
        if not key:
            log.line("NOT SIGNED: users' programs cannot tell who made this release. See docs/release.md for a key.")
    for done in upload_to_all(stores, folders[0], log):
        click.echo(done.line())
        click.echo(f"mirror: {done.folder_url}")


@cli.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), default=Path("dist"), show_default=True)
@key_option
def patch(old: Path, new: Path, output: Path, key: Path | None) -> None:
    """Make the small archive with which users turn OLD into NEW (publish it with --patch)."""
    from bundle.release.patch import make_patch

    log = Log()
    with log.step("Make the patch"):
        made = make_patch(old, new, output, _signer(key))
    changes = f"{len(made.patch.files)} files changed, {len(made.patch.removed)} removed"
    click.echo(f"patch:  {made.archive.path}")
    click.echo(f"size:   {human_bytes(made.archive.size_bytes)}, {made.share:.1%} of the whole archive ({changes})")
    click.echo(f"sha256: {made.archive.sha256}")


@cli.command()
@click.option("--list", "only_list", is_flag=True, help="Print every bundle with its own command.")
@click.option("--json", "as_json", is_flag=True, help="With --list: print the shares for a CI service.")
@click.option("--run", "share", metavar="N/M", help="Build the Nth of M shares; 1/1 builds everything.")
@click.option("--file", "matrix_file", type=click.Path(path_type=Path), help="Another file than recipes/matrix.toml.")
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), default=Path("dist"), show_default=True)
@click.option("--no-smoke", is_flag=True, help="Do not start the finished archives.")
def matrix(
    only_list: bool, as_json: bool, share: str | None, matrix_file: Path | None, output: Path, no_smoke: bool
) -> int:
    """List or build all bundles of a release: recipes x Pythons x engines x models."""
    import json
    import shlex

    from bundle.release.matrix import MATRIX, read_matrix, share_of, shares

    if only_list == bool(share):
        raise click.UsageError("give either --list or --run N/M")
    entries = read_matrix(matrix_file or MATRIX)
    if share is None:
        lines = [f"{entry.name}: python3 build.py {shlex.join(entry.arguments(output))}" for entry in entries]
        click.echo(json.dumps(shares(entries)) if as_json else "\n".join(lines))
        return 0
    codes = {}
    for entry in share_of(entries, share):
        click.echo(f"== {entry.name}")
        codes[entry.name] = main([*entry.arguments(output), *(["--no-smoke"] if no_smoke else [])])
        if codes[entry.name] == INTERRUPTED:
            break
    for name, code in codes.items():
        click.echo(f"{name}: " + ("done" if code == 0 else f"failed with exit code {code}"))
    return next((code for code in codes.values() if code), 0)
