"""Our readers of Windows binaries on some that nobody here made: MSVC's, from wheels of PyPI, beside GNU objdump.

Each wheel is small and pinned. pyllamacpp and llamacpp are ggml with /arch:AVX2, the nearest relatives of the official
engine wheel; xxhash has code for several CPUs in one module; lightgbm uses OpenMP; kiwisolver is plain C++.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from bundle.audit.cpu import check_instructions
from bundle.audit.findings import AuditExpectations, read_tree
from bundle.audit.native import check_imports, check_machine
from bundle.engine.compile.write_wheel import write_wheel
from bundle.engine.stage import stage_engine
from bundle.errors import UsageError
from bundle.fetch.cache import Cache, default_cache_dir
from bundle.fetch.sources import Sources
from bundle.log import Log
from bundle.plan import resolve_plan
from bundle.recipe.lock import PinnedFile
from bundle.windows.instruction_set import count_features, read_instruction_sets, smallest_level
from bundle.windows.pe import read_imports
from oneclick.pc.levels import FEATURES
from tests.support.build_py import build_py
from tests.support.tiny_pe import tiny_dll

pytestmark = pytest.mark.slow

OFFICIAL = "OFFICIAL_ENGINE_WHEEL"
"""Environment variable: path of chatglm_cpp-0.3.0-cp310-cp310-win_amd64.whl of upstream's release."""

WHEELS = {
    "pyllamacpp": (
        "pyllamacpp-2.4.3-cp310-cp310-win_amd64.whl",
        "b0f76537a03abed4a5043c1fff721e7be46967649842fb4dde7ee1fd60144e0c",
    ),
    "llamacpp": (
        "llamacpp-0.1.9-cp310-cp310-win_amd64.whl",
        "4be06b553723fc3ea43f6b1183157a6efb256e3e1f4e75cdaa81869703b22f4e",
    ),
    "xxhash": (
        "xxhash-4.1.0-cp310-cp310-win_amd64.whl",
        "7192d38e2a49b52b8ee33263e4e17314d912b60f324a19c8dc5b1be009e8d572",
    ),
    "kiwisolver": (
        "kiwisolver-1.5.1-cp310-cp310-win_amd64.whl",
        "96c30002424670b5e1e46495c2b8cbffef39cf77c1d79e76462029d50339785b",
    ),
    "lightgbm": (
        "lightgbm-4.7.0-py3-none-win_amd64.whl",
        "f42d1e5b32b6f170e606d7c689c6165671da98d7bf37f1addec2623efc8740c9",
    ),
}
"""Project -> wheel and its digest."""

AVX2 = ("avx", "avx2", "bmi2", "f16c", "fma")
USED = {
    "pyllamacpp": AVX2,
    "llamacpp": AVX2,
    "xxhash": ("avx", "avx2", "avx512f"),
    "kiwisolver": (),
    "lightgbm": ("avx", "avx2"),
}
"""What the one binary of each wheel uses, code that first asks the CPU included."""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    plan = resolve_plan(output=tmp_path_factory.mktemp("dist"))
    return Sources(plan.recipe, plan.lock, Cache(default_cache_dir()), Log())


