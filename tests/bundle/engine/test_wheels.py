"""Wheels: what is refused, what is staged, and that writing them twice gives the same bytes."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from bundle.engine.compile.write_wheel import write_wheel
from bundle.engine.request import MSVC_RUNTIME_WHEEL, OPENBLAS_WHEEL
from bundle.engine.stage import stage_engine
from bundle.engine.wheel import check_wheel
from bundle.errors import BundleError, UsageError
from bundle.windows.instruction_set import read_instruction_sets, smallest_level
from bundle.windows.pe import is_windows_dll, read_imports
from oneclick.bundle_info import Engine, EngineLevel
from oneclick.pc.checks import levels_to_try, missing_features
from oneclick.pc.levels import FEATURES
from oneclick.pc.machine import FIRST_BUILD_THAT_KNOWS_AVX2, Cpu, conclude_features
from tests.support.tiny_pe import AVX2_CODE, AVX512_CODE, tiny_dll

METADATA = "Metadata-Version: 2.1\nName: chatglm-cpp\nVersion: 0.3.0\n"
AVX_CODE = bytes.fromhex("c5fc58c1") * 8 + b"\xc3"
"""vaddps ymm0, ymm0, ymm1, eight times, and a return."""


def make_wheel(folder: Path, *, tag: str = "cp310", version: str = "0.3.0", **files: bytes) -> Path:
    """A chatglm_cpp wheel whose _C is tiny; ``files`` (name in the package -> bytes) are added or replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    module = f"_C.{tag}-win_amd64.pyd"
    content = {"__init__.py": b"", "convert.py": b"import torch", module: tiny_dll(["kernel32.dll"])}
    content |= {module if name == "module" else name: data for name, data in files.items()}
    inside = {f"chatglm_cpp/{name}": data for name, data in content.items()}
    inside[f"chatglm_cpp-{version}.dist-info/LICENSE"] = b"MIT"
    return write_wheel(folder, version=version, tag=tag, files=inside, metadata=METADATA)


def rewrite(wheel: Path, target: Path, changes: dict[str, bytes]) -> Path:
    """``wheel`` with members added or replaced, RECORD as it was."""
    with zipfile.ZipFile(wheel) as source:
        members = {name: source.read(name) for name in source.namelist()} | changes
    with zipfile.ZipFile(target, "w") as made:
        for name, data in members.items():
            made.writestr(name, data)
    return target


def test_a_wheel_of_ours_is_accepted_and_the_same_twice(tmp_path: Path) -> None:
    first, second = make_wheel(tmp_path / "a"), make_wheel(tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()
    info = check_wheel(first, "cp310", tmp_path / "unpacked")
    assert (info.version, info.tag) == ("0.3.0", "cp310")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("chatglm_cpp-0.3.0-cp311-cp311-win_amd64.whl", "it is for cp311-cp311-win_amd64"),
        ("chatglm_cpp-0.3.0-cp310-cp310-manylinux_2_17_x86_64.whl", "manylinux"),
        ("chatglm_cpp-0.3.0-cp310-cp310-win32.whl", "win32"),
        ("numpy-1.26.0-cp310-cp310-win_amd64.whl", "it holds the package numpy"),
        ("engine.whl", "is not a wheel"),
    ],
)
def test_a_wheel_for_something_else_is_refused_by_name(tmp_path: Path, name: str, reason: str) -> None:
    wheel = shutil.copyfile(make_wheel(tmp_path / "a"), tmp_path / name)
    with pytest.raises(UsageError, match=reason):
        check_wheel(wheel, "cp310", tmp_path / "unpacked")


def test_a_wheel_renamed_to_fit_is_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "a", tag="cp311")
    renamed = shutil.copyfile(wheel, tmp_path / wheel.name.replace("cp311", "cp310"))
    with pytest.raises(UsageError, match="not the engine it is named after"):
        check_wheel(renamed, "cp310", tmp_path / "unpacked")


