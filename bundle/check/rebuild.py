"""Is this archive what this repository builds? Built again beside it, and compared member by member."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bundle.archive.volumes import find_volumes
from bundle.archive.write import ArchiveInfo
from bundle.check.diff import ArchiveDiff, diff_archives
from bundle.check.verify import read_contents
from bundle.contents.manifest import Manifest
from bundle.errors import UsageError
from bundle.plan import Plan, resolve_plan
from bundle.recipe.recipe import RECIPES
from oneclick.update.integrity import file_sha256


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """What building again showed."""

    identical: bool
    difference: ArchiveDiff | None
    """None where the archives are the same bytes."""


def rebuild(archive: Path, output: Path, assemble: Callable[[Plan], ArchiveInfo]) -> Rebuilt:
    """Build what ``archive`` says it was built from into ``output`` and compare the two.

    assemble: builds a plan. Raises UsageError when this repository no longer has the recipe or lock it names,
    or when the archive was made with a wheel or model of its builder's own.
    """
    _, manifest = read_contents(archive)
    plan = plan_of(manifest, output)
    made = assemble(plan)
    if [file_sha256(path) for path in find_volumes(archive)] == [file_sha256(path) for path in made.paths]:
        return Rebuilt(identical=True, difference=None)
    return Rebuilt(identical=False, difference=diff_archives(archive, made.path))


def plan_of(manifest: Manifest, output: Path) -> Plan:
    """Return the plan that makes the bundle of ``manifest`` again, in ``output``."""
    build = manifest.build
    recipe, lock, engine = build["recipe"], build["lock"], build["engine"]
    for part, path in ((recipe, RECIPES / recipe["name"]), (lock, RECIPES / lock["name"])):
        if not path.is_file() or file_sha256(path) != part["sha256"]:
            raise UsageError(
                f"this repository cannot rebuild {manifest.name} {manifest.version}",
                why=f"its {part['name']} had sha256 {part['sha256']}, here it is another one",
                do="check out the commit it was released from",
            )
    if engine["kind"] == "file":
        raise UsageError(
            "an archive with a wheel of its builder's own cannot be rebuilt",
            why="the engine was given with --wheel FILE",
            do="compare its manifest by hand",
        )
    return resolve_plan(
        recipe_name=Path(recipe["name"]).stem,
        python=".".join(build["python"].split(".")[:2]),
        wheel=engine["kind"],
        with_model=build.get("model"),
        volume_size=build.get("volume_size"),
        output=output,
    )
