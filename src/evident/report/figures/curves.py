"""Curves over pixels, thresholds and features."""

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Labels of the positions of a curve, by its axis, and of its values, by its metric or its axis.
POSITIONS = {
    "pixels": "share of pixels",
    "features": "features removed",
    "attributes": "attribute",
    "thresholds": "threshold",
    "depths": "share of layers, from the output",
}
VALUES = {"features": "accuracy on the class", "thresholds": "IoU", "sensitivity_n": "correlation"}
CHOICES = {"relevant": "tab:red", "random": "0.45", "least": "tab:blue"}


def curves_figure(curves: pd.DataFrame, references: set[str], followed: str = "relative probability") -> Figure:
    """Draw the mean over images of every explainer, one panel per curve, references dashed in grey.

    `curves` has the columns explainer, metric, axis, at and mean. `followed` is what deletion and insertion measure: it
    labels the values of curves over pixels.
    """
    metrics = list(dict.fromkeys(curves["metric"]))
    columns = min(3, len(metrics) + 1)  # one more panel, for the legend
    rows = -(-(len(metrics) + 1) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.3 * rows), dpi=100, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    styles = _line_styles(list(dict.fromkeys(curves["explainer"])), references)
    for axes in grid.flat[len(metrics) :]:
        axes.set_axis_off()
    for axes, metric in zip(grid.flat, metrics, strict=False):
        own = curves[curves["metric"] == metric]
        for name, part in own.groupby("explainer", sort=False):
            axes.plot(part["at"], part["mean"], label=name, **styles[str(name)])
        over, title = own["axis"].iloc[0], metric.replace("_", " ")
        axes.set_title(title, fontsize=9)
        axes.set_xlabel(POSITIONS.get(over, over), fontsize=8)
        label = VALUES.get(metric, followed if over == "pixels" else VALUES.get(over, title))
        axes.set_ylabel(label, fontsize=8)
        axes.tick_params(labelsize=7)
        sns.despine(ax=axes)
    lines = grid[0, 0].get_legend_handles_labels()
    grid.flat[-1].legend(*lines, loc="center", ncols=2, fontsize=7.5, frameon=False, handlelength=3)
    return figure


def ablation_figure(curves: pd.DataFrame) -> Figure:
    """Draw the accuracy on the class while relevant, random or the least relevant features are set to zero.

    `curves` has the columns explainer, metric (`ablation_CHOICE`), at, mean, ci_low and ci_high. Explainers that
    learned the same relevance share a panel.
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
        axes.set_xlabel(POSITIONS["features"], fontsize=8)
        axes.set_ylabel(VALUES["features"], fontsize=8)
        axes.tick_params(labelsize=7)
        axes.legend(loc="lower left", fontsize=7.5, frameon=False)
        sns.despine(ax=axes)
    return figure


def _line_styles(names: list[str], references: set[str]) -> dict[str, dict[str, Any]]:
    """Return ten colours for the methods, solid, then dash-dotted, then dotted, and dashed greys for the references."""
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
