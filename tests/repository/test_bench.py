"""The benchmarks' own code: options, rows and the report; nothing here measures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.build import read_steps
from bench.report import BEFORE, DOCS, FIGURES, all_figures, filled, newest, table_line, tables
from bench.result import MARK, NOT_MEASURED, Row, finish, not_measured, read_rows
from bench.run import benchmarks
from bundle.plan import ROOT

pytestmark = pytest.mark.slow

MACHINE = {"commit": "abc", "cpu": "a CPU", "system": "Linux", "python": "3.11"}


def run_of(date: str, *, quick: bool, ours: float, name: str = "archive") -> dict[str, Any]:
    """A run of bench/run.py as its JSON has it."""
    row = {"what": "time", "against": "7zz", "unit": "s", "ours": [ours], "theirs": [2.0], "goal": "<= 1.0", "note": ""}
    benchmark = {
        "name": name,
        "command": f"python bench/{name}.py",
        "quick": quick,
        "seconds": 3.0,
        "busy_percent": 4.0,
    }
    return {"machine": {"date": date, **MACHINE}, "benchmarks": [{**benchmark, "figures": {"rows": [row]}}]}


def ours_of(entry: Any) -> float:
    return read_rows(entry["figures"])[0].ours[0]


@pytest.mark.parametrize("name", benchmarks())
def test_every_benchmark_takes_quick_and_rounds(name: str) -> None:
    """``bench/run.py`` hands both to all of them; --help ends a program before it measures."""
    command = [sys.executable, str(ROOT / "bench" / f"{name}.py"), "--quick", "--rounds", "1", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--quick" in done.stdout
    assert "--rounds" in done.stdout


def test_an_unknown_benchmark_is_named_before_anything_runs() -> None:
    command = [sys.executable, str(ROOT / "bench" / "run.py"), "archive", "sever"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no benchmark sever; there are archive," in done.stderr


def test_a_ratio_is_ours_by_theirs_of_medians() -> None:
    row = Row("time", "7zz", "s", [1.0, 9.0, 2.0], [4.0, 4.0], "<= 0.5")
    assert row.ratio == 0.5
    assert row.met is True


def test_a_goal_without_another_program_is_about_ours() -> None:
    assert Row("memory", "", "MB", [120.0], [], "<= 100").met is False
    assert Row("survived", "", "", [8.0], [], ">= 8").met is True
    assert Row("memory", "", "MB", [], [], "<= 100").met is None


def test_a_benchmark_ends_with_its_figures_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [Row("time", "7zz", "s", [1.0, 3.0], [1.0], "<= 1.0"), not_measured("size", "fspack", "no network")]
    assert finish(rows, {"more": 1}) == 1
    *table, last = capsys.readouterr().out.splitlines()
    assert last.startswith(MARK)
    figures = json.loads(last.removeprefix(MARK))
    assert read_rows(figures) == rows
    assert figures["more"] == 1
    assert any("1 / 2 / 3" in line and "MISSED" in line for line in table)
    assert any(NOT_MEASURED + "no network" in line for line in table)


def test_newer_figures_replace_older_ones() -> None:
    old, new = (run_of(f"2026-01-0{day}", quick=False, ours=float(day)) for day in (1, 2))
    assert ours_of(newest({}, [old, new])["archive"]) == 2
    assert ours_of(newest(newest({}, [new]), [old])["archive"]) == 2


def test_a_quick_run_never_replaces_a_full_one() -> None:
    full, quick = run_of("2026-01-01", quick=False, ours=1.0), run_of("2026-01-02", quick=True, ours=2.0)
    assert ours_of(newest({}, [full, quick])["archive"]) == 1
    assert ours_of(newest({}, [quick, run_of("2026-01-03", quick=True, ours=3.0)])["archive"]) == 3


def test_a_benchmark_without_figures_leaves_the_last_ones() -> None:
    failed = run_of("2026-01-02", quick=False, ours=2.0)
    failed["benchmarks"][0]["figures"] = None
    assert ours_of(newest({}, [run_of("2026-01-01", quick=False, ours=1.0), failed])["archive"]) == 1


def test_a_missed_goal_stands_out_in_the_table() -> None:
    parts = tables(newest({}, [run_of("2026-01-01", quick=False, ours=3.0)]))
    assert "| time | 7zz | s | 3 | 2 | 1.50 | **<= 1.0 missed** |" in parts["summary"]
    assert "Missed: time (<= 1.0, is 1.50)." in parts["summary"]
    assert "| `python bench/archive.py` | 2026-01-01 | abc | 3 | 4 % |" in parts["runs"]


def test_what_was_worst_stands_beside_what_it_is_now() -> None:
    before = {"benchmark": "archive", "row": "ti", "against": "7zz", "before": "9 s", "ratio": 4.5, "commit": "abc"}
    entries = newest({}, [run_of("2026-01-01", quick=False, ours=3.0)])
    assert (
        "| time | 7zz | 9 s | 4.50 | 3 s | **1.50** | less work | abc |"
        in tables(entries, [{**before, "done": "less work"}])["worst"]
    )
    assert "| 9 s | 4.50 | – | – |" in tables({}, [{**before, "done": "less work"}])["worst"]


def test_an_unmeasured_row_says_why() -> None:
    assert table_line(not_measured("build", "pynsist", "no network")) == (
        "| build | pynsist | | not measured: no network | | |  |"
    )


def test_only_what_stands_between_the_marks_is_renewed() -> None:
    page = "a\n<!-- x: written by bench/report.py -->\nold\n<!-- end of x -->\nb\n"
    new = filled(page, {"x": "new"})
    assert new == page.replace("old", "new")
    assert filled(new, {"x": "new"}) == new
    with pytest.raises(ValueError, match="no marks for y"):
        filled(page, {"y": "new"})


def test_the_steps_of_a_build_are_read_from_its_log() -> None:
    log = "Get Python\n  done in 0.1 s\nWrite the archive\n  packing\n  done in 1 min 05 s\ntotal time: 66 s\n"
    assert read_steps(log) == {"Get Python": 0.1, "Write the archive": 65.0}


def test_the_written_tables_are_those_of_the_kept_figures() -> None:
    """A table edited by hand would be lost at the next report."""
    entries = json.loads(FIGURES.read_text(encoding="utf-8"))
    page = (DOCS / "PERFORMANCE.md").read_text(encoding="utf-8")
    before = json.loads(BEFORE.read_text(encoding="utf-8"))
    assert filled(page, tables(entries, before)) == page
    assert (DOCS / "performance" / "figures.md").read_text(encoding="utf-8") == all_figures(entries)


def test_every_chart_and_page_that_is_linked_is_there() -> None:
    page = (DOCS / "PERFORMANCE.md").read_text(encoding="utf-8")
    targets = [part.partition(")")[0].partition("#")[0] for part in page.split("](")[1:]]
    assert targets
    assert [target for target in targets if not (DOCS / Path(target)).is_file()] == []
