"""What a model file holds, who can load it and what it takes, for maintainers' eyes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bundle.errors import UsageError
from bundle.log import Log, human_bytes
from bundle.model.quantize.published import PUBLISHED
from oneclick.errors import OneClickError
from oneclick.hashing import sha256_of
from oneclick.model.check import check_model, read_tokenizer
from oneclick.model.header import SPECIAL_TOKENS, ModelHeader, read_header
from oneclick.model.layout import Tensor, tensor_layout
from oneclick.model.memory import MemoryNeed, memory_need
from oneclick.pieces import Pieces

CONTEXTS = (2048, 4096, 8192, 32768)
"""Context lengths in tokens whose memory is told, as far as the model goes."""


@dataclass(frozen=True)
class InspectReport:
    """Everything ``inspect_model`` found; ``str()`` of it is the text for the terminal."""

    path: Path
    header: ModelHeader
    size_bytes: int
    problem: str
    """Why the file cannot be used; empty: it is complete and every tensor record is in its place."""
    pieces: int
    """Pieces of the sentencepiece tokenizer, without the special tokens."""
    sha256: str
    """Empty when it was not asked for."""
    published: str
    """Which published file this is; empty: none that is known."""
    tensors: tuple[Tensor, ...]
    memory: dict[int, MemoryNeed]
    """Context in tokens -> memory."""

    @property
    def engines(self) -> str:
        """Which releases of chatglm_cpp load the file."""
        return "chatglm_cpp 0.3.0 to 0.4.2" if self.header.version == 1 else "chatglm_cpp 0.3.2 to 0.4.2, not 0.3.0"

    def text(self, *, tensors: bool = False) -> str:
        """Return the report, one fact a line; with ``tensors`` also every tensor's name, shape, type and place."""
        h = self.header
        ids = {"bos": h.bos_token_id, "eos": h.eos_token_id, "pad": h.pad_token_id, "sep": h.sep_token_id}
        spare = h.vocab_size - self.pieces - len(SPECIAL_TOKENS)
        facts = [
            ("model", f"{h.architecture}, {h.dtype}, file version {h.version}"),
            ("size", f"{self.size_bytes} B ({human_bytes(self.size_bytes)})"),
            ("state", self.problem.replace("\n", " ") or "complete"),
            ("sha256", self.sha256 or "not computed"),
            ("published", self.published or ("no published file known has this digest" if self.sha256 else "")),
            ("engines", self.engines),
            ("context", f"{h.sequence_length} tokens, rope theta {h.rope_theta:g}"),
            ("shape", f"{h.num_layers} layers, hidden {h.hidden_size}, feed-forward {h.intermediate_size}"),
            ("heads", f"{h.num_heads}, {h.num_kv_heads} for keys and values, {h.head_size} wide"),
            ("vocabulary", f"{h.vocab_size} rows: {self.pieces} pieces, {len(SPECIAL_TOKENS)} special, {spare} unused"),
            ("token ids", ", ".join(f"{name} {value}" for name, value in ids.items() if value >= 0) or "none"),
            ("tokenizer", f"{h.tokenizer_length} B at {h.tokenizer_offset}"),
            *self._tensor_facts(),
            *self._memory_facts(),
        ]
        lines = [str(self.path), *(f"  {name:<12}{value}" for name, value in facts if value)]
        if tensors:
            lines += [_tensor_line(tensor) for tensor in self.tensors]
        return "\n".join(lines)

    __str__ = text

    def _tensor_facts(self) -> list[tuple[str, str]]:
        counts, sizes = Counter[str](), Counter[str]()
        for tensor in self.tensors:
            counts[tensor.dtype] += 1
            sizes[tensor.dtype] += tensor.size_bytes
        return [("tensors", f"{counts[dtype]} {dtype}, {human_bytes(sizes[dtype])}") for dtype in counts]

    def _memory_facts(self) -> list[tuple[str, str]]:
        return [("memory", f"{_memory_line(need)}, for {context} tokens") for context, need in self.memory.items()]


def _memory_line(need: MemoryNeed) -> str:
    parts = {"weights": need.weights_bytes, "context": need.kv_bytes, "work": need.work_bytes}
    listed = ", ".join(f"{name} {human_bytes(size_bytes)}" for name, size_bytes in parts.items())
    return f"{human_bytes(need.total_bytes)}: {listed}"


def inspect_model(path: Path, *, digest: bool = True, log: Log | None = None) -> InspectReport:
    """Return what the model file ``path`` holds; UsageError when it is no ChatGLM3 model file at all.

    A file that is cut off or damaged inside still has a report, with its ``problem``. ``digest``: hash the file too.
    """
    try:
        header = read_header(path)
    except OneClickError as error:
        raise UsageError(
            f"{path.name} is not a model file", why=error.both()[1].splitlines()[0], do="give a chatglm.cpp file"
        ) from error
    problem, pieces, sha256 = "", 0, ""
    try:
        pieces = Pieces(read_tokenizer(path)).count
        check_model(path)
    except OneClickError as error:
        problem = error.both()[1]
    size_bytes = path.stat().st_size
    if digest:
        with (log or Log()).bar("sha256", size_bytes) as bar:
            sha256 = sha256_of(path, progress=bar.at)
    return InspectReport(
        path=path,
        header=header,
        size_bytes=size_bytes,
        problem=problem,
        pieces=pieces,
        sha256=sha256,
        published=PUBLISHED.get(sha256, ""),
        tensors=tensor_layout(header),
        memory={context: memory_need(header, context) for context in CONTEXTS if context <= header.sequence_length},
    )


def _tensor_line(tensor: Tensor) -> str:
    shape = " x ".join(map(str, tensor.shape))
    return f"  {tensor.offset:>12} {tensor.size_bytes:>11} {tensor.dtype:<5}{shape:<16}{tensor.name}"
