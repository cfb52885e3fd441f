"""The experiment's figures: explanations side by side, scores with intervals, curves."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from torch import Tensor

from evident.callbacks.figures import draw_heatmap, draw_image


def _tight() -> ConstrainedLayoutEngine:
    return ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.03, wspace=0.01, hspace=0.01)


def examples_figure(examples: dict[str, dict[str, Tensor]]) -> Figure:
    """Images down, explainers across, the true evidence outlined in white."""
    first = next(iter(examples.values()))
    count = len(first["images"])
    figure = Figure(figsize=(1.05 * (len(examples) + 1), 1.05 * count + 0.7), dpi=100, layout=_tight())
    grid = figure.subplots(count, len(examples) + 1, squeeze=False)
    for row in range(count):
        draw_image(grid[row, 0], first["images"][row])
        for column, kept in enumerate(examples.values(), start=1):
            mask = kept["masks"][row] if "masks" in kept else None
            draw_heatmap(grid[row, column], kept["images"][row], kept["heatmaps"][row], mask)
    for axes, name in zip(grid[0], ["image", *examples], strict=True):
        axes.set_title(name.replace("_", "\n"), fontsize=8, va="bottom")
    return figure


def scores_figure(table: pd.DataFrame, references: set[str]) -> Figure:
    """A panel a metric: every explainer's mean and 95 % interval, best on top, reference rows hollow."""
    metrics = list(dict.fromkeys(table["metric"]))
    columns = min(4, len(metrics))
    rows = -(-len(metrics) // columns)
    height = 0.16 * table["explainer"].nunique() + 0.7
    figure = Figure(figsize=(3.6 * columns, height * rows), dpi=100, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(metrics) :]:
        axes.set_axis_off()
    for axes, metric in zip(grid.flat, metrics, strict=False):
        part = table[table["metric"] == metric].dropna(subset="mean")
        higher = bool((part["direction"] == "higher").all())
        part = part.sort_values("mean", ascending=higher, kind="stable").reset_index(drop=True)
        for position, row in part.iterrows():
            reference = row["explainer"] in references
            colour = "0.45" if reference else sns.color_palette("deep")[0]
            axes.plot([row["ci_low"], row["ci_high"]], [position, position], color=colour, lw=1.5)
            face = "white" if reference else colour
            axes.plot(row["mean"], position, "o", ms=4.5, color=colour, markerfacecolor=face)
        axes.set_yticks(range(len(part)), part["explainer"], fontsize=7)
        axes.tick_params(axis="x", labelsize=7)
        axes.set_title(f"{metric.replace('_', ' ')} ({'higher' if higher else 'lower'} is better)", fontsize=8)
        axes.grid(axis="x", lw=0.4, color="0.85")
        sns.despine(ax=axes)
    return figure


def curves_figure(curves: pd.DataFrame, references: set[str]) -> Figure:
    """A panel a curve: the mean over images of every explainer, reference rows dashed."""
    metrics = list(dict.fromkeys(curves["metric"]))
    columns = min(2, len(metrics))
    rows = -(-len(metrics) // columns)
    figure = Figure(figsize=(4.4 * columns + 2, 3.3 * rows), dpi=100, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    names = list(dict.fromkeys(curves["explainer"]))
    methods = [name for name in names if name not in references]
    palette = dict(zip(methods, sns.color_palette("husl", len(methods)), strict=True))
    greys = {name: str(level) for name, level in zip(sorted(references), np.linspace(0.1, 0.7, 4), strict=False)}
    for axes in grid.flat[len(metrics) :]:
        axes.set_axis_off()
    for axes, metric in zip(grid.flat, metrics, strict=False):
        for name, part in curves[curves["metric"] == metric].groupby("explainer", sort=False):
            style = {"color": greys[name], "ls": "--", "lw": 1} if name in references else {"color": palette[name]}
            axes.plot(part["at"], part["mean"], label=name, **{"lw": 1.3, **style})
        axes.set_title(metric.replace("_", " "), fontsize=9)
        axes.set_xlabel("threshold" if metric.startswith("iou") else "share of pixels", fontsize=8)
        axes.set_ylabel("IoU" if metric.startswith("iou") else "probability of the class", fontsize=8)
        axes.tick_params(labelsize=7)
        sns.despine(ax=axes)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside right center", fontsize=7, frameon=False)
    return figure