@pytest.mark.parametrize("cut", [0, 10, 300, -1])
def test_a_cut_wheel_is_refused(tmp_path: Path, cut: int) -> None:
    wheel = make_wheel(tmp_path / "a")
    wheel.write_bytes(wheel.read_bytes()[:cut])
    with pytest.raises(UsageError, match="cannot be unpacked safely"):
        check_wheel(wheel, "cp310", tmp_path / "unpacked")


@pytest.mark.parametrize(
    "changes",
    [
        {"../../evil.py": b"x"},
        {"C:/evil.py": b"x"},
        {"chatglm_cpp\\..\\evil.py": b"x"},
        {"chatglm_cpp/__init__.py": b"changed"},
        {"chatglm_cpp/added.py": b"not in RECORD"},
    ],
)
def test_a_wheel_that_is_not_what_its_record_says_is_refused(tmp_path: Path, changes: dict[str, bytes]) -> None:
    honest = make_wheel(tmp_path / "a")
    wheel = rewrite(honest, tmp_path / honest.name, changes)
    with pytest.raises(UsageError, match="cannot be unpacked safely"):
        check_wheel(wheel, "cp310", tmp_path / "unpacked")
    assert not (tmp_path / "evil.py").exists()


@pytest.fixture
def python_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle" / "python"
    folder.mkdir(parents=True)
    for name in ("python310.dll", "vcruntime140.dll"):
        (folder / name).write_bytes(tiny_dll())
    return folder


def no_file(name: str) -> Path:
    raise AssertionError(f"{name} was not needed")


def stage(wheels: list[Path], python_dir: Path, fetch: object = no_file) -> dict[str, object]:
    info = stage_engine(
        wheels,
        python_dir.parent,
        python_tag="cp310",
        python_dir=python_dir,
        kind="file",
        fetch=fetch,  # type: ignore[arg-type]
    )
    return info.to_json()


def test_levels_are_found_in_the_code_and_common_dlls_are_kept_once(tmp_path: Path, python_dir: Path) -> None:
    common = {"libscipy_openblas.dll": tiny_dll(["kernel32.dll"])}
    imports = ["libscipy_openblas.dll", "python310.dll"]
    avx2 = make_wheel(tmp_path / "a", module=tiny_dll(imports, code=AVX2_CODE), **common)
    avx = make_wheel(tmp_path / "b", module=tiny_dll(imports, code=AVX_CODE), **common)
    info = stage([avx2, avx], python_dir)
    assert info["openblas"] is True
    assert info["levels"] == [
        {"name": "avx2", "folder": "app/engine/avx2", "requires": ["avx2"]},
        {"name": "avx", "folder": "app/engine/avx", "requires": ["avx"]},
    ]
    engine = python_dir.parent / "app" / "engine"
    files = sorted(path.relative_to(engine).as_posix() for path in engine.rglob("*") if path.is_file())
    assert files == [
        "avx/chatglm_cpp/_C.cp310-win_amd64.pyd",
        "avx/chatglm_cpp/__init__.py",
        "avx2/chatglm_cpp/_C.cp310-win_amd64.pyd",
        "avx2/chatglm_cpp/__init__.py",
        "shared/libscipy_openblas.dll",
    ]


