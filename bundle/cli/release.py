"""``publish``, ``patch`` and ``matrix``."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from bundle.cli.options import INTERRUPTED, key_option, recipe_option, signer_of
from bundle.engine.request import PACKAGE
from bundle.fetch.cache import Cache, default_cache_dir
from bundle.fetch.sources import Sources
from bundle.log import Log, human_bytes
from bundle.recipe.lock import read_lock
from bundle.recipe.recipe import Recipe, read_recipe
from bundle.release.engine_wheels import mirror_lines
from bundle.release.matrix import MATRIX, read_matrix, share_of, shares
from bundle.release.patch import make_patch
from bundle.release.previous import read_previous
from bundle.release.release import make_release
from bundle.release.targets import Target, open_store, read_target
from bundle.release.upload import upload_to_all


@click.command()
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
                sources=Sources(recipe, read_lock(recipe), Cache(default_cache_dir()), log),
                signer=signer_of(key),
            )
        for file in release.archive:
            click.echo(f"sha256 {file.sha256}  {file.name}")
        click.echo(f"page:   {folder / 'index.html'}")
        if release.bundle["engine"]["kind"] == "compile" and not any(folder.glob(f"{PACKAGE}-*.whl")):
            log.line("the engine's wheels are not with it: not pinned (lock --engine), or not in the cache any more")
        if not key:
            log.line("NOT SIGNED: users' programs cannot tell who made this release. See docs/release.md for a key.")
    for done in upload_to_all(stores, folders[0], log):
        click.echo(done.line())
        click.echo(f"mirror: {done.folder_url}")
        _say_how_to_take_wheels(folders[0], done.folder_url, recipe)
    if not stores:
        _say_how_to_take_wheels(folders[0], recipe.release.page or "https://WHERE-THIS-FOLDER-IS-SERVED/", recipe)


def _say_how_to_take_wheels(folder: Path, address: str, recipe: Recipe) -> None:
    """Print the line for the recipe where the release in ``folder``, to be had from ``address``, holds wheels."""
    if any(folder.glob(f"{PACKAGE}-*.whl")):
        click.echo("\n".join(mirror_lines(address, recipe)))


@click.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), default=Path("dist"), show_default=True)
@key_option
def patch(old: Path, new: Path, output: Path, key: Path | None) -> None:
    """Make the small archive with which users turn OLD into NEW (publish it with --patch)."""
    log = Log()
    with log.step("Make the patch"):
        made = make_patch(old, new, output, signer_of(key))
    changes = f"{len(made.patch.files)} files changed, {len(made.patch.removed)} removed"
    click.echo(f"patch:  {made.archive.path}")
    click.echo(f"size:   {human_bytes(made.archive.size_bytes)}, {made.share:.1%} of the whole archive ({changes})")
    click.echo(f"sha256: {made.archive.sha256}")


@click.command()
@click.option("--list", "only_list", is_flag=True, help="Print every bundle with its own command.")
@click.option("--json", "as_json", is_flag=True, help="With --list: print the shares for a CI service.")
@click.option("--run", "share", metavar="N/M", help="Build the Nth of M shares; 1/1 builds everything.")
@click.option("--file", "matrix_file", type=click.Path(path_type=Path), help="Another file than recipes/matrix.toml.")
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), default=Path("dist"), show_default=True)
@click.option("--no-smoke", is_flag=True, help="Do not start the finished archives.")
@click.pass_obj
def matrix(
    run: Callable[[Sequence[str]], int],
    only_list: bool,
    as_json: bool,
    share: str | None,
    matrix_file: Path | None,
    output: Path,
    no_smoke: bool,
) -> int:
    """List or build all bundles of a release: recipes x Pythons x engines x models."""
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
        codes[entry.name] = run([*entry.arguments(output), *(["--no-smoke"] if no_smoke else [])])
        if codes[entry.name] == INTERRUPTED:
            break
    for name, code in codes.items():
        click.echo(f"{name}: " + ("done" if code == 0 else f"failed with exit code {code}"))
    return next((code for code in codes.values() if code), 0)
