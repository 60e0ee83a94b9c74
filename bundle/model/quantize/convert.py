"""Streams a checkpoint through the quantiser into a model file: row blocks, all cores, little memory."""

from __future__ import annotations

import os
import queue
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from bundle.errors import DigestMismatch, UsageError
from bundle.log import Log, human_bytes, human_seconds
from bundle.model.quantize.blocks import Floats, NotFiniteError, quantize_rows
from bundle.model.quantize.checkpoint import Checkpoint, read_checkpoint
from bundle.model.quantize.floats import decode, round_to, unpack_int4
from bundle.model.quantize.partial import PartialModel, fingerprint_of
from bundle.model.quantize.published import PUBLISHED, published_like
from bundle.model.quantize.stored import StoredTensor, damaged
from oneclick.hashing import sha256_of
from oneclick.model.header import DTYPES, ModelHeader, pack_header
from oneclick.model.layout import Tensor, expected_size, pack_tensor_head, tensor_layout

PIECE_VALUES = 1 << 20
"""Weights that one worker has in hand: 4 MiB as float32, about 20 MiB with everything made of it on the way."""

MAX_WORKERS = 32
"""More do not get faster than the disk, and each takes memory."""

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Quantized:
    """A finished model file."""

    path: Path
    header: ModelHeader
    size_bytes: int
    duration_s: float
    resumed_tensors: int
    """Tensors that an earlier, interrupted run had finished."""
    sha256: str = ""
    """Known only when the file was checked."""
    published: str = ""
    """Which published file this is, byte for byte; empty: unknown, or not checked."""


def quantize(
    source: str | Path,
    dtype: str,
    output: Path,
    *,
    header_version: int = 1,
    workers: int | None = None,
    log: Log | None = None,
    check: bool = False,
    downloads: Path | None = None,
    mirrors: str = "auto",
) -> Quantized:
    """Turn the original weights at ``source`` into the model file ``output`` and return what was made.

    source: a folder, or a hub id such as ``THUDM/chatglm3-6b``, which is downloaded to ``downloads``; mirrors: which
    hubs are asked first, ``auto``, ``cn`` or ``global``.
    dtype: a key of DTYPES. header_version: 1 is read by every chatglm_cpp, 2 by 0.3.2 and later only.
    workers: threads; None: one per core. check: hash the result and demand that it is a published file.

    An interrupted run is continued by the same call. ``output`` appears only when it is complete (and right).
    Raises UsageError, SourceError, StorageError or DigestMismatch.
    """
    log = log or Log()
    started = time.monotonic()
    _check_options(dtype, header_version)
    checkpoint = read_checkpoint(_folder_of(source, downloads, log, mirrors))
    header = checkpoint.header(dtype, header_version)
    _check_rows(header)
    if check and not published_like(header):
        raise UsageError(
            f"{dtype} with this context cannot be checked",
            why="nobody has published such a file, so there is no digest to compare with",
            do=f"leave out --check, or choose one of: {', '.join(sorted(set(PUBLISHED.values())))}",
        )
    if checkpoint.rope_ratio != 1 and header_version == 1:
        log.warn(
            f"config.json has rope_ratio {checkpoint.rope_ratio:g}, which a version 1 header cannot carry: "
            "the model will answer badly; --header-version 2 carries it, for chatglm_cpp 0.3.2 and later"
        )
    layout = tensor_layout(header)
    partial = PartialModel(output, expected_size(header), _fingerprint(checkpoint, header))
    resumed = len(partial.finished)
    missing_bytes = sum(tensor.size_bytes for tensor in layout if tensor.name not in partial.finished)
    partial.open(missing_bytes, pack_header(header) + checkpoint.tokenizer)
    name = f"Quantise {checkpoint.folder.name} to {dtype}: {human_bytes(expected_size(header))}"
    with log.step(name + (f", {resumed} of {len(layout)} tensors are there" if resumed else "")):
        _Job(checkpoint, partial, layout, workers or min(os.cpu_count() or 1, MAX_WORKERS)).run(log)
    sha256 = published = ""
    if check:
        sha256, published = _check_digest(partial, header, log)
    partial.complete()
    duration_s = time.monotonic() - started
    log.line(f"{output}: {human_bytes(expected_size(header))} in {human_seconds(duration_s)}")
    return Quantized(output, header, expected_size(header), duration_s, resumed, sha256, published)


