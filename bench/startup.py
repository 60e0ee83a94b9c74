"""From the double-click to an answer: our 一键运行.bat against the tutorial's own start, same Python, under Wine.

    python bench/startup.py [ARCHIVE]    7 starts of each; about 4 minutes
    python bench/startup.py --quick      2 starts of each
    python bench/startup.py --rounds 3   so many
    python bench/startup.py --layouts    sources, our own cache of them, shipped .pyc, one stored zip

The tutorial's start is ``uvicorn chatglm_cpp.openai_api:app`` with fastapi, sse-starlette and pydantic-settings beside
the same engine and the same small model. Both are started in turns (A B A B) from a warm disk, with Wine's server
already running; the median counts. "page" is the first byte of ``GET /`` (upstream has none), "models" the first 200
of ``GET /v1/models``, "answer" the first finished chat answer. Goal: ours / tutorial's <= 0.5 for page and models.
"stop" is the time from Ctrl+C to the end of ours, which promises 5 s.
Prints one line a measurement, then the table; exit code 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "payload")]

from bench.result import Row, finish, not_measured  # noqa: E402
from bench.tools import Missing, finished_archive, need_windows  # noqa: E402
from bundle.model.random_model import write_random_model  # noqa: E402
from bundle.windows.wine import WindowsProgram, WinePrefix  # noqa: E402
from tests.support.upstream import convert_script  # noqa: E402
from tests.support.wine import extract, free_port, install_for_windows, whole_python  # noqa: E402

GOAL, GOAL_STOP_S = 0.5, 5
BAT = "the tutorial's .bat"
TUTORIAL_PACKAGES = (
    *("fastapi==0.104.1", "uvicorn==0.24.0", "pydantic==2.5.3", "pydantic-settings==2.1.0", "sse-starlette==1.8.2"),
    *("tabulate", "tqdm"),
)
"""What was current when chatglm_cpp 0.3.0 came out. Later builds of pydantic need a DLL that Wine 8 lacks."""
TUTORIAL_BAT = (
    "@echo off\r\nset MODEL=./chatglm3-ggml.bin\r\n"
    "python\\python.exe -m uvicorn chatglm_cpp.openai_api:app --host 127.0.0.1 --port %1\r\n"
)
ANSWER_LIMIT_S = 120.0
COMPILE = (  # The bundle has no compileall.
    "import pathlib, py_compile; mode = py_compile.PycInvalidationMode.UNCHECKED_HASH; "
    "[py_compile.compile(str(path), invalidation_mode=mode) for path in pathlib.Path('app').rglob('*.py')]"
)
Times = dict[str, float]


def until(program: WindowsProgram, port: int, method: str, path: str, body: str | None = None) -> float:
    """Ask again and again until the answer is 200 and whole; return the time it came."""
    give_up = time.monotonic() + ANSWER_LIMIT_S
    while time.monotonic() < give_up:
        if program.process.poll() is not None:
            raise RuntimeError(program.output)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_LIMIT_S)
        with suppress(OSError, http.client.HTTPException):
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            answer = connection.getresponse()
            if answer.status == 200 and answer.read(1):
                return time.monotonic()
        connection.close()
        time.sleep(0.01)
    raise TimeoutError(path)


def one_start(
    prefix: WinePrefix, folder: Path, bat: str, arguments: Callable[[int], list[str]], *, page: bool
) -> Times:
    """Double-click ``bat`` and return seconds to page, model list and answer."""
    port = free_port()
    began = time.monotonic()
    program = prefix.double_click(folder / bat, *arguments(port))
    times: Times = {}
    if page:
        times["page"] = until(program, port, "GET", "/") - began
    times["models"] = until(program, port, "GET", "/v1/models") - began
    question = json.dumps({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2, "temperature": 0})
    times["answer"] = until(program, port, "POST", "/v1/chat/completions", question) - began
    if page:
        began = time.monotonic()
        while program.process.poll() is None:
            prefix.press_ctrl_c()  # Wine loses one now and then; a second one changes nothing.
            with suppress(subprocess.TimeoutExpired):
                program.process.wait(1)
        times["stop"] = time.monotonic() - began
    end_all(prefix, program)
    return times


def end_all(prefix: WinePrefix, program: WindowsProgram) -> None:
    """End every Python in ``prefix``, and let go of ``program``."""
    while prefix.pids_of("python.exe"):
        prefix.kill("python.exe")
        time.sleep(0.1)
    program.close()


def our_arguments(port: int) -> list[str]:
    return ["--no-browser", "--port", str(port)]


def make_tutorial(ours: Path, target: Path, model: Path) -> Path:
    """Lay out the tutorial's folder: the same Python and engine, upstream's server and what it needs.

    Its Python is whole: ours leaves out modules of the standard library that FastAPI imports.
    """
    target.mkdir()
    packages = install_for_windows(target / "packages", whole_python(target / "python"), *TUTORIAL_PACKAGES)
    shutil.copytree(ours / "app" / "engine" / "avx2" / "chatglm_cpp", packages / "chatglm_cpp")
    # Our bundle leaves upstream's own server out; it is in the sdist.
    shutil.copy(convert_script("0.3.0").with_name("openai_api.py"), packages / "chatglm_cpp")
    for library in (ours / "app" / "engine" / "shared").glob("*.dll"):
        shutil.copy(library, packages / "chatglm_cpp")
    (target / "python" / "python310._pth").write_text("python310.zip\n.\n..\\packages\n")
    (target / "run.bat").write_bytes(TUTORIAL_BAT.encode())
    shutil.copy(model, target / "chatglm3-ggml.bin")
    return target


@contextmanager
def workplace(archive: Path) -> Iterator[tuple[WinePrefix, Path, Path]]:
    """Give (prefix, our extracted folder with a model, the small model)."""
    with tempfile.TemporaryDirectory(prefix="startup-") as temporary:
        place = Path(temporary)
        model = place / "tiny.bin"
        write_random_model(model, "tiny")
        ours = extract(archive, place / "ours")
        shutil.copy(model, ours / "chatglm3-ggml.bin")
        with WinePrefix(place / "prefix") as prefix:
            prefix.start(["cmd", "/c", "pause"], cwd=place)
            yield prefix, ours, model


def medians(runs: list[Times]) -> Times:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def shown(times: Times) -> str:
    return "  ".join(f"{name} {seconds:5.2f} s" for name, seconds in times.items())


def compare(archive: Path, rounds: int) -> int:
    """Measure ours and the tutorial's in turns; return 0 when the goals are met."""
    with workplace(archive) as (prefix, ours, model):
        tutorial = make_tutorial(ours, ours.parent / "tutorial", model)
        results: dict[str, list[Times]] = {"ours": [], "tutorial": []}
        for number in range(rounds + 1):
            mine = one_start(prefix, ours, "一键运行.bat", our_arguments, page=True)
            theirs = one_start(prefix, tutorial, "run.bat", lambda port: [str(port)], page=False)
            print(f"{'warm-up' if number == 0 else number}: ours {shown(mine)} | tutorial {shown(theirs)}", flush=True)
            if number:
                results["ours"].append(mine)
                results["tutorial"].append(theirs)

    def all_of(who: str, what: str) -> list[float]:
        return [run[what] for run in results[who]]

    rows = [
        Row(label, BAT, "s", all_of("ours", what), all_of("tutorial", theirs), f"<= {GOAL}" if goal else "", note)
        for label, what, theirs, goal, note in (
            ("double-click to the page", "page", "models", True, "the tutorial has no page: its /v1/models"),
            ("double-click to /v1/models", "models", "models", True, ""),
            ("double-click to the first answer", "answer", "answer", False, ""),
        )
    ]
    rows.append(Row("Ctrl+C to the end", "", "s", all_of("ours", "stop"), [], f"<= {GOAL_STOP_S}"))
    return finish(rows)


