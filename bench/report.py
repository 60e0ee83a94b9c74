"""Writes docs/PERFORMANCE.md's tables, docs/performance/figures.md and the charts from each benchmark's newest figures.

    python bench/report.py             takes what bench/run.py left in build/bench since the last report
    python bench/report.py --no-charts only the tables

docs/performance/figures.json keeps the newest figures of every benchmark with the date, commit and machine they come
from, so a run of one benchmark renews its rows and nothing else. A --quick run never replaces a full one. Tables and
charts follow from that file alone: the same figures give the same bytes. The first run installs bench/requirements.txt.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from bench.result import NOT_MEASURED, Row, not_measured, read_rows, shown_ratio, spread  # noqa: E402
from bench.run import OUTPUT, benchmark_python  # noqa: E402

DOCS = ROOT / "docs"
FIGURES = DOCS / "performance" / "figures.json"
BEFORE = DOCS / "performance" / "before.json"
"""What the worst figures were before they were mended, from the commits that did it."""
FACTS = ("date", "commit", "cpu", "system", "python")
Entry = Mapping[str, Any]
"""One benchmark's newest figures, with FACTS, command, quick and seconds."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-charts", action="store_true")
    options = parser.parse_args()
    kept = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.is_file() else {}
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(OUTPUT.glob("*.json"))]
    entries = newest(kept, runs)
    if not entries:
        print("nothing was measured yet: python bench/run.py --quick", file=sys.stderr)
        return 1
    FIGURES.write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (DOCS / "performance" / "figures.md").write_text(all_figures(entries), encoding="utf-8")
    parts = tables(entries, json.loads(BEFORE.read_text(encoding="utf-8")))
    page = DOCS / "PERFORMANCE.md"
    page.write_text(filled(page.read_text(encoding="utf-8"), parts), encoding="utf-8")
    if not options.no_charts:
        python = benchmark_python()
        draw = [python, "-m", "uv", "run", "--quiet", "--no-project", "--python", python]
        draw += ["--with-requirements", "bench/requirements.txt", "bench/charts.py"]
        subprocess.run([*draw, str(FIGURES), str(DOCS / "performance" / "charts")], cwd=ROOT, check=True)
    print(f"written: docs/PERFORMANCE.md and docs/performance ({', '.join(entries)})")
    return 0


def newest(kept: Mapping[str, Entry], runs: Sequence[Mapping[str, Any]]) -> dict[str, Entry]:
    """Return benchmark -> entry: ``kept``, replaced by what ``runs`` (of bench/run.py, oldest first) measured later."""
    entries = dict(kept)
    for run in runs:
        for benchmark in run["benchmarks"]:
            old = entries.get(benchmark["name"])
            if not benchmark.get("figures"):
                continue
            if old and (old["date"] > run["machine"]["date"] or (benchmark["quick"] and not old["quick"])):
                continue
            entries[benchmark["name"]] = {
                **{fact: run["machine"][fact] for fact in FACTS},
                **{key: benchmark[key] for key in ("command", "quick", "busy_percent", "seconds", "figures")},
            }
    return {name: entries[name] for name in sorted(entries)}


def tables(entries: Mapping[str, Entry], before: Sequence[Mapping[str, Any]] = ()) -> dict[str, str]:
    """The generated parts of docs/PERFORMANCE.md by name."""
    judged = [(name, row) for name, entry in entries.items() for row in read_rows(entry["figures"]) if row.goal]
    missed = [f"{row.what} ({row.goal}, is {verdict_value(row)})" for _, row in judged if row.met is False]
    lines = ["| what | against | unit | ours | theirs | ratio | goal | by |", "|---|---|---|--:|--:|--:|---|---|"]
    lines += [table_line(row)[:-2] + f" | [{name}](performance/figures.md#{name}) |" for name, row in judged]
    lines += ["", f"Missed: {'; '.join(missed) or 'nothing'}."]
    return {"summary": "\n".join(lines), "worst": worst_table(entries, before), "runs": runs_table(entries)}


