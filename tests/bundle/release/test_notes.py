"""Release notes list the true differences of two manifests, in both languages."""

from __future__ import annotations

import pytest

from bundle.contents.manifest import Manifest, ManifestFile
from bundle.engine.request import LEVELS
from bundle.release.notes import write_notes

KINDS = {"Python": "python", "tqdm": "package", "chatglm_cpp": "engine", "ours": "payload", "marked": "web"}


def manifest(
    files: dict[str, tuple[str, str]],
    versions: dict[str, str],
    version: str = "1.0.0",
    build: dict[str, object] | None = None,
) -> Manifest:
    """files: path -> (component, content)."""
    lines = tuple(
        ManifestFile(path=path, size_bytes=1000, sha256=content, origin=origin)
        for path, (origin, content) in sorted(files.items())
    )
    components = tuple({"name": name, "version": text, "kind": KINDS[name]} for name, text in versions.items())
    return Manifest(name="ChatGLM3_cpp", version=version, files=lines, components=components, build=build or {})


OLD = manifest(
    {
        "python/python310.dll": ("Python", "1"),
        "app/packages/tqdm/a.py": ("tqdm", "1"),
        "app/engine/avx2/e.pyd": ("chatglm_cpp", "1"),
        "app/oneclick/__main__.py": ("ours", "1"),
        "app/oneclick/server/api/app.py": ("ours", "1"),
        "设置.toml": ("ours", "1"),
        "sbom.cdx.json": ("ours", "1"),
    },
    {"Python": "3.10.11", "tqdm": "4.69", "chatglm_cpp": "0.3.0", "ours": "1.0.0"},
)


def changed() -> dict[str, tuple[str, str]]:
    """The files of OLD, to be changed."""
    return {file.path: (file.origin, file.sha256) for file in OLD.files}


def test_versions_of_parts_and_areas_of_our_own_files_are_named() -> None:
    files = changed()
    files |= {
        "python/python310.dll": ("Python", "2"),
        "app/packages/tqdm/a.py": ("tqdm", "2"),
        "app/oneclick/server/api/app.py": ("ours", "2"),
        "app/oneclick/server/new.py": ("ours", "2"),
        "app/oneclick/web/vendor/marked/m.js": ("marked", "1"),
        "sbom.cdx.json": ("ours", "2"),
    }
    del files["app/oneclick/__main__.py"]
    after = manifest(
        files, {"Python": "3.11.9", "tqdm": "4.70", "chatglm_cpp": "0.3.0", "ours": "1.1.0", "marked": "18"}, "1.1.0"
    )
    notes = write_notes(after, OLD, download_bytes=12_000_000, download_bytes_before=11_000_000)
    assert notes.in_language("en") == [
        "Python 3.10.11 → 3.11.9",
        "The server changed (2 files)",
        "Start-up and checks changed",
        "Libraries: marked 18 (new), tqdm 4.69 → 4.70",
        "Unpacked 7.0 kB → 8.0 kB",
        "Download size 11.0 MB → 12.0 MB",
    ]
    assert notes.in_language("zh")[3] == "组件：marked 18（新增）、tqdm 4.69 → 4.70"
    assert notes.markdown("zh").startswith("# ChatGLM3_cpp 1.1.0\n\n与 1.0.0 相比：\n\n- Python 3.10.11 → 3.11.9\n")


def test_an_engine_rebuilt_with_the_same_version_is_said_to_have_changed() -> None:
    files = changed() | {"app/engine/avx2/e.pyd": ("chatglm_cpp", "2")}
    after = manifest(files, {item["name"]: item["version"] for item in OLD.components})
    assert write_notes(after, OLD, download_bytes=1).in_language("zh")[0] == "聊天引擎 chatglm_cpp 0.3.0（文件有改动）"


def on_levels(*names: str, python: str = "3.10.11", content: str = "1") -> Manifest:
    """OLD with the engine for these CPU levels."""
    levels = [{"name": name, "folder": f"app/engine/{name}", "requires": list(LEVELS[name].requires)} for name in names]
    return manifest(
        changed() | {"app/engine/avx2/e.pyd": ("chatglm_cpp", content)},
        {item["name"]: item["version"] for item in OLD.components},
        build={"engine": {"levels": levels}, "python": python},
    )


@pytest.mark.parametrize(
    ("before", "after", "zh", "en"),
    [
        (
            ["avx2", "avx"],
            ["avx2"],
            "不再支持最高只有 AVX 的处理器",
            "Processors with no more than AVX are no longer supported",
        ),
        (
            ["avx2", "avx"],
            ["avx"],
            "AVX2 处理器改用 AVX 版引擎，会慢一些",
            "Processors with AVX2 now use the slower engine for AVX",
        ),
        (
            ["avx2"],
            ["avx2", "avx"],
            "新增支持最高只有 AVX 的处理器",
            "Processors with no more than AVX are supported now",
        ),
        (
            ["avx"],
            ["avx2", "avx"],
            "AVX2 处理器有了专用引擎，比 AVX 版快",
            "A faster engine than that for AVX on processors with AVX2",
        ),
    ],
    ids=["dropped", "dropped, but served", "new PCs", "faster"],
)
def test_a_cpu_level_that_came_or_went_is_said_first(before: list[str], after: list[str], zh: str, en: str) -> None:
    notes = write_notes(on_levels(*after, content="2"), on_levels(*before), download_bytes=1)
    assert (notes.in_language("zh")[0], notes.in_language("en")[0]) == (zh, en)
    assert "处理器" not in "".join(notes.in_language("zh")[1:])


def test_another_python_is_said_with_what_it_means_and_a_newer_patch_of_it_is_not() -> None:
    before = on_levels("avx2")
    other = write_notes(on_levels("avx2", python="3.11.9", content="2"), before, download_bytes=1)
    assert "不再提供 Python 3.10，换成 3.11：自己装进去的扩展包要重新安装" in other.in_language("zh")
    assert any(line.startswith("Python 3.10 was dropped for 3.11") for line in other.in_language("en"))
    newer = write_notes(on_levels("avx2", python="3.10.12", content="2"), before, download_bytes=1)
    assert "dropped" not in newer.markdown("en")


def test_a_manifest_that_says_nothing_of_levels_gives_no_line() -> None:
    before = manifest(changed(), {item["name"]: item["version"] for item in OLD.components}, build={"engine": "old"})
    assert "处理器" not in write_notes(on_levels("avx2", content="2"), OLD, download_bytes=1).markdown("zh")
    assert "处理器" not in write_notes(on_levels("avx2", content="2"), before, download_bytes=1).markdown("zh")


def test_the_same_files_are_said_to_be_the_same() -> None:
    lines = write_notes(OLD, OLD, download_bytes=1).in_language("en")
    assert lines == ["The files are the same as in the previous release", "Download size 1 B"]


def test_a_first_release_says_what_is_in_it() -> None:
    notes = write_notes(OLD, None, download_bytes=5, message=("", "Hello"))
    assert notes.in_language("zh")[:3] == ["Hello", "Python 3.10.11", "聊天引擎 chatglm_cpp 0.3.0"]
    assert "What is in it:" in notes.markdown("en")
