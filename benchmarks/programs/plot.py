"""Plots of a run. Needs matplotlib, nothing of the project.

usage: plot.py RUN.json STEM

Writes STEM-recall.png (throughput over recall) and STEM-latency.png (latency percentiles), each if the run
has the numbers for it.
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib  # type: ignore[import-not-found]  # only its own environment has it

matplotlib.use("Agg")

from matplotlib import pyplot

SWEEP = "sweep"
SIZE = (8, 5)
DOTS_PER_INCH = 120


def main() -> None:
    run = json.loads(Path(sys.argv[1]).read_text())
    loads = [load for load in run["loads"] if load["part"] == "search"]
    systems = list(dict.fromkeys(load["system"] for load in run["loads"]))
    colours = {system: f"C{number}" for number, system in enumerate(systems)}
    recall(loads, colours, sys.argv[2])
    latency(loads, colours, sys.argv[2])


def recall(loads: list[dict[str, Any]], colours: dict[str, str], stem: str) -> None:
    swept = [load for load in loads if load["note"] == SWEEP and load["recall"] >= 0]
    if not swept:
        return
    figure, axes = pyplot.subplots(figsize=SIZE)
    for system, colour in colours.items():
        points = sorted((load["recall"], load["qps"]) for load in swept if load["system"] == system)
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", label=system, color=colour)
    axes.set(xlabel="recall@10", ylabel="searches a second, 1 client", yscale="log")
    finish(figure, axes, f"{stem}-recall.png")


def latency(loads: list[dict[str, Any]], colours: dict[str, str], stem: str) -> None:
    """The weakest and the strongest level of each system, at the least and the most clients up to 16."""
    settled = [load for load in loads if load["note"] != SWEEP and load["percentiles"]]
    counts = sorted({load["clients"] for load in settled if load["clients"] <= 16})
    if not counts:
        return
    shown = list(dict.fromkeys((counts[0], counts[-1])))
    figure, all_axes = pyplot.subplots(1, len(shown), figsize=(SIZE[0] * len(shown) * 0.75, SIZE[1]))
    for axes, clients in zip([all_axes] if len(shown) == 1 else list(all_axes), shown, strict=True):
        for load in settled:
            if load["clients"] != clients or load["level"] not in ("Strong", "Eventually"):
                continue
            names = list(load["percentiles"])
            style = "--" if load["level"] == "Strong" else "-"
            axes.plot(
                names,
                [load["percentiles"][name] for name in names],
                style,
                label=f"{load['system']}, {load['level']}",
                color=colours[load["system"]],
            )
        title = f"{clients} client{'s' if clients != 1 else ''}"
        axes.set(xlabel="percentile", ylabel="ms", yscale="log", title=title)
    finish(figure, axes, f"{stem}-latency.png")


def finish(figure: Any, axes: Any, path: str) -> None:
    for each in figure.axes:
        each.grid(True, which="both", alpha=0.3)
    axes.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(path, dpi=DOTS_PER_INCH)


if __name__ == "__main__":
    main()
