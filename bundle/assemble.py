"""One build from plan to archive: the table of contents of what this project does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from bundle.archive.write import ArchiveInfo, write_archive
from bundle.audit import AuditExpectations, audit_notes, audit_tree, names_of_this_machine, require_clean
from bundle.check.verify import write_sums
from bundle.contents.collect import bundle_provenance
from bundle.contents.component import Provenance
from bundle.contents.licences import collect_licenses
from bundle.contents.manifest import write_manifest
from bundle.contents.sbom import write_sbom
from bundle.disk import DISK_TROUBLE, disk_named, scratch_folder
from bundle.engine.compile.pinned import EngineDiffers, our_engine, wanted_files
from bundle.engine.request import LEVELS, EngineInfo
from bundle.engine.stage import stage_engine
from bundle.errors import BundleError, SourceError, UsageError
from bundle.fetch.sources import Sources
from bundle.log import Log
from bundle.paths import DOORS, HELP_FILE, SETTINGS_FILE
from bundle.pin.engine import engine_request
from bundle.plan import ROOT, Plan
from bundle.recipe.recipe import Model, Recipe
from bundle.stage.packages import stage_packages
from bundle.stage.python import python_version, stage_python
from bundle.stage.render import write_bat, write_text
from bundle.stage.trim import trim_tree
from oneclick.update.integrity import file_sha256

_LOST = (
    "It is slower, needs AVX2 and files that Microsoft's C++ runtime brings, cannot open a model in a folder with a "
    "Chinese name by itself, and ends at inputs that ours survives. See README, --wheel."
)
_DISK_ADVICE = "make room, or choose another folder with --output; nothing finished was lost"


@dataclass(frozen=True, kw_only=True)
class Build:
    """What a build made."""

    archive: ArchiveInfo
    engine: EngineInfo
    notes: tuple[str, ...]
    """What the audit wants the maintainer to know."""


def assemble(plan: Plan, sources: Sources, log: Log) -> Build:
    """Make ``plan.archive`` and return what it is; it replaces an older one only when it is whole.

    Raises BundleError; downloads, compiled engines and the previous archive stay as they were.
    """
    require_cached(plan, sources)
    with disk_named(plan.output, _DISK_ADVICE, only=DISK_TROUBLE), scratch_folder(plan.output, ".work-") as work:
        tree = work / plan.recipe.name
        (tree / "app").mkdir(parents=True)
        with log.step("Get Python"):
            _, python_path = sources.fetch_any(f"python@{plan.python}")
        with log.step("Get packages"):
            wheels = sources.fetch_all(plan.lock.wheels(plan.python))
        with log.step("Stage Python"):
            stage_python(python_path, plan.python, tree / "python")
            python_exact = _python_as_planned(plan, tree / "python")
        with log.step("Stage packages"):
            stage_packages(wheels, plan.python, tree / "app" / "packages")
        with log.step("Get the engine"):
            engine_wheels, kind = get_engine(plan, tree, sources, log)
        with log.step("Stage the engine"):
            engine = stage_engine(
                engine_wheels,
                tree,
                python_tag="cp" + plan.python.replace(".", ""),
                python_dir=tree / "python",
                kind=kind,
                fetch=sources.fetch,
            )
        with log.step("Stage our own files"):
            stage_payload(plan, tree, engine, python_exact)
            model_name = stage_model(plan, tree, sources)
            models = {model_name: _model_digest(plan, tree / model_name)} if model_name else {}
            trimmed = trim_tree(tree, plan.recipe.trim_of(plan.python))
        with log.step("Say what is in it"):
            provenance = bundle_provenance(plan, tree, wheels, engine_wheels, engine, python_exact, trimmed)
            collect_licenses(tree, provenance.components)
            write_sbom(tree, provenance)
            write_manifest(tree, provenance, models)
        with log.step("Audit"):
            audit(tree, provenance, engine, [ROOT, plan.output, sources.cache.root], models)
            notes = audit_notes(tree, plan.recipe.name)
        with log.step("Write the archive"), log.bar("archive", None) as bar:
            archive = write_archive(
                tree,
                plan.archive,
                root_name=plan.recipe.name,
                stored=list(models),
                digests=models,
                volume_size=plan.volume_bytes,
                progress=bar.at,
            )
        write_sums(archive)
    return Build(archive=archive, engine=engine, notes=tuple(notes))


def _python_as_planned(plan: Plan, folder: Path) -> str:
    """Return the exact version of the Python in ``folder``: the recipe's, whichever source gave it."""
    version, planned = python_version(folder), plan.recipe.python.versions[plan.python]
    if version != planned:
        raise UsageError(
            f"{plan.recipe.path.name} asks for Python {planned}, and a source in its lock gives {version}",
            why="a bundle must not depend on which source answers",
            do="correct python.versions or python.pypi_copies in the recipe, then run: python build.py lock",
        )
    return version


