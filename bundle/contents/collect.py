"""What a bundle is made of, said of each part: origin, digest, licence, and the files it brought."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bundle.contents.component import Component, Provenance, wheel_component
from bundle.engine.compile.tools import LOCK as TOOLS_LOCK
from bundle.engine.request import OPENBLAS_VERSION, OPENBLAS_WHEEL, PACKAGE, EngineInfo
from bundle.paths import DOORS, HELP_FILE, SETTINGS_FILE
from bundle.pin.web_libraries import VENDOR, read_pins
from bundle.plan import ROOT, Plan
from bundle.recipe.lock import PinnedFile
from bundle.stage.trim import Trimmed
from oneclick.update.integrity import file_sha256

ENGINE_LICENCES = "licenses/engine"
"""Where staging the engine leaves its licence texts; they move to a folder per component."""
OPENBLAS = "openblas"
MSVC = "msvc-runtime"
"""What the names of the engine's licence texts start with that belong to another component."""
MSVC_FILES = ("python/vcruntime140*", "app/engine/shared/*140*.dll")


def bundle_provenance(
    plan: Plan,
    tree: Path,
    wheels: Mapping[PinnedFile, Path],
    engine_wheels: list[Path],
    engine: EngineInfo,
    python_exact: str,
    trimmed: Trimmed,
) -> Provenance:
    """Return everything manifest, SBOM and licences say about the bundle staged in ``tree``.

    python_exact: version such as ``3.10.11``. The engine's licence texts are taken out of ``tree``.
    """
    components = [
        python_component(plan.lock.alternatives(f"python@{plan.python}"), tree, python_exact),
        *(_package(pinned, path) for pinned, path in wheels.items()),
        *_engine(engine, engine_wheels, tree),
        *_web_libraries(),
        *_models(plan, tree),
        _payload(plan),
    ]
    return Provenance(
        name=plan.recipe.name,
        version=plan.recipe.version,
        components=components,
        build={
            "recipe": {"name": plan.recipe.path.name, "sha256": file_sha256(plan.recipe.path)},
            "lock": {"name": plan.recipe.lock_path.name, "sha256": file_sha256(plan.recipe.lock_path)},
            "python": python_exact,
            "trimmed": trimmed.to_json(),
            "engine": engine.to_json(),
            "tools": _tools(engine),
            **({"model": plan.model.id} if plan.model else {}),
            **({"volume_size": str(plan.volume_bytes)} if plan.volume_bytes else {}),
        },
    )


def _tools(engine: EngineInfo) -> dict[str, str]:
    """Return name -> version of the tools whose versions can change a bundle's bytes."""
    versions = {name: importlib.metadata.version(name) for name in ("jinja2", "py7zr", "uv")}
    if engine.kind == "compile":
        pins = re.findall(r"^([a-z]+)==([^ \\]+)", TOOLS_LOCK.read_text(encoding="utf-8"), re.MULTILINE)
        versions |= dict(pins)
    return dict(sorted(versions.items()))


def python_component(alternatives: Sequence[PinnedFile], tree: Path, version: str) -> Component:
    """Describe the embeddable Python in ``tree``, which came from one of ``alternatives``, the locked ones in order.

    All of them are named, not the one that this machine happened to reach: they hold the same files, and archives
    that two machines make of the same recipe and lock must be the same.
    """
    places = [f"PyPI: {pinned.name}" if pinned.project else f"python.org: {pinned.path}" for pinned in alternatives]
    if len(alternatives) > 1:
        places = [f"{place} (sha256 {pinned.sha256})" for place, pinned in zip(places, alternatives, strict=True)]
    return Component(
        name="Python",
        version=version,
        kind="python",
        licence="PSF-2.0",
        files=("python/*",),
        source=" or ".join(places),
        sha256=alternatives[0].sha256 if len(alternatives) == 1 else "",
        licence_texts={"LICENSE.txt": (tree / "python" / "LICENSE.txt").read_bytes()},
        homepage="https://www.python.org/",
    )


def _package(pinned: PinnedFile, wheel: Path) -> Component:
    component = wheel_component(wheel, "app/packages", source=f"PyPI: {pinned.name}", sha256=pinned.sha256)
    known = LICENCE_TEXTS / f"{component.name}-LICENSE.txt"
    if component.licence_texts or not known.is_file():
        return component
    return dataclasses.replace(component, licence_texts={"LICENSE.txt": known.read_bytes()})


