"""The experiment's figures: explanations side by side, scores with intervals, curves."""

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from evident.report.figures.heatmaps import heatmap_colours

GAP = 4  # pixels between two pictures of the grid
CHOICES = {"relevant": "tab:red", "random": "0.45", "least": "tab:blue"}


def examples_figure(examples: dict[str, dict[str, Tensor]]) -> Figure:
    """Images down, explainers across, the true evidence outlined in white."""
    first = next(iter(examples.values()))
    count, _, height, width = first["images"].shape
    down, across = height + GAP, width + GAP
    # One picture of all is drawn many times faster than an axes for each.
    canvas = np.ones((count * down - GAP, (len(examples) + 1) * across - GAP, 3))
    figure = Figure(figsize=(1.05 * canvas.shape[1] / down, 1.05 * canvas.shape[0] / down + 0.4), dpi=110)
    axes = figure.add_axes((0.002, 0.002, 0.996, 1 - 0.4 / figure.get_figheight()))
    for row in range(count):
        top = row * down
        canvas[top : top + height, :width] = first["images"][row].permute(1, 2, 0) / 255
        for column, kept in enumerate(examples.values(), start=1):
            left = column * across
            coloured = heatmap_colours(kept["images"][row], kept["heatmaps"][row])
            canvas[top : top + height, left : left + width] = coloured
            if "masks" in kept and kept["masks"][row].any() and not kept["masks"][row].all():
                xs, ys = np.arange(left, left + width), np.arange(top, top + height)
                axes.contour(xs, ys, kept["masks"][row].numpy(), levels=[0.5], colors="white", linewidths=0.8)
    # Averages neighbours where a picture is larger than its place, so that fine maps do not shimmer.
    axes.imshow(canvas, interpolation="auto")
    axes.set_axis_off()
    for column, name in enumerate(["image", *examples]):
        centre = column * across + width / 2
        axes.text(centre, -GAP, _two_lines(name), fontsize=8, ha="center", va="bottom", linespacing=1.1)
    return figure


def _two_lines(name: str) -> str:
    """The name's words on two lines of about the same length."""
    words = name.split("_")
    splits = [(" ".join(words[:cut]), " ".join(words[cut:])) for cut in range(1, len(words))]
    return "\n".join(min(splits, key=lambda lines: max(map(len, lines)))) if splits else name


def scores_figure(table: pd.DataFrame, references: set[str]) -> Figure:
    """A panel a metric: every explainer's mean and 95 % interval, best on top, reference rows hollow."""
    explainers = table.groupby("metric", sort=False)["explainer"].nunique()
    metrics = list(explainers.index[explainers >= min(2, explainers.max())])  # no panel of a single point
    columns = min(4, len(metrics))
    rows = -(-len(metrics) // columns)
    height = 0.16 * table["explainer"].nunique() + 0.7
    figure = Figure(figsize=(3.6 * columns, height * rows), dpi=100, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(metrics) :]:
        axes.set_axis_off()
    for axes, metric in zip(grid.flat, metrics, strict=False):
        part = table[table["metric"] == metric]
        direction = part["direction"].iloc[0]
        part = part.dropna(subset="mean").sort_values("mean", ascending=direction != "lower", kind="stable")
        part = part.reset_index(drop=True)
        for position, row in part.iterrows():
            reference = row["explainer"] in references
            colour = "0.45" if reference else sns.color_palette("deep")[0]
            axes.plot([row["ci_low"], row["ci_high"]], [position, position], color=colour, lw=1.5)
            face = "white" if reference else colour
            axes.plot(row["mean"], position, "o", ms=4.5, color=colour, markerfacecolor=face)
        axes.set_yticks(range(len(part)), part["explainer"], fontsize=7)
        axes.tick_params(axis="x", labelsize=7)
        axes.set_title(f"{metric.replace('_', ' ')} ({direction} is better)", fontsize=8)
        axes.grid(axis="x", lw=0.4, color="0.85")
        sns.despine(ax=axes)
    return figure


def curves_figure(curves: pd.DataFrame, references: set[str], followed: str = "probability of the class") -> Figure:
    """A panel a curve but those of `ablation_figure`: the mean over images of every explainer, references in grey.

    `followed` is what deletion and insertion follow.
    """
    curves = curves[~is_ablation(curves["metric"])]
    metrics = list(dict.fromkeys(curves["metric"]))
    columns = min(3, len(metrics) + 1)  # one panel more, for the legend
    rows = -(-(len(metrics) + 1) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.3 * rows), dpi=100, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    styles = _line_styles(list(dict.fromkeys(curves["explainer"])), references)
    for axes in grid.flat[len(metrics) :]:
        axes.set_axis_off()
    for axes, metric in zip(grid.flat, metrics, strict=False):
        for name, part in curves[curves["metric"] == metric].groupby("explainer", sort=False):
            axes.plot(part["at"], part["mean"], label=name, **styles[str(name)])
        is_iou = metric.startswith("iou")
        axes.set_title(metric.replace("_", " "), fontsize=9)
        axes.set_xlabel("threshold" if is_iou else "share of pixels", fontsize=8)
        axes.set_ylabel("IoU" if is_iou else followed, fontsize=8)
        axes.tick_params(labelsize=7)
        sns.despine(ax=axes)
    lines = grid[0, 0].get_legend_handles_labels()
    grid.flat[-1].legend(*lines, loc="center", ncols=2, fontsize=7.5, frameon=False, handlelength=3)
    return figure


def ablation_figure(curves: pd.DataFrame) -> Figure:
    """Accuracy on the class as relevant, random or the least relevant features are zeroed.

    A panel for all explainers that have learnt the same relevance.
    """
    panels: dict[tuple[float, ...], list[str]] = {}
    for name, part in curves.groupby("explainer", sort=False):
        panels.setdefault(tuple(part["mean"]), []).append(str(name))
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.3 * rows), dpi=100, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, (name, *same) in zip(grid.flat, panels.values(), strict=False):
        for choice, colour in CHOICES.items():
            part = curves[(curves["explainer"] == name) & (curves["metric"] == f"ablation_{choice}")]
            axes.fill_between(part["at"], part["ci_low"], part["ci_high"], color=colour, alpha=0.2, lw=0)
            axes.plot(part["at"], part["mean"], color=colour, lw=1.3, label=choice)
        axes.set_ylim(-0.02, 1.02)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title("\n".join([name, *same]), fontsize=9)
        axes.set_xlabel("features removed", fontsize=8)
        axes.set_ylabel("accuracy on the class", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.legend(loc="lower left", fontsize=7.5, frameon=False)
        sns.despine(ax=axes)
    return figure


def is_ablation(metric: pd.Series) -> pd.Series:
    """Which names of metrics are curves over features, for `ablation_figure`, and not over pixels."""
    return metric.str.startswith("ablation").astype(bool)


def _line_styles(names: list[str], references: set[str]) -> dict[str, dict[str, Any]]:
    """Ten colours, solid and then dash-dotted, for the methods; greys for the reference rows."""
    methods = [name for name in names if name not in references]
    palette = sns.color_palette("tab10")
    styles: dict[str, dict[str, Any]] = {
        name: {"color": palette[index % 10], "ls": ("-", "-.", ":")[index // 10 % 3], "lw": 1.3}
        for index, name in enumerate(methods)
    }
    greys = [name for name in names if name in references]
    for index, name in enumerate(greys):
        styles[name] = {"color": str(0.75 * index / max(len(greys), 1)), "ls": "--", "lw": 1}
    return styles