@pytest.fixture(scope="module")
def binaries(sources: Sources, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Project -> its one Windows binary, from the pinned wheel."""
    found = {}
    for project, (name, sha256) in WHEELS.items():
        wheel = sources.fetch_pinned(PinnedFile(name=name, sha256=sha256, project=project))
        with zipfile.ZipFile(wheel) as opened:
            (inside,) = [member for member in opened.namelist() if member.endswith((".pyd", ".dll"))]
            found[project] = Path(opened.extract(inside, tmp_path_factory.mktemp(project)))
    return found


def objdump(*arguments: str | Path) -> str:
    program = shutil.which("objdump")
    assert program, "objdump is needed: python3 tests/run.py installs it (binutils)"
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("project", WHEELS)
def test_imports_are_those_that_objdump_reads(binaries: dict[str, Path], project: str) -> None:
    listed = re.findall(r"DLL Name: (\S+)", objdump("-p", binaries[project]))
    assert read_imports(binaries[project]) == sorted({name.lower() for name in listed})


FAMILIES = {
    "bmi2": r"(rorx|mulx|shlx|sarx|shrx|bzhi|pdep|pext)$",
    "bmi1": r"(andn|blsr|blsi|blsmsk|bextr)$",
    "lzcnt": r"lzcnt$",
    "movbe": r"movbe$",
    "fma": r"vfn?m(add|sub)",
    "f16c": r"vcvtp(h2ps|s2ph)$",
    "avx2": r"vpbroadcast|vperm(d|q|ps|pd)$|v(insert|extract|broadcast)i128|vps[lr][la]v|vpmaskmov|vp?gather|vpblendd",
}
"""Feature -> mnemonics, from Intel's manual (volume 2); what else begins with v is AVX or, on integers in ymm, AVX2."""
AVX_ON_YMM = re.compile(r"vptest|vpermil|vperm2f128")


def family(code: str, mnemonic: str, operands: str) -> str:
    """Return the CPU feature that an instruction as objdump writes it needs; "" below AVX."""
    if mnemonic == "(bad)":  # a table between two functions
        return ""
    # The byte 62 is EVEX, and nothing else in 64-bit code; masks move in VEX, too.
    if code.split()[0] == "62" or re.search(r"\bk[0-7]\b", operands):
        return "avx512"
    for name, pattern in FAMILIES.items():
        if re.match(pattern, mnemonic):
            return name
    if not mnemonic.startswith("v"):
        return ""
    integers_in_ymm = mnemonic.startswith("vp") and "ymm" in operands and not AVX_ON_YMM.match(mnemonic)
    from_register = mnemonic.startswith("vbroadcasts") and "PTR" not in operands
    return "avx2" if integers_in_ymm or from_register else "avx"


@pytest.mark.parametrize("project", WHEELS)
def test_every_instruction_is_counted_as_objdump_disassembles_it(binaries: dict[str, Path], project: str) -> None:
    theirs: Counter[str] = Counter()
    for line in objdump("-d", "-w", "-M", "intel", binaries[project]).splitlines():
        fields = line.split("\t")
        if len(fields) == 3 and fields[2].strip():
            mnemonic, _, operands = fields[2].strip().partition(" ")
            theirs[family(fields[1], mnemonic, operands)] += 1
    ours: Counter[str] = Counter()
    for name, count in count_features(binaries[project]).items():
        ours["avx512" if name.startswith("avx512") else name] += count
    wanted = ("avx", "avx2", "avx512", *(name for name in FAMILIES if name != "avx2"))
    assert {name: ours[name] for name in wanted} == {name: theirs[name] for name in wanted}


@pytest.mark.parametrize("project", WHEELS)
def test_the_level_of_each_is_what_it_uses(binaries: dict[str, Path], project: str) -> None:
    assert read_instruction_sets(binaries[project]) == USED[project]
    if project == "xxhash":
        with pytest.raises(UsageError, match="avx512f, which avx2 does not include"):
            smallest_level(USED[project], "xxhash")
    else:
        assert smallest_level(USED[project], project) == ("avx2" if USED[project] else "avx")


def engine_of(module: Path, folder: Path) -> Path:
    """An engine wheel whose module is ``module``, made by somebody else."""
    files = {"chatglm_cpp/_C.cp310-win_amd64.pyd": module.read_bytes(), "chatglm_cpp/__init__.py": b""}
    folder.mkdir()
    metadata = "Metadata-Version: 2.1\nName: chatglm-cpp\nVersion: 0.3.0\n"
    return write_wheel(folder, version="0.3.0", tag="cp310", files=files, metadata=metadata)


def findings(bundle: Path, requires: Sequence[str], level: str) -> list[str]:
    expected = AuditExpectations(engine_levels={f"app/engine/{level}": requires})
    tree = read_tree(bundle)
    return [str(one) for rule in (check_machine, check_imports, check_instructions) for one in rule(tree, expected)]


@pytest.mark.parametrize(
    ("project", "added"),
    [
        ("pyllamacpp", ["msvcp140.dll"]),
        ("llamacpp", ["msvcp140.dll"]),
        ("kiwisolver", []),
        ("lightgbm", ["msvcp140.dll", "vcomp140.dll"]),
    ],
)
def test_an_engine_by_msvc_is_staged_with_the_runtime_it_needs_and_passes_the_audit(
    binaries: dict[str, Path], sources: Sources, tmp_path: Path, project: str, added: list[str]
) -> None:
    bundle = tmp_path / "bundle"
    (bundle / "python").mkdir(parents=True)
    for name in ("python310.dll", "vcruntime140.dll", "vcruntime140_1.dll"):
        (bundle / "python" / name).write_bytes(tiny_dll())
    wheel = engine_of(binaries[project], tmp_path / "wheel")
    info = stage_engine(
        [wheel], bundle, python_tag="cp310", python_dir=bundle / "python", kind="file", fetch=sources.fetch
    )
    (level,) = info.levels
    shared = bundle / "app" / "engine" / "shared"
    assert sorted(file.name for file in shared.glob("*")) == added
    assert findings(bundle, FEATURES[level.name], level.name) == []
    assert (bundle / "licenses" / "engine" / "msvc-runtime-LICENSE.txt").is_file() == bool(added)
    for name in added:
        (shared / name).unlink()
        assert any(f"it imports {name}" in one for one in findings(bundle, FEATURES[level.name], level.name))
    if level.name == "avx2":
        assert any("it uses avx2" in one for one in findings(bundle, FEATURES["avx"], level.name))


@pytest.mark.wine
@pytest.mark.skipif(OFFICIAL not in os.environ, reason=f"{OFFICIAL} names no wheel")
def test_the_official_wheel_makes_a_whole_bundle_that_chats(tmp_path: Path) -> None:
    """The tutorial's own wheel, whose place a test machine may not reach: give its path."""
    done = build_py("build", "--wheel", os.environ[OFFICIAL], "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "engine:  chatglm_cpp 0.3.0 (file; avx2)" in done.stdout
    assert "smoke:   passed" in done.stdout
    tree = tmp_path / "extracted"
    subprocess.run(["7zz", "x", "-y", f"-o{tree}", tmp_path / "ChatGLM3_cpp.7z"], check=True, stdout=subprocess.DEVNULL)
    shared = tree / "ChatGLM3_cpp" / "app" / "engine" / "shared"
    assert [file.name for file in shared.iterdir()] == ["msvcp140.dll"]
    (module,) = (tree / "ChatGLM3_cpp" / "app" / "engine" / "avx2").rglob("*.pyd")
    assert read_instruction_sets(module) == AVX2
