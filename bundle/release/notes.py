"""Release notes in Chinese and English: the true differences between two manifests, in the words of users."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bundle.check.diff import Change, component_changes
from bundle.contents.manifest import Manifest, ManifestFile
from bundle.log import human_bytes

Words = tuple[str, str]
"""(Chinese, English)."""

AREAS: tuple[tuple[str, Words], ...] = (
    ("app/oneclick/web/", ("聊天网页有改动", "The chat page changed")),
    ("app/oneclick/server/", ("接口服务有改动", "The server changed")),
    ("app/oneclick/engine/", ("运行模型的程序有改动", "What runs the model changed")),
    ("app/oneclick/download/", ("模型下载有改动", "Downloading the model changed")),
    ("app/oneclick/update/", ("更新程序有改动", "Updating changed")),
    ("app/oneclick/", ("启动和检查有改动", "Start-up and checks changed")),
    ("使用说明.html", ("使用说明有更新", "The help page was updated")),
    ("设置.toml", ("设置.toml 的说明有更新；您自己的设置不会被改动", "The explanations in 设置.toml were updated")),
    ("bundle.json", ("版本信息或模型目录有更新", "Version data or the list of models was updated")),
)
"""Beginning of a path of our own files -> what a change there means to a user; the first fitting one counts."""
LAUNCHERS: Words = ("双击用的 .bat 文件有改动", "The .bat files changed")
OTHERS: Words = ("其他文件有改动", "Other files changed")
KINDS: Mapping[str, Words] = {"python": ("Python", "Python"), "engine": ("聊天引擎", "Engine")}
"""Kinds of component that get a line of their own."""
LEVEL_DROPPED: tuple[Words, Words] = (
    ("{0} 处理器改用 {1} 版引擎，会慢一些", "Processors with {0} now use the slower engine for {1}"),
    ("不再支持最高只有 {0} 的处理器", "Processors with no more than {0} are no longer supported"),
)
LEVEL_ADDED: tuple[Words, Words] = (
    ("{0} 处理器有了专用引擎，比 {1} 版快", "A faster engine than that for {1} on processors with {0}"),
    ("新增支持最高只有 {0} 的处理器", "Processors with no more than {0} are supported now"),
)
"""A CPU level, and the others on which its processors could run as well; then without such others."""


@dataclass(frozen=True, kw_only=True)
class Notes:
    """What a release says about itself; every line in both languages."""

    name: str
    version: str
    previous_version: str
    """Empty for a first release."""
    lines: tuple[Words, ...]

    def in_language(self, language: str) -> list[str]:
        """The lines in ``zh`` or ``en``."""
        return [line[0] if language == "zh" else line[1] for line in self.lines]

    def markdown(self, language: str) -> str:
        """The notes as a file of their own."""
        since = {"zh": "与 {} 相比：", "en": "Compared with {}:"}[language].format(self.previous_version)
        lead = since if self.previous_version else {"zh": "内容：", "en": "What is in it:"}[language]
        lines = "".join(f"- {line}\n" for line in self.in_language(language))
        return f"# {self.name} {self.version}\n\n{lead}\n\n{lines}"


def write_notes(
    after: Manifest,
    before: Manifest | None,
    *,
    download_bytes: int,
    download_bytes_before: int | None = None,
    message: Words = ("", ""),
) -> Notes:
    """Compare ``after`` with the previous release ``before`` (None: there is none).

    download_bytes: size of the archive, all volumes together; the previous one's where it is known.
    message: what the maintainer wants to say first; each language falls back to the other.
    """
    lines: list[Words] = []
    if any(message):
        lines.append((message[0] or message[1], message[1] or message[0]))
    lines += _contents(after) if before is None else _differences(before, after)
    lines.append(_download_size(download_bytes, download_bytes_before))
    return Notes(
        name=after.name, version=after.version, previous_version=before.version if before else "", lines=tuple(lines)
    )


def _contents(manifest: Manifest) -> Iterator[Words]:
    """What a first release holds."""
    for component in manifest.components:
        if component.get("kind") in KINDS:
            zh, en = KINDS[component["kind"]]
            what = _title(component["name"], component.get("version", ""))
            yield _titled(zh, what), _titled(en, what)
    unpacked = human_bytes(_content_bytes(manifest))
    yield f"{len(manifest.files)} 个文件，解压后 {unpacked}", f"{len(manifest.files)} files, {unpacked} unpacked"


def _titled(kind: str, what: str) -> str:
    return what if what.startswith(kind) else f"{kind} {what}"


def _title(name: str, version: str) -> str:
    return f"{name} {version}".strip()


def _differences(before: Manifest, after: Manifest) -> Iterator[Words]:
    if before.files == after.files:
        yield "文件与上一版完全相同", "The files are the same as in the previous release"
        return
    yield from _processors(before, after)
    changes = component_changes(before, after)
    kinds = {item["name"]: item.get("kind", "") for item in (*before.components, *after.components)}
    for change in changes:
        if kinds[change.name] in KINDS:
            zh, en = KINDS[kinds[change.name]]
            yield _titled(zh, _versions(change, "zh")), _titled(en, _versions(change, "en"))
    yield from _python(before, after)
    yield from _own_files(before, after)
    yield from _libraries([change for change in changes if kinds[change.name] not in (*KINDS, "payload", "model")])
    yield from _models([change for change in changes if kinds[change.name] == "model"])
    sizes = human_bytes(_content_bytes(before)), human_bytes(_content_bytes(after))
    yield f"解压后 {sizes[0]} → {sizes[1]}", f"Unpacked {sizes[0]} → {sizes[1]}"


def _processors(before: Manifest, after: Manifest) -> Iterator[Words]:
    """What it means to whose PC that the engine's CPU levels are others."""
    old, new = _levels(before), _levels(after)
    if not old or not new:
        return
    for here, there, sentences in ((old, new, LEVEL_DROPPED), (new, old, LEVEL_ADDED)):
        for name in here:
            if name not in there:
                others = "/".join(level.upper() for level, requires in there.items() if requires <= here[name])
                zh, en = sentences[0 if others else 1]
                yield zh.format(name.upper(), others), en.format(name.upper(), others)