def test_microsofts_runtime_is_added_by_import_tables(tmp_path: Path, python_dir: Path) -> None:
    runtime = tmp_path / MSVC_RUNTIME_WHEEL
    with zipfile.ZipFile(runtime, "w") as made:
        data = "msvc_runtime-14.42.34433.data/data"
        made.writestr(f"{data}/msvcp140.dll", tiny_dll(["vcruntime140.dll", "vcruntime140_1.dll", "kernel32.dll"]))
        made.writestr(f"{data}/Scripts/vcruntime140_1.dll", tiny_dll())
        made.writestr(f"{data}/vcomp140.dll", tiny_dll())
        made.writestr("msvc_runtime-14.42.34433.dist-info/LICENSE", b"Microsoft")
    wheel = make_wheel(tmp_path / "a", module=tiny_dll(["MSVCP140.dll", "VCRUNTIME140.dll"], code=AVX2_CODE))
    info = stage([wheel], python_dir, lambda name: tmp_path / name)
    shared = python_dir.parent / "app" / "engine" / "shared"
    # vcruntime140.dll is beside Python; what msvcp140.dll itself imports is added too; vcomp140.dll is not imported
    assert sorted(file.name for file in shared.iterdir()) == ["msvcp140.dll", "vcruntime140_1.dll"]
    assert (python_dir.parent / "licenses" / "engine" / "msvc-runtime-LICENSE.txt").read_bytes() == b"Microsoft"
    assert info["openblas"] is False


def test_a_package_that_lacks_microsofts_runtime_gets_it_beside_its_module(tmp_path: Path, python_dir: Path) -> None:
    with zipfile.ZipFile(tmp_path / MSVC_RUNTIME_WHEEL, "w") as made:
        made.writestr("x.data/data/msvcp140.dll", tiny_dll(["vcruntime140.dll"]))
        made.writestr("x.dist-info/LICENSE", b"Microsoft")
    packages = python_dir.parent / "app" / "packages"
    for name in ("sentencepiece/_s.pyd", "numpy/_n.pyd", "numpy.libs/msvcp140.dll"):
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).write_bytes(tiny_dll(["MSVCP140.dll"] if name.endswith("pyd") else []))
    stage([make_wheel(tmp_path / "a", module=tiny_dll(code=AVX2_CODE))], python_dir)
    assert [path.name for path in packages.rglob("*.dll")] == ["msvcp140.dll"], "a folder of libraries serves everybody"
    shutil.rmtree(packages / "numpy.libs")
    shutil.rmtree(python_dir.parent / "app" / "engine")
    stage([tmp_path / "a" / "chatglm_cpp-0.3.0-cp310-cp310-win_amd64.whl"], python_dir, lambda name: tmp_path / name)
    assert sorted(path.parent.name for path in packages.rglob("msvcp140.dll")) == ["numpy", "sentencepiece"]
    assert (python_dir.parent / "licenses" / "engine" / "msvc-runtime-LICENSE.txt").is_file()


def test_openblas_is_added_from_its_own_wheel_with_its_licence(tmp_path: Path, python_dir: Path) -> None:
    with zipfile.ZipFile(tmp_path / OPENBLAS_WHEEL, "w") as made:
        made.writestr("scipy_openblas32/lib/libscipy_openblas.dll", tiny_dll(["kernel32.dll"]))
        made.writestr("scipy_openblas32-0.dist-info/licenses/LICENSE.txt", b"BSD")
    wheel = make_wheel(tmp_path / "a", module=tiny_dll(["libscipy_openblas.dll"], code=AVX2_CODE))
    info = stage([wheel], python_dir, lambda name: tmp_path / name)
    bundle = python_dir.parent
    assert [file.name for file in (bundle / "app" / "engine" / "shared").iterdir()] == ["libscipy_openblas.dll"]
    assert (bundle / "licenses" / "engine" / "openblas-LICENSE.txt").read_bytes() == b"BSD"
    assert info["openblas"] is True


def test_a_dll_that_nobody_has_is_an_error(tmp_path: Path, python_dir: Path) -> None:
    runtime = tmp_path / MSVC_RUNTIME_WHEEL
    with zipfile.ZipFile(runtime, "w") as made:
        made.writestr("msvc_runtime-14.42.34433.dist-info/LICENSE", b"")
    wheel = make_wheel(tmp_path / "a", module=tiny_dll(["cublas64_12.dll"]))
    with pytest.raises(BundleError, match=r"it imports cublas64_12\.dll"):
        stage([wheel], python_dir, lambda name: tmp_path / name)


