# SPDX-License-Identifier: Apache-2.0
"""`bench/plot`: the scaling curves as pictures, one per curve, from the results that are kept."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot

from bench.frame.results import FOLDER, Results, read_all
from bench.frame.rows import Curve

mpl.use("agg")  # files only, no display


def draw(results: Sequence[Results], folder: Path) -> None:
    """One PNG per curve: medians as a line, all samples as dots."""
    for found in results:
        for curve in found.curves:
            _draw(curve, folder / f"{curve.name.replace('/', '-')}.png")


def _draw(curve: Curve, path: Path) -> None:
    figure, axes = pyplot.subplots(figsize=(6, 3.5), dpi=90, layout="constrained")
    for name, values in curve.series.items():
        points = [(x, at) for x, at in zip(curve.x, values, strict=True) if at]
        middles = [statistics.median(at) for _, at in points]
        (line,) = axes.plot([x for x, _ in points], middles, marker="o", label=name)
        for x, at in points:
            axes.scatter([x] * len(at), at, s=6, color=line.get_color(), alpha=0.5)
    axes.set_xlabel(curve.x_name)
    axes.set_ylabel(curve.y_name)
    axes.set_ylim(bottom=0)
    if curve.log_x:
        axes.set_xscale("log", base=2 if curve.x[-1] / curve.x[0] < 1000 else 10)
    axes.set_title(curve.name, fontsize="medium")
    axes.grid(alpha=0.3)
    if len(curve.series) > 1:
        axes.legend(fontsize="small")
    figure.savefig(path, metadata={"Software": None})
    pyplot.close(figure)


if __name__ == "__main__":
    draw(read_all(), FOLDER)