def verdict_value(row: Row) -> str:
    return shown_ratio(row) if row.against else spread(row.ours)


def table_line(row: Row) -> str:
    """One row as Markdown; a goal that is missed is bold."""
    if row.note.startswith(NOT_MEASURED):
        return f"| {row.what} | {row.against} | | {row.note} | | | {row.goal} |"
    goal = f"**{row.goal} missed**" if row.met is False else row.goal
    sides = f"{spread(row.ours)} | {spread(row.theirs)} | {shown_ratio(row)}"
    return f"| {row.what} | {row.against} | {row.unit} | {sides} | {goal} |"


def worst_table(entries: Mapping[str, Entry], before: Sequence[Mapping[str, Any]]) -> str:
    """What was worst (BEFORE) beside what it is now."""
    lines = [
        "| what | against | before | ratio | now | ratio | what was done | commit |",
        "|---|---|--:|--:|--:|--:|---|---|",
    ]
    for old in before:
        rows = read_rows(entries[old["benchmark"]]["figures"]) if old["benchmark"] in entries else []
        found = [row for row in rows if row.what.startswith(old["row"]) and row.against == old["against"]]
        now = found[0] if found else not_measured(old["row"], old["against"], "")
        value = f"{spread(now.ours)} {now.unit} | **{shown_ratio(now)}**" if now.ours else "– | –"
        was = f"{old['before']} | {old['ratio']:.2f}"
        lines.append(f"| {now.what} | {old['against']} | {was} | {value} | {old['done']} | {old['commit']} |")
    return "\n".join(lines)


def runs_table(entries: Mapping[str, Entry]) -> str:
    """When, of which commit and with which command each benchmark ran; the machines below."""
    lines = ["| command | date | commit | seconds | cores busy before |", "|---|---|---|--:|--:|"]
    lines += [
        f"| `{entry['command']}` | {entry['date']} | {entry['commit']} | {entry['seconds']:.0f} | {_percent(entry)} |"
        for entry in entries.values()
    ]
    machines = sorted({f"{entry['cpu']}, {entry['system']}, Python {entry['python']}" for entry in entries.values()})
    return "\n".join([*lines, "", *(f"Machine: {machine}." for machine in machines)])


def _percent(entry: Entry) -> str:
    return "–" if entry["busy_percent"] is None else f"{entry['busy_percent']:.0f} %"


def all_figures(entries: Mapping[str, Entry]) -> str:
    """docs/performance/figures.md: every row of every benchmark."""
    text = "# All figures, as last measured\n\nWritten by `bench/report.py` from `figures.json`; do not edit. Several "
    text += "values are minimum / median / maximum; ratios are ours / theirs, of medians.\n"
    for name, entry in entries.items():
        kind = ", small sizes (`--quick`)" if entry["quick"] else ""
        text += f"\n## {name}\n\n`{entry['command']}`, {entry['date']}, commit {entry['commit']}{kind}\n\n"
        text += "| what | against | unit | ours | theirs | ratio | goal | note |\n|---|---|---|--:|--:|--:|---|---|\n"
        for row in read_rows(entry["figures"]):
            note = "" if row.note.startswith(NOT_MEASURED) else row.note
            text += table_line(row)[:-2] + f" | {note} |\n"
    return text


def filled(page: str, parts: Mapping[str, str]) -> str:
    """Return ``page`` with each part between its marks ``<!-- NAME: ... -->`` and ``<!-- end of NAME -->`` renewed."""
    for name, part in parts.items():
        head, begin, rest = page.partition(f"<!-- {name}: written by bench/report.py -->\n")
        _, end, tail = rest.partition(f"<!-- end of {name} -->")
        if not begin or not end:
            raise ValueError(f"docs/PERFORMANCE.md has no marks for {name}")
        page = f"{head}{begin}{part}\n{end}{tail}"
    return page


if __name__ == "__main__":
    sys.exit(main())