def _engine(engine: EngineInfo, wheels: list[Path], tree: Path) -> Iterator[Component]:
    """Yield the engine and the libraries that came with it, and take their licence texts out of ``tree``."""
    texts_dir = tree / ENGINE_LICENCES
    texts = {path.name: path.read_bytes() for path in sorted(texts_dir.iterdir())}
    shutil.rmtree(texts_dir)
    openblas, msvc = _take(texts, OPENBLAS), _take(texts, MSVC)
    if engine.openblas:
        yield Component(
            name="OpenBLAS",
            version=OPENBLAS_VERSION,
            kind="library",
            licence="BSD-3-Clause",
            files=("app/engine/shared/libscipy_openblas*",),
            source=f"PyPI: {OPENBLAS_WHEEL}",
            licence_texts=openblas,
            homepage="https://www.openblas.net/",
        )
    note = LICENCE_TEXTS / "msvc-runtime-NOTE.txt"
    yield Component(
        name="Microsoft Visual C++ runtime",
        version="14",
        kind="runtime",
        licence="Microsoft Visual Studio terms (distributable code)",
        files=(*MSVC_FILES, *_runtime_of_packages(tree)),
        source="with Python, with packages, and PyPI: msvc-runtime",
        licence_texts={note.name: note.read_bytes(), **msvc},
    )
    how = {"release": "GitHub: li-plus/chatglm.cpp", "compile": "compiled from PyPI's sdist", "file": "given"}
    yield Component(
        name=PACKAGE,
        version=engine.version,
        kind="engine",
        licence="MIT",
        files=("app/engine/*",),
        source=f"{how[engine.kind]}: {wheels[0].name}",
        sha256=file_sha256(wheels[0]),
        licence_texts=texts,
        homepage="https://github.com/li-plus/chatglm.cpp",
    )


def _runtime_of_packages(tree: Path) -> list[str]:
    """Return the names of Microsoft's DLLs in packages: brought by their wheels, or put beside a module by staging."""
    return [path.relative_to(tree).as_posix() for path in sorted((tree / "app" / "packages").rglob("*140*.dll"))]


def _take(texts: dict[str, bytes], prefix: str) -> dict[str, bytes]:
    """Remove the texts whose names start with ``prefix`` and return them."""
    return {name: texts.pop(name) for name in list(texts) if name.startswith(prefix)}


def _web_libraries() -> Iterator[Component]:
    for package in read_pins():
        folder = VENDOR / package.folder
        texts = {path.name: path.read_bytes() for path in sorted(folder.rglob("LICENSE*")) if path.is_file()}
        yield Component(
            name=package.folder,
            version=package.version,
            kind="web",
            licence=package.licence,
            files=(f"app/oneclick/web/vendor/{package.folder}/*",),
            source=f"npm: {package.name}@{package.version} ({package.integrity})",
            licence_texts=texts,
        )


OWN_FILES = (
    "app/oneclick/*",
    "app/help/*",
    "licenses/*",
    "bundle.json",
    "sbom.cdx.json",
    HELP_FILE,
    SETTINGS_FILE,
    *DOORS,
)
"""What this repository itself puts into a bundle; a file that nobody names must not ship."""
LICENCE_TEXTS = Path(__file__).with_name("licence_texts")
"""``<package>-LICENSE.txt`` of packages whose wheels forget their licence."""
MODEL_NOTE = """ChatGLM3-6B

The model is not part of this software. Zhipu AI and Tsinghua University's KEG lab publish it under
their own licence; read it before you use the model:

    {licence}

In short: free for academic research; commercial use asks for a registration first.

模型不属于本软件，由智谱 AI 与清华大学 KEG 实验室按他们的许可协议发布，使用前请阅读上面的链接。
学术研究可以自由使用；商业使用需要先登记。
"""


def _models(plan: Plan, tree: Path) -> Iterator[Component]:
    """Yield the model: its licence ships always, its file only when it is packed."""
    model = plan.model or plan.recipe.model(plan.recipe.default_model)
    packed = (tree / model.file_name).is_file()
    yield Component(
        name="ChatGLM3-6B",
        version=model.id if not plan.model_file else plan.model_file.name,
        kind="model",
        licence="ChatGLM3 Model License",
        files=(model.file_name,) if packed else (),
        source=", ".join(source.name for source in model.sources) if not plan.model_file else "given",
        sha256=model.sha256 if plan.model else "",
        licence_texts={"MODEL_LICENSE.txt": MODEL_NOTE.format(licence=model.licence).encode()},
        homepage=model.licence,
    )


def _payload(plan: Plan) -> Component:
    return Component(
        name="chatglm3-oneclick",
        version=plan.recipe.version,
        kind="payload",
        licence="MIT",
        files=OWN_FILES,
        source="this repository",
        licence_texts={"LICENSE.txt": (ROOT / "LICENSE").read_bytes()},
    )
