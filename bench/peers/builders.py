"""fspack and pynsist on the payload of our bundle: the same Python, locked packages, engine wheel and own files.

Both get every file that they would download put into their caches, so that their building is what is measured. fspack's
C launcher is compiled by the builder's own zig; pynsist needs makensis. Both are installed from the package index into
environments of their own. Neither has our engine for a second kind of CPU, licences, audit and help in it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.tools import Missing, environment, program
from bundle.engine.compile.pinned import our_engine
from bundle.engine.compile.tools import install_tools
from bundle.engine.request import OPENBLAS_WHEEL, PACKAGE
from bundle.fetch.cache import Cache, default_cache_dir
from bundle.fetch.sources import Sources
from bundle.log import Log
from bundle.pin.engine import engine_request
from bundle.plan import ROOT, Plan, resolve_plan
from bundle.stage.python import stage_python

FSPACK_PACKAGES = ("fspack==0.6.11", "pip==26.0.1")
"""fspack asks pip for wheels, also offline."""
PYNSIST_PACKAGES = ("pynsist==2.8",)
ENTRY = "from oneclick.__main__ import main\n\nif __name__ == '__main__':\n    raise SystemExit(main())\n"
PYPROJECT = """[project]
name = "chatglm3-oneclick"
version = "1.0.0"
requires-python = ">=3.8"
dependencies = [{dependencies}]
"""
INSTALLER = """[Application]
name=ChatGLM3
version=1.0.0
entry_point=oneclick.__main__:main
console=true

[Python]
version={python}
bitness=64

[Include]
packages=oneclick
local_wheels=wheels/*.whl

[Build]
directory=build
"""


@dataclass(frozen=True)
class Peer:
    """One other builder, ready to run."""

    name: str
    folder: Path
    """Its project, where it is run."""
    commands: list[list[str]]
    results: Path
    """Where its archive or installer appears; removed before each warm build, as is ``work``."""
    work: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def build(self, *, clean: bool) -> Path:
        """Run it and return what it made. Raises Missing when it fails."""
        if clean:
            for folder in {self.results, self.work}:
                shutil.rmtree(folder, ignore_errors=True)
        for command in self.commands:
            done = subprocess.run(
                command,
                cwd=self.folder,
                env={**os.environ, **self.environment},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
                raise Missing(f"{self.name} failed: {last[:200]}")
        made = [
            path for path in self.results.rglob("*") if path.suffix in (".7z", ".exe") and path.stat().st_size > 1 << 20
        ]
        if not made:
            raise Missing(f"{self.name} made no archive")
        return max(made, key=lambda path: path.stat().st_size)


def payload_parts(place: Path) -> tuple[Plan, Path, Path]:
    """Collect what our build puts together: (plan, folder of wheels, embeddable Python as python.org's zip)."""
    log = Log()
    plan = resolve_plan(wheel="compile", output=place / "dist")
    sources = Sources(plan.recipe, plan.lock, Cache(default_cache_dir()), log)
    wheels = place / "wheels"
    wheels.mkdir(parents=True)
    for pinned, path in sources.fetch_all(plan.lock.wheels(plan.python)).items():
        shutil.copy(path, wheels / pinned.name)
    stage_python(sources.fetch_any(f"python@{plan.python}")[1], plan.python, place / "python")
    dll = place / "python" / f"python{plan.python.replace('.', '')}.dll"
    (engine, *_) = our_engine(engine_request(plan.recipe, plan.python, dll), plan.lock, sources, log)
    shutil.copy(engine, wheels / engine.name)
    with (
        zipfile.ZipFile(sources.fetch(OPENBLAS_WHEEL)) as openblas,
        zipfile.ZipFile(wheels / engine.name, "a", zipfile.ZIP_DEFLATED) as wheel,
    ):
        # Our build adds the DLL when it stages the engine; theirs take only what is in a wheel.
        (name,) = [member for member in openblas.namelist() if member.endswith(".dll")]
        wheel.writestr(f"{PACKAGE}/{name.rsplit('/', 1)[-1]}", openblas.read(name))
    exact = plan.recipe.python.versions[plan.python]
    archive = place / f"python-{exact}-embed-amd64.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for file in sorted((place / "python").rglob("*")):
            out.write(file, file.relative_to(place / "python"))
    return plan, wheels, archive


def fspack(place: Path, plan: Plan, wheels: Path, python_zip: Path) -> Peer:
    """fspack: ``build`` and ``package --format 7z`` for Windows, offline. Raises Missing."""
    python = environment("fspack", FSPACK_PACKAGES)
    seven_zip = program("7zz", "7zip", "7z")
    project, cache, tools = place / "fspack", place / "fspack-cache", place / "fspack-tools"
    shutil.copytree(ROOT / "payload" / "oneclick", project / "oneclick", ignore=shutil.ignore_patterns("__pycache__"))
    (project / "main.py").write_text(ENTRY, encoding="utf-8")
    pins = [wheel.name.split("-")[:2] for wheel in sorted(wheels.iterdir())]
    dependencies = ", ".join(f'"{name}=={version}"' for name, version in pins)
    (project / "pyproject.toml").write_text(PYPROJECT.format(dependencies=dependencies), encoding="utf-8")
    shutil.copytree(wheels, cache / "wheels")
    (cache / "embed").mkdir()
    shutil.copy(python_zip, cache / "embed")
    tools.mkdir()
    if os.name == "posix":
        compiler = tools / "x86_64-w64-mingw32-gcc"
        zig = install_tools(default_cache_dir(), print).zig
        compiler.write_text(f'#!/bin/sh\nexec "{zig}" cc -target x86_64-windows-gnu -s "$@"\n', encoding="utf-8")
        compiler.chmod(0o755)
        (tools / "7z").symlink_to(seven_zip)
    exact = plan.recipe.python.versions[plan.python]
    options = [str(project), "--target", "windows", "--py-version", exact]
    program_path = str(python.with_name("fsp.exe" if os.name == "nt" else "fsp"))
    return Peer(
        name="fspack",
        folder=project,
        commands=[
            [program_path, "build", *options, "--offline", "--no-win7-dll", "--no-win7-scan"],
            [program_path, "package", *options, "--format", "7z"],
        ],
        results=project / "dist",
        work=project / "dist",
        environment={
            "FSPACK_CACHE_DIR": str(cache),
            "FSPACK_OFFLINE": "1",
            "PATH": os.pathsep.join([str(tools), str(python.parent), os.environ["PATH"]]),
        },
    )


def pynsist(place: Path, plan: Plan, wheels: Path, python_zip: Path) -> Peer:
    """pynsist: an NSIS installer. Raises Missing."""
    python = environment("pynsist", PYNSIST_PACKAGES)
    program("makensis", "nsis")
    project, cache = place / "pynsist", place / "pynsist-cache"
    shutil.copytree(ROOT / "payload" / "oneclick", project / "oneclick", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(wheels, project / "wheels")
    exact = plan.recipe.python.versions[plan.python]
    (project / "installer.cfg").write_text(INSTALLER.format(python=exact), encoding="utf-8")
    cache.mkdir()
    shutil.copy(python_zip, cache)
    return Peer(
        name="pynsist",
        folder=project,
        commands=[[str(python), "-m", "nsist", "installer.cfg"]],
        results=project / "build",
        work=project / "build",
        environment={"PYNSIST_CACHE_DIR": str(cache)},
    )