def _check_options(dtype: str, header_version: int) -> None:
    if dtype not in DTYPES:
        raise UsageError(f"unknown type {dtype!r}", why="chatglm.cpp has no such type", do=f"use {', '.join(DTYPES)}")
    if header_version not in (1, 2):
        raise UsageError(f"unknown header version {header_version}", why="there are 1 and 2", do="use 1")


def _check_rows(header: ModelHeader) -> None:
    """Raise UsageError when the rows of a matrix cannot be cut into the type's blocks."""
    block = DTYPES[header.dtype].block
    if header.hidden_size % block or header.intermediate_size % block:
        raise UsageError(
            f"this model cannot be stored as {header.dtype}",
            why=f"rows of {header.hidden_size} and {header.intermediate_size} weights are not multiples of {block}",
            do="use f16 or f32",
        )


def _folder_of(source: str | Path, downloads: Path | None, log: Log, mirrors: str) -> Path:
    folder = Path(source)
    if folder.is_dir():
        return folder
    if isinstance(source, str) and HUB_ID.fullmatch(source) and not folder.exists():
        from bundle.fetch.weights import fetch_checkpoint

        return fetch_checkpoint(source, downloads, log, mirrors=mirrors)
    raise UsageError(
        f"{source} is neither a folder nor a hub id",
        why="a file, or nothing of this name" if not folder.exists() else "it is a file",
        do="give the folder that holds config.json and the weights, or an id such as THUDM/chatglm3-6b",
    )


def _fingerprint(checkpoint: Checkpoint, header: ModelHeader) -> str:
    """Return a digest of everything that decides the file's bytes, the weights by size and time of their files."""
    files = sorted({place.file for place in checkpoint.tensors.values()})
    states = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    places = [(p.name, p.file.name, p.offset, p.stored) for p in checkpoint.tensors.values()]
    return fingerprint_of(1, header, checkpoint.tokenizer, checkpoint.model_dtype, states, sorted(places))


def _check_digest(partial: PartialModel, header: ModelHeader, log: Log) -> tuple[str, str]:
    """Return (sha256, model) of the finished part; DigestMismatch when it should be a published file and is not."""
    with log.step("Check the digest"), log.bar("sha256", expected_size(header)) as bar:
        sha256 = sha256_of(partial.path, progress=bar.at)
    if sha256 in PUBLISHED:
        log.line(f"{sha256}: the published {PUBLISHED[sha256]}, byte for byte")
        return sha256, PUBLISHED[sha256]
    bad = partial.set_aside()
    wanted = "\n".join(f"{model} has sha256 {digest}" for digest, model in published_like(header).items())
    raise DigestMismatch(
        f"{partial.output.name} is not a published model",
        why=f"its sha256 is {sha256}\n{wanted}",
        do=f"fine-tuned weights: convert without --check; else check the weights' own digests (kept: {bad.name})",
    )


@dataclass(frozen=True)
class _Piece:
    """Rows ``first`` to ``last`` of a tensor: what one worker does at once."""

    tensor: Tensor
    first: int
    last: int