def test_an_engine_for_newer_cpus_than_any_level_is_refused(tmp_path: Path, python_dir: Path) -> None:
    wheel = make_wheel(tmp_path / "a", module=tiny_dll(code=AVX512_CODE))
    with pytest.raises(UsageError, match="avx512f"):
        stage([wheel], python_dir)


def test_two_wheels_of_one_level_or_of_two_versions_are_refused(tmp_path: Path, python_dir: Path) -> None:
    first = make_wheel(tmp_path / "a", module=tiny_dll(code=AVX2_CODE))
    with pytest.raises(UsageError, match="same CPU level"):
        stage([first, first], python_dir)
    shutil.rmtree(python_dir.parent / "app")
    other = make_wheel(tmp_path / "b", version="0.3.1", module=tiny_dll(code=AVX_CODE))
    with pytest.raises(UsageError, match=r"0\.3\.0, 0\.3\.1"):
        stage([first, other], python_dir)


def test_the_lowest_level_that_runs_the_code_is_taken() -> None:
    assert smallest_level(("avx", "sse4_2"), "x") == "avx"
    assert smallest_level(("avx", "fma"), "x") == "avx2"
    assert smallest_level((), "x") == "avx"


THE_OFFICIAL_WHEEL = ("avx", "avx2", "bmi2", "f16c", "fma")
"""What disassembling chatglm_cpp-0.3.0-cp310-cp310-win_amd64.whl of upstream's release finds."""
PCS = {
    "Haswell, build 22631": ("Intel64 Family 6 Model 60 Stepping 3", "GenuineIntel", 22631),
    "Skylake, build 26100": ("Intel64 Family 6 Model 94 Stepping 3", "GenuineIntel", 26100),
    "Zen 2, build 19045": ("AMD64 Family 23 Model 113 Stepping 0", "AuthenticAMD", 19045),
    "Haswell, build 17763": ("Intel64 Family 6 Model 60 Stepping 3", "GenuineIntel", 17763),
}


@pytest.mark.parametrize("pc", PCS)
@pytest.mark.parametrize("used", [THE_OFFICIAL_WHEEL, *FEATURES.values()])
def test_what_the_audit_lets_through_runs_on_every_pc_of_its_level(pc: str, used: tuple[str, ...]) -> None:
    level = smallest_level(used, "the wheel")
    identifier, vendor, build = PCS[pc]
    knows = build >= FIRST_BUILD_THAT_KNOWS_AVX2
    features = conclude_features(has_avx=True, has_avx2=knows, knows_avx2=knows, identifier=identifier, vendor=vendor)
    cpu = Cpu(pc, 4, 8, features, certain=knows)
    staged = EngineLevel(level, f"app/engine/{level}", used)
    assert levels_to_try(cpu, Engine("chatglm_cpp", "0.3.0", "release", False, (staged,))) == (staged,)
    assert missing_features(cpu, Engine("chatglm_cpp", "0.3.0", "release", False, (staged,))) == []


def test_code_beyond_every_level_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="avx512f, which avx2 does not include"):
        smallest_level(("avx", "avx2", "avx512f"), "x")


def test_instruction_sets_and_imports_are_read(tmp_path: Path) -> None:
    (tmp_path / "x.dll").write_bytes(tiny_dll(["KERNEL32.dll", "foo.dll"], code=AVX2_CODE))
    assert read_instruction_sets(tmp_path / "x.dll") == ("avx2",)
    assert read_imports(tmp_path / "x.dll") == ["foo.dll", "kernel32.dll"]
    assert is_windows_dll("KERNEL32.dll")
    assert is_windows_dll("api-ms-win-crt-heap-l1-1-0.dll")
    assert not is_windows_dll("msvcp140.dll")
    (tmp_path / "x.dll").write_bytes(b"MZ no binary")
    for read in (read_imports, read_instruction_sets):
        with pytest.raises(UsageError, match="is not a Windows binary"):
            read(tmp_path / "x.dll")