def compile_all(prefix: WinePrefix, folder: Path) -> None:
    """Write .pyc files beside every .py of the payload, with the bundle's own Python."""
    program = prefix.start([str(folder / "python" / "python.exe"), "-c", COMPILE], cwd=folder)
    if program.wait(300) != 0:
        raise RuntimeError(program.output)


def as_zip(folder: Path) -> None:
    """Put the pure-Python packages, compiled, into one stored zip before the folders on the path."""
    app = folder / "app"
    native = {path.relative_to(app / "packages").parts[0] for path in (app / "packages").rglob("*.pyd")}
    with zipfile.ZipFile(app / "packages.zip", "w", zipfile.ZIP_STORED) as archive:
        for path in sorted((app / "packages").rglob("*.pyc")):
            parts = path.relative_to(app / "packages").parts
            if parts[0] in native or "__pycache__" not in parts:
                continue
            archive.write(path, Path(*parts[:-2], parts[-1].split(".")[0] + ".pyc"))
    pth = next((folder / "python").glob("python3*._pth"))
    pth.write_text(pth.read_text().replace("..\\app\\packages", "..\\app\\packages.zip\n..\\app\\packages"))


def layouts(archive: Path, rounds: int) -> None:
    """Measure how the payload should ship."""
    with workplace(archive) as (prefix, plain, _):
        cached = shutil.copytree(plain, plain.parent / "cached")
        compiled = shutil.copytree(plain, plain.parent / "pyc")
        (compiled / "MANIFEST.json").unlink()  # Without it there is no cache in logs (oneclick.module_cache).
        compile_all(prefix, compiled)
        zipped = shutil.copytree(compiled, plain.parent / "zip")
        as_zip(zipped)
        folders = {"sources": plain, "cache": cached, "pyc": compiled, "zip": zipped}
        results: dict[str, list[Times]] = {name: [] for name in folders}
        for number in range(rounds + 1):
            for name, folder in folders.items():
                shutil.rmtree(plain / "logs" / "cache", ignore_errors=True)
                times = one_start(prefix, folder, "一键运行.bat", our_arguments, page=True)
                if number:
                    results[name].append(times)
        for name, runs in results.items():
            print(f"{name:8} {shown(medians(runs))}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", nargs="?", type=Path, help="default: dist/ChatGLM3_cpp.7z, built first")
    parser.add_argument("--quick", action="store_true", help="2 starts of each")
    parser.add_argument("--rounds", type=int, default=0, help="default 7, with --quick 2")
    parser.add_argument("--layouts", action="store_true", help="compare sources, cache, .pyc and one zip")
    options = parser.parse_args()
    try:
        need_windows()
    except Missing as error:
        return finish([not_measured("double-click", BAT, str(error))])
    rounds = options.rounds or (2 if options.quick else 7)
    archive = options.archive or finished_archive()
    if options.layouts:
        layouts(archive, rounds)
        return 0
    return compare(archive, rounds)


if __name__ == "__main__":
    sys.exit(main())
