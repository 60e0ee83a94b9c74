"""``quantize`` and ``inspect``."""

from __future__ import annotations

from pathlib import Path

import click

from bundle.fetch.cache import default_cache_dir
from bundle.log import Log, human_bytes
from bundle.model.inspect import inspect_model
from bundle.model.quantize.convert import quantize as convert
from bundle.model.random_model import write_random_model


@click.command()
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
    "--cache", type=click.Path(path_type=Path, file_okay=False), help="Folder for downloads: SOURCE takes about 12 GB."
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
    cache: Path | None,
    shape_test: str | None,
) -> None:
    """Turn original ChatGLM3 weights (a folder, or a hub id such as THUDM/chatglm3-6b) into a model file."""
    if (source is None) == (shape_test is None):
        raise click.UsageError("give SOURCE, or --shape-test and a shape")
    if shape_test:
        write_random_model(output, shape_test, dtype, header_version=header_version)
        click.echo(f"model:   {output}")
        return

    assert source is not None
    made = convert(
        source,
        dtype,
        output,
        header_version=header_version,
        workers=workers,
        log=Log(),
        check=check,
        downloads=(cache or default_cache_dir()) / "weights",
        mirrors=mirrors,
    )
    click.echo(f"model:   {made.path}")
    click.echo(f"size:    {human_bytes(made.size_bytes)} ({made.size_bytes} bytes)")
    if made.published:
        click.echo(f"same as: {made.published} (python build.py lock --model {made.path} pins its blocks)")


@click.command()
@click.argument("model", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--no-digest", is_flag=True, help="Do not hash the file.")
@click.option("--tensors", is_flag=True, help="List every tensor.")
def inspect(model: Path, no_digest: bool, tensors: bool) -> None:
    """Print what a model file holds, which engines load it, and the memory it needs."""
    click.echo(inspect_model(model, digest=not no_digest, log=Log()).text(tensors=tensors))
