"""What was built last, so that a build whose inputs did not change is not done again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bundle.fetch.sources import Sources
from bundle.log import Log, human_bytes
from bundle.plan import Plan
from oneclick.files import write_whole
from oneclick.update.integrity import file_sha256

REHASHED_BYTES = 256_000_000
"""Archives up to this size are read again to see that they are still what was built; larger ones by size and time."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """A finished archive, as the summary shows it and the stamp remembers it."""

    paths: tuple[str, ...]
    size_bytes: int
    sha256: str
    """Digest of the whole archive; of the joined volumes where it is split."""
    engine: str
    modified_ns: tuple[int, ...]
    smoke: str = ""
    """What the smoke test saw; empty: not run."""
    notes: tuple[str, ...] = ()
    """What the audit wants the maintainer to know."""
    fresh: bool = field(default=True, compare=False)

    def lines(self) -> list[str]:
        """Return the last lines of a build: what, how big, which bytes, tested or not, and what to do next."""
        return [
            *(f"archive: {path}" for path in self.paths),
            f"size:    {human_bytes(self.size_bytes)} ({self.size_bytes} bytes)",
            f"sha256:  {self.sha256}",
            f"engine:  {self.engine}",
            *(f"audit:   {note}" for note in self.notes),
            f"smoke:   {self.smoke or 'NOT RUN: nobody has started this archive yet (needs Windows or Wine)'}",
            f"next:    python build.py verify {self.paths[0]}" if self.fresh else "next:    nothing changed since",
        ]


def build_unless_finished(plan: Plan, sources: Sources, log: Log, *, smoke: bool) -> Made:
    """Return the archive of ``plan``: the one that is there when nothing changed since, else a new one."""
    stamp = sources.cache.root / "builds" / f"{plan.fingerprint()}.json"
    made = _read(stamp, plan)
    if made is None:
        made = _make(plan, sources, log)
        _write(stamp, made)
    if smoke and not made.smoke:
        made = _smoke(made, log)
        _write(stamp, made)
    return made


def _make(plan: Plan, sources: Sources, log: Log) -> Made:
    from bundle.assemble import assemble

    built = assemble(plan, sources, log)
    engine = built.engine
    levels = ", ".join(level.name for level in engine.levels)
    return Made(
        paths=tuple(str(path) for path in built.archive.paths),
        size_bytes=built.archive.size_bytes,
        sha256=built.archive.sha256,
        engine=f"chatglm_cpp {engine.version} ({engine.kind}; {levels}{'; OpenBLAS' if engine.openblas else ''})",
        modified_ns=_times(built.archive.paths),
        notes=built.notes,
    )


def _smoke(made: Made, log: Log) -> Made:
    """Start the archive where Windows or Wine is there; else say loudly that nobody did."""
    from bundle.check.smoke import can_smoke, smoke_test

    if not can_smoke():
        log.warn("the archive was not started: this machine has neither Windows nor Wine (apt install wine64)")
        return made
    with log.step("Double-click the finished archive"):
        report = smoke_test(Path(made.paths[0]), log)
    return Made(**{**asdict(made), "smoke": report.summary()})


def _times(paths: Sequence[Path | str]) -> tuple[int, ...]:
    return tuple(Path(path).stat().st_mtime_ns for path in paths)


def _read(stamp: Path, plan: Plan) -> Made | None:
    """Return what the stamp remembers if the archive is still exactly that."""
    try:
        data = json.loads(stamp.read_text(encoding="utf-8"))
        lists = {key: tuple(data[key]) for key in ("paths", "modified_ns", "notes")}
        made = Made(**{**data, **lists}, fresh=False)
        paths = [Path(path) for path in made.paths]
        if paths[0].parent != plan.output or _times(paths) != made.modified_ns:
            return None
        if sum(path.stat().st_size for path in paths) != made.size_bytes:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    small = made.size_bytes <= REHASHED_BYTES and len(paths) == 1
    return made if not small or file_sha256(paths[0]) == made.sha256 else None


def _write(stamp: Path, made: Made) -> None:
    stamp.parent.mkdir(parents=True, exist_ok=True)
    data = {key: value for key, value in asdict(made).items() if key != "fresh"}
    write_whole(stamp, json.dumps(data, indent=1).encode())