def require_cached(plan: Plan, sources: Sources) -> None:
    """Offline: raise SourceError naming every file of this build that the cache lacks; online: nothing.

    Of alternatives the last one is named, which comes from the package index and is the easiest to have.
    """
    lock, find = plan.lock, sources.cache.find
    wanted = list(lock.wheels(plan.python))
    pythons = lock.alternatives(f"python@{plan.python}")
    wanted += [pythons[-1]] if not any(map(find, pythons)) else []
    released = lock.alternatives(f"release@{plan.python}")
    if plan.wheel == "release" and not any(map(find, released)):
        wanted += released
    elif plan.wheel in ("auto", "compile") and not (plan.wheel == "auto" and any(map(find, released))):
        wanted += wanted_files(engine_request(plan.recipe, plan.python), lock, sources)
    sources.require_cached(wanted)


def get_engine(plan: Plan, tree: Path, sources: Sources, log: Log) -> tuple[list[Path], str]:
    """Return the engine's wheels and how they were had: ``compile``, ``release`` or ``file``.

    With ``auto`` the engine is our own build; where it can be neither fetched nor compiled, the precompiled release
    wheel is taken, with a warning of what users lose.
    """
    if plan.wheel_file:
        return [plan.wheel_file], "file"
    need = f"release@{plan.python}"
    if plan.wheel == "release":
        return [sources.fetch_any(need)[1]], "release"
    dll = tree / "python" / f"python{plan.python.replace('.', '')}.dll"
    request = engine_request(plan.recipe, plan.python, dll)
    try:
        return our_engine(request, plan.lock, sources, log, mirrors=plan.wheel == "auto"), "compile"
    except EngineDiffers:
        raise
    except BundleError as error:
        if plan.wheel == "compile":
            raise
        try:
            release = sources.fetch_any(need)[1]
        except SourceError as none:
            raise SourceError(
                "there is no engine for this bundle",
                why=f"ours: {error.what} ({error.why}); the precompiled one: {none.what} ({none.why})",
                do=error.do,
            ) from error
        log.line(f"WARNING: our engine cannot be had ({error.what}), so upstream's release is packed. {_LOST}")
        return [release], "release"


def audit(
    tree: Path, provenance: Provenance, engine: EngineInfo, folders: Sequence[Path], models: Collection[str]
) -> None:
    """Raise AuditFailed with everything in ``tree`` that must not be published.

    folders: those of this machine that no file may name. models: names of packed models.
    """
    expected = AuditExpectations(
        components=provenance.components,
        engine_levels={level.folder: LEVELS[level.name].requires for level in engine.levels},
        machine_names=names_of_this_machine(*folders),
        models=sorted(models),
    )
    require_clean(audit_tree(tree, expected))


def stage_payload(plan: Plan, tree: Path, engine: EngineInfo, python_exact: str) -> None:
    """Copy the payload, render what a user sees, write bundle.json."""
    shutil.copytree(
        ROOT / "payload" / "oneclick", tree / "app" / "oneclick", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copytree(ROOT / "docs" / "help", tree / "app" / "help")
    for name, subcommand in DOORS.items():
        write_bat("run.bat.j2", tree / name, python_dir="python", subcommand=subcommand)
    write_text("settings.toml.j2", tree / SETTINGS_FILE, newline="\r\n")
    write_text("help.html.j2", tree / HELP_FILE, recipe=plan.recipe, model=plan.recipe.model(plan.recipe.default_model))
    info = bundle_info(plan.recipe, python_exact, engine)
    (tree / "bundle.json").write_text(json.dumps(info, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (tree / "logs").mkdir()


def stage_model(plan: Plan, tree: Path, sources: Sources) -> str | None:
    """Put the model that is packed beside the .bat and return its name there; None when none is packed."""
    if plan.model:
        path, name = sources.fetch_model(plan.model), plan.model.file_name
    elif plan.model_file:
        path, name = plan.model_file, plan.recipe.model(plan.recipe.default_model).file_name
    else:
        return None
    try:
        (tree / name).hardlink_to(path)
    except OSError:  # another disk
        shutil.copyfile(path, tree / name)
    return name


def _model_digest(plan: Plan, path: Path) -> str:
    """Return the sha256 of the model that is packed: the pinned one, so that gigabytes are read once, when packing."""
    return plan.model.sha256 if plan.model else file_sha256(path)


def bundle_info(recipe: Recipe, python: str, engine: EngineInfo) -> dict[str, object]:
    """Return the content of bundle.json, the only thing that crosses from builder to payload.

    python: exact version, such as ``3.10.11``.
    """
    return {
        "format": 1,
        "name": recipe.name,
        "version": recipe.version,
        "python": python,
        "engine": engine.to_json(),
        "models": [catalogue_entry(model) for model in recipe.models],
        "default_model": recipe.default_model,
        "release": {
            "netdisk": recipe.release.netdisk,
            "netdisk_code": recipe.release.netdisk_code,
            "page": recipe.release.page,
            "public_key": recipe.release.public_key,
        },
    }


def catalogue_entry(model: Model) -> dict[str, object]:
    """Return ``model`` as bundle.json lists it; ``oneclick.bundle_info`` reads it."""
    blocks = {"block_sha256": list(model.block_sha256)} if model.block_sha256 else {}
    return {
        "id": model.id,
        "title": dict(model.title),
        "file_name": model.file_name,
        "size_bytes": model.size_bytes,
        "sha256": model.sha256,
        "header_hex": model.header_hex,
        "licence": model.licence,
        "sources": [{key: value for key, value in source.__dict__.items() if value} for source in model.sources],
        **blocks,
    }