class _Job:
    """Workers take pieces in the order of the file; the main thread counts, shows and saves."""

    def __init__(self, checkpoint: Checkpoint, partial: PartialModel, layout: tuple[Tensor, ...], workers: int) -> None:
        self._checkpoint = checkpoint
        self._partial = partial
        self._layout = layout
        self._workers = workers
        self._loaded_as = {"float16": "F16", "bfloat16": "BF16"}.get(checkpoint.model_dtype, "F32")
        self._pieces = self._cut()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._done: queue.Queue[_Piece | BaseException | None] = queue.Queue()

    def _cut(self) -> Iterator[_Piece]:
        for tensor in self._layout:
            if tensor.name in self._partial.finished:
                continue
            rows = tensor.shape[0]
            columns = tensor.shape[1] if len(tensor.shape) == 2 else 1
            step = max(1, PIECE_VALUES // columns)
            for first in range(0, rows, step):
                yield _Piece(tensor, first, min(first + step, rows))

    def run(self, log: Log) -> None:
        """Do all pieces; on a failure or Ctrl+C save what is finished, then raise."""
        threads = [threading.Thread(target=self._work, name=f"quantise-{n}") for n in range(self._workers)]
        for thread in threads:
            thread.start()
        try:
            self._follow(log)
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
            self._partial.save()

    def _follow(self, log: Log) -> None:
        """Count the pieces as they are done until every worker has ended; raise the first failure."""
        rows_left = {t.name: t.shape[0] for t in self._layout if t.name not in self._partial.finished}
        sizes = {tensor.name: tensor.size_bytes for tensor in self._layout}
        total_bytes = sum(sizes.values())
        done_bytes = total_bytes - sum(sizes[name] for name in rows_left)
        running = self._workers
        with log.bar("weights", total_bytes) as bar:
            while running:
                report = self._done.get()
                if report is None:
                    running -= 1
                elif isinstance(report, BaseException):
                    raise report
                else:
                    tensor, rows = report.tensor, report.last - report.first
                    rows_left[tensor.name] -= rows
                    done_bytes += tensor.size_bytes * rows // tensor.shape[0]
                    if not rows_left[tensor.name]:
                        self._partial.done(tensor.name)
                    bar.at(done_bytes)

    def _work(self) -> None:
        try:
            with _Files() as files, self._partial.path.open("r+b", buffering=0) as out:
                while not self._stop.is_set():
                    with self._lock:
                        piece = next(self._pieces, None)
                    if piece is None:
                        break
                    self._convert(piece, files, out)
                    self._done.put(piece)
        except OSError as error:
            self._done.put(self._partial.storage_error(error))
        except BaseException as error:
            self._done.put(error)
        else:
            self._done.put(None)

    def _convert(self, piece: _Piece, files: _Files, out: BinaryIO) -> None:
        tensor = piece.tensor
        place = self._checkpoint.tensors[tensor.name]
        try:
            data = quantize_rows(self._floats(piece, place, files), tensor.dtype)
        except NotFiniteError as error:
            raise damaged(
                place.file, f"{tensor.name}, rows {piece.first} to {piece.last}, holds infinity or NaN"
            ) from error
        if piece.first == 0:
            _write_at(out, tensor.record_offset, pack_tensor_head(tensor))
        _write_at(out, tensor.offset + piece.first * (tensor.size_bytes // tensor.shape[0]), data.data)

    def _floats(self, piece: _Piece, place: StoredTensor, files: _Files) -> Floats:
        """Return the piece's weights as the loaded model has them, as a matrix (or vector) of float32."""
        rows = decode(files.read(place, piece.first, piece.last), place.stored)
        if place.stored != "I8":
            return rows if place.stored == self._loaded_as else round_to(rows, self._checkpoint.model_dtype)
        rows = rows.reshape(piece.last - piece.first, -1)
        if self._checkpoint.bits == 4:
            rows = unpack_int4(rows)
        scale_place = self._checkpoint.tensors[f"{place.name}_scale"]
        scale = decode(files.read(scale_place, piece.first, piece.last), scale_place.stored)
        scale = round_to(scale, self._checkpoint.model_dtype)
        rows = rows.astype(np.float32)
        rows *= scale[:, None]
        return rows


class _Files:
    """The weight files that one worker reads, opened once each."""

    def __init__(self) -> None:
        self._open: dict[Path, BinaryIO] = {}

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in self._open.values():
            stream.close()

    def read(self, place: StoredTensor, first: int, last: int) -> memoryview:
        """Return rows ``first`` to ``last`` of a tensor as they are stored."""
        row_bytes = place.size_bytes // place.shape[0]
        if place.file not in self._open:
            self._open[place.file] = place.file.open("rb", buffering=0)
        stream = self._open[place.file]
        data = memoryview(bytearray((last - first) * row_bytes))
        stream.seek(place.offset + first * row_bytes)
        filled = 0
        while filled < len(data):
            count = stream.readinto(data[filled:])  # type: ignore[attr-defined]
            if not count:
                raise damaged(place.file, f"it ended in the middle of {place.name}: it became shorter while being read")
            filled += count
        return data


def _write_at(out: BinaryIO, offset: int, data: bytes | memoryview) -> None:
    """Write all of ``data`` at ``offset``; an unbuffered stream may take only a part at once."""
    view = memoryview(data).cast("B")
    out.seek(offset)
    while view:
        view = view[out.write(view) :]
