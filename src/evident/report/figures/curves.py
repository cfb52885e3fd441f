"""Curves over pixels, thresholds and features."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.optimize import isotonic_regression

from evident.report.figures.axes import plain_numbers, text_width
from evident.report.tables.order import best_first
from evident.report.tables.titles import UNTITLED, title_of

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
METHODS, BEST = 8, 4  # methods in a figure, and those of them that are the best
REFERENCES = ("random", "oracle")  # the ends of the scale; all other references are in the table
PANELS = 12  # in a figure
DPI = 100
LEFT, PANEL, TOP, BOTTOM = 0.62, (2.5, 2.1), 0.36, 0.5  # inches
LABEL, LINE = 6.5, 1.2  # size in points, height in sizes


def chosen_methods(curves: pd.DataFrame, table: pd.DataFrame, references: Collection[str]) -> list[str]:
    """Return the explainers whose curves a figure shows, methods before references.

    These are at most eight methods: the four best and the worst by the first score of `table` that has a direction,
    and then, curve by curve, the method with the largest and the one with the smallest area under it. So the best
    ones are there, and so is the range of all. References are the row `random`, and the oracle where there is one.
    """
    drawn = set(curves["explainer"])
    order = [name for name in best_first(table, references) if name in drawn]
    methods = [name for name in order if name not in references]
    shown = list(dict.fromkeys([*methods[:BEST], *methods[-1:]]))
    own = curves[curves["explainer"].isin(methods)]
    for _, rows in own.groupby("metric", sort=False):
        areas = rows.groupby("explainer", sort=False).apply(_area).sort_values(kind="stable")
        shown += [name for name in (*areas.index[-1:], *areas.index[:1]) if name not in shown]
    if len(methods) <= METHODS:
        shown = methods
    kept = set(shown[:METHODS])
    return [name for name in methods if name in kept] + [name for name in REFERENCES if name in order]


def curves_figure(
    curves: pd.DataFrame,
    references: Collection[str],
    followed: str = "relative probability",
    titles: Mapping[str, str] = UNTITLED,
) -> Figure:
    """Draw means and 95 % intervals (bands) of all explainers, one panel per curve, references dashed in grey.

    `curves` has the columns explainer, metric, axis, at, mean, ci_low and ci_high, of a few explainers
    (`chosen_methods`). Their `titles` stand at the ends of the lines. `followed` is what deletion and insertion
    measure: it labels the values of curves over pixels.
    """
    metrics = list(dict.fromkeys(curves["metric"]))
    names = list(dict.fromkeys(curves["explainer"]))
    shown = {name: title_of(name, titles) for name in names}
    columns = min(3, len(metrics))
    rows = -(-len(metrics) // columns)
    across = LEFT + PANEL[0] + 0.25 + text_width(shown.values(), LABEL, DPI)
    down = TOP + PANEL[1] + BOTTOM
    width, height = columns * across, rows * down
    figure = Figure(figsize=(width, height), dpi=DPI)
    styles = _line_styles(names, references)
    for place, metric in enumerate(metrics):
        row, column = divmod(place, columns)
        left, bottom = column * across + LEFT, height - (row + 1) * down + BOTTOM
        axes = figure.add_axes((left / width, bottom / height, PANEL[0] / width, PANEL[1] / height))
        own = curves[curves["metric"] == metric]
        ends = {}
        for name, part in own.dropna(subset="mean").groupby("explainer", sort=False):
            style = styles[str(name)]
            axes.fill_between(part["at"], part["ci_low"], part["ci_high"], color=style["color"], alpha=0.13, lw=0)
            axes.plot(part["at"], part["mean"], label=shown[str(name)], **style)
            ends[str(name)] = (float(part["at"].iloc[-1]), float(part["mean"].iloc[-1]))
        axes.margins(x=0)
        over, title = own["axis"].iloc[0], metric.replace("_", " ")
        axes.set_title(title, fontsize=8.5)
        axes.set_xlabel(POSITIONS.get(over, over), fontsize=8)
        label = VALUES.get(metric, followed if over == "pixels" else VALUES.get(over, title))
        axes.set_ylabel(label, fontsize=8)
        axes.tick_params(labelsize=7)
        plain_numbers(axes)
        sns.despine(ax=axes)
        _label_ends(axes, {shown[name]: end for name, end in ends.items()}, [styles[name]["color"] for name in ends])
    return figure


def _area(rows: pd.DataFrame) -> float:
    return float(np.trapezoid(rows["mean"], rows["at"]))


def _label_ends(axes: Axes, ends: Mapping[str, tuple[float, float]], colours: Sequence[Any]) -> None:
    """Write a label right of the end (at, value) of each line, in its colour, moved where labels would overlap."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)
    wanted = np.array([(value - low) / (high - low) for _, value in ends.values()])
    heights = apart(wanted, LABEL * LINE / 72 / PANEL[1])
    for (name, end), height, colour in zip(ends.items(), heights, colours, strict=True):
        line = {"arrowstyle": "-", "lw": 0.5, "color": colour, "shrinkA": 1, "shrinkB": 0, "relpos": (0, 0.5)}
        axes.annotate(
            name, end, (1.05, float(height)), textcoords="axes fraction", arrowprops=line, annotation_clip=False,
            fontsize=LABEL, color=colour, va="center", ha="left", parse_math=False,
        )  # fmt: skip


def apart(wanted: np.ndarray, gap: float) -> np.ndarray:
    """Return the places nearest to `wanted` (least squares) that are `gap` apart, inside [0, 1] if there is room."""
    order = np.argsort(wanted, kind="stable")
    steps = gap * np.arange(len(wanted))
    free = isotonic_regression(wanted[order] - steps).x
    placed = free.clip(0, max(1 - gap * (len(wanted) - 1), 0)) + steps
    found = np.empty(len(wanted))
    found[order] = placed
    return found


def ablation_figure(curves: pd.DataFrame, titles: Mapping[str, str] = UNTITLED) -> Figure:
    """Draw the accuracy on the class while relevant, random or the least relevant features are set to zero.

    `curves` has the columns explainer, metric (`ablation_CHOICE`), at, mean, ci_low and ci_high. Explainers that
    learned the same relevance share a panel, above which their `titles` stand.
    """
    panels: dict[tuple[float, ...], list[str]] = {}
    for name, part in curves.groupby("explainer", sort=False):
        panels.setdefault(tuple(part["mean"]), []).append(str(name))
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.3 * rows), dpi=DPI, layout="constrained")
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
        axes.set_title("\n".join(title_of(each, titles) for each in (name, *same)), fontsize=9)
        axes.set_xlabel(POSITIONS["features"], fontsize=8)
        axes.set_ylabel(VALUES["features"], fontsize=8)
        axes.tick_params(labelsize=7)
        axes.legend(loc="lower left", fontsize=7.5, frameon=False)
        sns.despine(ax=axes)
    return figure


def _line_styles(names: Sequence[str], references: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return a colour for each method, and dashed greys for the references."""
    methods = [name for name in names if name not in references]
    # The palette without its grey, which is that of references.
    palette = [colour for number, colour in enumerate(sns.color_palette("tab10")) if number != 7]
    styles: dict[str, dict[str, Any]] = {
        name: {"color": palette[index % len(palette)], "ls": "-", "lw": 1.3} for index, name in enumerate(methods)
    }
    greys = [name for name in names if name in references]
    for index, name in enumerate(greys):
        styles[name] = {"color": str(0.55 * index / max(len(greys) - 1, 1)), "ls": "--", "lw": 1}
    return styles