def _levels(manifest: Manifest) -> dict[str, frozenset[str]]:
    """CPU level -> what it requires of a processor; empty when the manifest does not say it as our builder does."""
    try:
        return {str(level["name"]): frozenset(level["requires"]) for level in manifest.build["engine"]["levels"]}
    except (KeyError, TypeError):
        return {}


def _python(before: Manifest, after: Manifest) -> Iterator[Words]:
    """Python 3.10 for 3.11 is another thing than 3.10.10 for 3.10.11: compiled packages fit one of them only."""
    old, new = ((str(manifest.build.get("python", "")).rpartition(".")[0]) for manifest in (before, after))
    if old and new and old != new:
        yield (
            f"不再提供 Python {old}，换成 {new}：自己装进去的扩展包要重新安装",
            f"Python {old} was dropped for {new}: packages that you added yourself have to be installed again",
        )


def _versions(change: Change, language: str) -> str:
    """``tqdm 4.69 → 4.70``, with a word where no version says what happened."""
    versions = list(dict.fromkeys(version for version in (change.version_before, change.version_after) if version))
    title = _title(change.name, " → ".join(versions))
    if change.kind == "changed" and len(versions) > 1:
        return title
    words = {
        "added": ("（新增）", " (new)"),
        "removed": ("（移除）", " (removed)"),
        "changed": ("（文件有改动）", " (its files changed)"),
    }[change.kind]
    return title + words[0 if language == "zh" else 1]


def _own_files(before: Manifest, after: Manifest) -> Iterator[Words]:
    """One line for each area of our own files that differs, with how many files do."""
    files = _own(before), _own(after)
    changed = sorted(name for name in {*files[0], *files[1]} if files[0].get(name) != files[1].get(name))
    areas: dict[Words, int] = {}
    for name in changed:
        area = _area(name)
        areas[area] = areas.get(area, 0) + 1
    order = [*(words for _, words in AREAS), LAUNCHERS, OTHERS]
    for zh, en in sorted(areas, key=order.index):
        count = areas[zh, en]
        many = f"（{count} 个文件）", f" ({count} files)"
        yield (zh, en) if count == 1 else (zh + many[0], en + many[1])


def _area(name: str) -> Words:
    found = next((words for start, words in AREAS if name.startswith(start)), None)
    return found or (LAUNCHERS if name.endswith(".bat") else OTHERS)


def _own(manifest: Manifest) -> dict[str, ManifestFile]:
    """path -> line, of files that come from this repository; licence texts follow their components."""
    payload = {item["name"] for item in manifest.components if item.get("kind") == "payload"}
    return {
        file.path: file
        for file in manifest.files
        if file.origin in payload and not file.path.startswith("licenses/") and file.path != "sbom.cdx.json"
    }


def _libraries(changes: Sequence[Change]) -> Iterator[Words]:
    if changes:
        zh, en = ([_versions(change, language) for change in changes] for language in ("zh", "en"))
        yield "组件：" + "、".join(zh), "Libraries: " + ", ".join(en)


def _models(changes: Sequence[Change]) -> Iterator[Words]:
    for change in changes:
        yield "模型：" + _versions(change, "zh"), "Model: " + _versions(change, "en")


def _download_size(size_bytes: int, before: int | None) -> Words:
    shown = human_bytes(size_bytes) if before is None else f"{human_bytes(before)} → {human_bytes(size_bytes)}"
    return f"下载大小 {shown}", f"Download size {shown}"


def _content_bytes(manifest: Manifest) -> int:
    return sum(file.size_bytes for file in manifest.files)
