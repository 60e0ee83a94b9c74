"""Pictures of the window at each stage, from what a finished archive really prints under Wine.

    python docs/console.py [--archive dist/ChatGLM3_cpp.7z] [--model FILE]

Writes console-*.png beside this file. Without ``--model`` a tiny test model is used, which the program says.
"""

from __future__ import annotations

import argparse
import html
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "payload")]

from bundle.model.random_model import write_random_model  # noqa: E402
from bundle.windows.wine import WinePrefix  # noqa: E402
from tests.support.wine import READY, Bundle, extract  # noqa: E402

COLUMNS = 100
PAGE = """<!DOCTYPE html><meta charset="utf-8"><style>
body {{ margin: 0; background: #0c0c0c; }}
.title {{ background: #fff; color: #111; font: 14px "Noto Sans CJK SC"; padding: 6px 10px; }}
pre {{ margin: 0; padding: 8px 10px; color: #ccc; font: 15px/1.35 "Noto Sans Mono CJK SC"; white-space: pre-wrap;
       width: {columns}ch; overflow-wrap: anywhere; }}
</style><div class="title">ChatGLM3 一键运行</div><pre>{text}</pre>"""


def picture(name: str, text: str, folder: Path) -> None:
    """Render ``text`` as a console window to ``console-NAME.png``."""
    lines = [line for line in text.splitlines() if not line.startswith("wine:")]
    page = folder / f"{name}.html"
    page.write_text(PAGE.format(columns=COLUMNS, text=html.escape("\n".join(lines))), encoding="utf-8")
    wrapped = sum(1 + _columns(line) // COLUMNS for line in lines)
    target = Path(__file__).with_name(f"console-{name}.png")
    subprocess.run(
        [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={folder / 'chromium'}",
            f"--window-size=860,{60 + 21 * (wrapped + 1)}",
            f"--screenshot={target}",
            page.as_uri(),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    print(target)  # noqa: T201


def _columns(line: str) -> int:
    return sum(2 if ord(char) > 0x2E7F else 1 for char in line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, default=ROOT / "dist" / "ChatGLM3_cpp.7z")
    parser.add_argument("--model", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        model = options.model or place / "tiny.bin"
        if not options.model:
            write_random_model(model, "tiny")
        with WinePrefix(place / "prefix") as prefix:
            bundle = Bundle(extract(options.archive, place / "D"), prefix)
            program = bundle.double_click()
            program.wait_for("放进本文件夹")
            picture("no-model", program.output, place)
            bundle.put_model(model)
            program.wait_for(READY[prefix.locale], 300)
            picture("ready", program.output, place)
            second = bundle.double_click()
            second.wait(60)
            picture("already-running", second.output, place)
            prefix.kill("oneclick.engine.worker")
            program.wait_for("引擎意外退出")
            bundle.stop(program)
            picture("restarted-and-stopped", program.output, place)
            doctor = bundle.double_click(bat="环境诊断.bat")
            doctor.wait_for("诊断报告.txt", 120)
            picture("doctor", doctor.output, place)
            doctor.press_enter()
            doctor.wait(30)
            bundle.replace("chatglm3-ggml.bin", b"<html>404</html>")
            wrong = bundle.double_click()
            wrong.wait_for("其实是一个网页")
            picture("wrong-model", wrong.output, place)
            bundle.stop(wrong)


if __name__ == "__main__":
    main()
