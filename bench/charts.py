"""Draws the charts of docs/PERFORMANCE.md: ``python bench/charts.py FIGURES.json FOLDER`` (bench/report.py runs it).

Needs bench/requirements.txt and nothing else of this repository. The same figures give the same bytes: no date, and
names of shapes that do not change from run to run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt

COLOURS = {"ours": "#1f6feb", "theirs": "#d1642e", "third": "#4c8c4a", "grey": "#8a8a8a"}
UPSTREAM, LLAMA_SERVER = "chatglm_cpp.openai_api", "llama.cpp's server"
STYLE = {
    "svg.hashsalt": "chatglm3-oneclick",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "figure.facecolor": "white",
}


def main() -> None:
    """Draw what the figures hold; a chart without figures is left as it is."""
    figures = {name: entry["figures"] for name, entry in json.loads(Path(sys.argv[1]).read_text("utf-8")).items()}
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    mpl.rcParams.update(STYLE)
    if "server" in figures:
        save(first_token(figures["server"]), folder / "first-token.svg")
    if "engine" in figures:
        save(prompt_speed(figures["engine"], figures.get("scale", {})), folder / "prompt-speed.svg")
    if "build" in figures:
        save(build_steps(figures["build"]["steps"]), folder / "build-steps.svg")


def save(figure: Any, path: Path) -> None:
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def first_token(server: Mapping[str, Any]) -> Any:
    """Seconds to the first text, over the turns of one conversation."""
    figure, axes = plt.subplots(figsize=(7, 3.6))
    turns = [turn["turn"] for turn in server["turns"]]
    for name, label, colour in (
        (UPSTREAM, "chatglm_cpp.openai_api, as the tutorial starts it", "theirs"),
        (LLAMA_SERVER, "llama.cpp's server (native)", "third"),
        ("ours", "ours", "ours"),
    ):
        if name in server["turns"][0]:
            seconds = [turn[name] for turn in server["turns"]]
            axes.plot(turns, seconds, marker="o", color=COLOURS[colour], label=label)
    ticks = [f"{turn['turn']}\n{turn['prompt_tokens']} tokens" for turn in server["turns"]]
    axes.set_xticks(turns, ticks)
    _from_zero(axes)
    axes.set_xlabel("turn of the conversation, length of its prompt")
    axes.set_ylabel("seconds to the first token")
    axes.set_title(f"Time to the first token ({server['shape']})", loc="left")
    axes.legend(frameon=False)
    return figure


def prompt_speed(engine: Mapping[str, Any], scale: Mapping[str, Any]) -> Any:
    """Tokens of a prompt a second, over its length: all engines, and ours alone up to 4096 tokens."""
    growth = scale.get("growth", {}).get("prompt with two layers, by tokens", [])
    figure, panels = plt.subplots(1, 2 if growth else 1, figsize=(9 if growth else 6, 3.6), squeeze=False)
    axes = panels[0][0]
    names = {"llama.cpp": "theirs", "ours avx2": "ours", "ours avx": "third", "ours avx2, no OpenBLAS": "grey"}
    for name, colour in names.items():
        speeds = {int(key): median(some) for key, some in engine["speeds"].get(name, {}).items() if key.isdigit()}
        if speeds:
            axes.plot(list(speeds), list(speeds.values()), marker="o", color=COLOURS[colour], label=name)
    _lengths_axis(axes, sorted({int(key) for some in engine["speeds"].values() for key in some if key.isdigit()}))
    axes.set_title(f"Prompt speed, {engine['shape']}", loc="left")
    axes.legend(frameon=False)
    if growth:
        alone = panels[0][1]
        alone.plot([n for n, _ in growth], [n / median(s) for n, s in growth], marker="o", color=COLOURS["ours"])
        _lengths_axis(alone, [n for n, _ in growth])
        alone.set_title("ours, chunks of 256, 2 of 28 layers", loc="left")
    figure.tight_layout()
    return figure


def _from_zero(axes: Any) -> None:
    axes.set_ylim(0, 1.08 * max(max(line.get_ydata()) for line in axes.get_lines()))


def _lengths_axis(axes: Any, lengths: list[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(lengths, [str(length) for length in lengths])
    axes.minorticks_off()
    _from_zero(axes)
    axes.set_xlabel("tokens in the prompt")
    axes.set_ylabel("tokens a second")


def build_steps(steps: Mapping[str, Mapping[str, float]]) -> Any:
    """Seconds of each step, cold and warm."""
    kinds = [kind for kind in ("cold", "warm") if steps.get(kind)]
    figure, panels = plt.subplots(1, len(kinds), figsize=(5 * len(kinds) + 1, 3.6), squeeze=False)
    for axes, kind in zip(panels[0], kinds, strict=True):
        shown = list(steps[kind].items())[::-1]
        bars = axes.barh([name for name, _ in shown], [seconds for _, seconds in shown], color=COLOURS["ours"])
        axes.bar_label(bars, [f"{seconds:.1f} s" for _, seconds in shown], padding=3, fontsize=8)
        axes.set_xlim(right=1.15 * max(seconds for _, seconds in shown))
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("seconds")
        axes.set_title(f"{kind} build: {sum(seconds for _, seconds in shown):.0f} s in steps", loc="left")
    figure.tight_layout()
    return figure


if __name__ == "__main__":
    main()
