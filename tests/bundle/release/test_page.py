"""The download page in a real Chromium, opened from disk: both languages, a phone, light and dark, the comparison."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from bundle.release.release import make_release
from tests.bundle.release.releases import archive_of, recipe_with

pytestmark = pytest.mark.browser
PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tmp_path = tmp_path_factory.mktemp("page")
    recipe = recipe_with(mirrors={"魔搭": "https://mirror.example/files/"})
    make_release(archive_of(tmp_path, "new").path, tmp_path / "out", recipe)
    return tmp_path / "out"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = shutil.which("chromium")
    assert executable
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


def opened(browser: Browser, release: Path, **settings: object) -> Page:
    """The page from disk; any error in its script and any request beyond itself fails the test."""
    context = browser.new_context(**{"locale": "zh-CN", "viewport": PHONE, **settings})  # type: ignore[arg-type]
    page = context.new_page()
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto((release / "index.html").as_uri())
    assert requests == [(release / "index.html").as_uri()]
    return page


@pytest.mark.parametrize(("locale", "words"), [("zh-CN", "三步开始"), ("en-GB", "Three steps")])
def test_it_speaks_the_reader_s_language_and_switches(browser: Browser, release: Path, locale: str, words: str) -> None:
    page = opened(browser, release, locale=locale)
    headings = page.locator("h2").all_inner_texts()
    assert words in headings
    other = {"zh-CN": "English", "en-GB": "中文"}[locale]
    page.get_by_role("button", name=other).click()
    assert {"zh-CN": "Three steps", "en-GB": "三步开始"}[locale] in page.locator("h2").all_inner_texts()


def test_every_word_is_in_one_language_only(browser: Browser, release: Path) -> None:
    text = opened(browser, release, locale="en-US").locator("main").inner_text()
    left = re.sub(r"一键运行\.bat|更新\.bat|中文|魔搭", "", text)
    assert not re.search(r"[\u4e00-\u9fff]", left)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_is_accessible(browser: Browser, release: Path, scheme: str) -> None:
    for locale in ("zh-CN", "en-US"):
        page = opened(browser, release, color_scheme=scheme, locale=locale)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        found = Axe().run(page).response["violations"]
        assert [(item["id"], [node["html"] for node in item["nodes"]]) for item in found] == []


def test_without_scripts_it_is_a_chinese_page(browser: Browser, release: Path) -> None:
    page = opened(browser, release, java_script_enabled=False)
    assert "三步开始" in page.locator("h2").all_inner_texts()
    assert page.get_by_role("link", name="下载 ChatGLM3_cpp.7z").is_visible()


def test_local_links_lead_to_files_of_the_release(browser: Browser, release: Path) -> None:
    page = opened(browser, release)
    links = page.eval_on_selector_all("a", "all => all.map(one => one.getAttribute('href'))")
    local = [unquote(link) for link in links if "://" not in link]
    assert len(local) >= 6
    assert [link for link in local if not (release / link).is_file()] == []
    assert "https://mirror.example/files/ChatGLM3_cpp.7z" in links


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (lambda digest: digest, "✓ 一致：ChatGLM3_cpp.7z"),
        (lambda digest: f"SHA256 的 ChatGLM3_cpp.7z 哈希:\n{digest.upper()}\nCertUtil: -hashfile 命令成功完成。", "✓"),
        (lambda digest: " ".join(digest[i : i + 2] for i in range(0, 64, 2)), "✓ 一致"),
        (lambda digest: "0" * 64, "✗ 不一致"),
        (lambda digest: digest[:60], "没有 64 位"),
        (lambda digest: "", ""),
    ],
)
def test_pasted_output_of_certutil_is_compared(browser: Browser, release: Path, change: object, verdict: str) -> None:
    line = next(line for line in (release / "SHA256SUMS").read_text().splitlines() if line.endswith(".7z"))
    page = opened(browser, release)
    page.locator("#shown").fill(change(line[:64]))  # type: ignore[operator]
    shown = page.locator("#verdict").inner_text()
    assert verdict in shown and bool(shown) == bool(verdict)
