"""How similar maps stay when the weights of their network are randomised."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from evident.report.tables.sanity import DEPENDS, IGNORES, MEASURES, UNDECIDED
from evident.report.tables.titles import UNTITLED, title_of

COLOURS = {DEPENDS: "#2166ac", UNDECIDED: "#777777", IGNORES: "#b2182b"}
ROW, COLUMN, INTERVALS, NAMES = 0.19, 0.31, 2.2, 1.6  # inches
GAP = 0.4  # columns, between two blocks
SIZE = 7  # points
HEADINGS = {"cascading": "all up to this depth", "independent": "this layer alone"}


class Block(NamedTuple):
    """Hold neighbouring columns of a table of colours: their heading, their labels, and their values by explainer."""

    heading: str
    labels: list[str]
    values: pd.DataFrame


def sanity_figure(
    table: pd.DataFrame,
    points: pd.DataFrame,
    references: Collection[str],
    limit: float,
    titles: Mapping[str, str] = UNTITLED,
) -> Figure:
    """Draw the decisive interval of every explainer, and a table of colours for each measure with a column per depth.

    `table` is that of `tables.sanity.sanity` for one network, whose order is kept; `points` are the means of the curves
    by explainer, metric and depth `at`. References are in italics, with hollow points. Rows are called by `titles`.
    """
    names = list(dict.fromkeys(table["explainer"]))
    blocks = {measure: _blocks(table, points, measure) for measure in MEASURES}
    widths = [INTERVALS, *(COLUMN * max(_width(found), 1) for found in blocks.values())]
    layout = ConstrainedLayoutEngine(wspace=0.05)  # more than between the blocks of a panel
    figure = Figure(figsize=(NAMES + sum(widths) + 0.8, ROW * len(names) + 1.5), dpi=110, layout=layout)
    first, *panels = figure.subplots(1, len(widths), sharey=True, width_ratios=widths)
    _draw_intervals(first, table, names, references, limit)
    first.set_yticks(range(len(names)), [title_of(name, titles) for name in names], fontsize=SIZE, parse_math=False)
    for label, name in zip(first.get_yticklabels(), names, strict=True):
        label.set_fontstyle("italic" if name in references else "normal")
    for axes, (measure, found) in zip(panels, blocks.items(), strict=True):
        _draw_colours(axes, names, found)
        axes.set_title(MEASURES[measure], fontsize=SIZE + 2, pad=30)
    first.set_ylim(len(names) - 0.5, -0.5)
    legend = figure.legend(handles=_legend(), loc="outside lower left", ncols=4, fontsize=SIZE, frameon=False)
    legend.set_title("columns: depth, as a share of the layers, counted from the output")
    legend.get_title().set_fontsize(SIZE)
    legend.set_alignment("left")
    return figure


def _blocks(table: pd.DataFrame, points: pd.DataFrame, measure: str) -> list[Block]:
    found = []
    for prefix, heading in HEADINGS.items():
        own = points[points["metric"] == f"{prefix}_{measure}"].pivot(index="explainer", columns="at", values="mean")
        if len(own):
            found.append(Block(heading, [f"{at:.0%}" for at in own.columns], own))
    labels = table[(table["randomised"] == "labels") & (table["measure"] == measure)].set_index("explainer")[["mean"]]
    return [*found, Block("labels", [""], labels)] if len(labels) else found


def _width(blocks: Sequence[Block]) -> float:
    """Return the width of neighbouring blocks, in columns."""
    return sum(len(block.labels) for block in blocks) + GAP * (len(blocks) - 1)


def _draw_intervals(
    axes: Axes, table: pd.DataFrame, names: Sequence[str], references: Collection[str], limit: float
) -> None:
    decisive = table[(table["randomised"] == "all layers") & (table["measure"] == "spearman")].set_index("explainer")
    axes.axvline(limit, color="0.3", lw=0.9, ls="--", zorder=1)
    for row, name in enumerate(names):
        if name not in decisive.index:
            continue
        found = decisive.loc[name]
        colour = COLOURS[str(found["verdict"])]
        axes.plot([found["ci_low"], found["ci_high"]], [row, row], color=colour, lw=1.5)
        face = "white" if name in references else colour
        axes.plot(found["mean"], row, "o", ms=4.5, color=colour, markerfacecolor=face)
    lowest = decisive["ci_low"].min()
    axes.set_xlim(max(-1.08, min(-0.15, lowest - 0.05)), 1.08)  # intervals may go beyond what a correlation can be
    axes.tick_params(axis="x", labelsize=SIZE)
    axes.tick_params(axis="y", length=0)
    axes.set_title("Spearman, all layers random,\n95 % interval", fontsize=SIZE + 1)
    axes.grid(lw=0.4, color="0.88")
    axes.set_axisbelow(True)
    sns.despine(ax=axes, left=True)


def _draw_colours(axes: Axes, names: Sequence[str], blocks: Sequence[Block]) -> None:
    colours = sns.color_palette("rocket_r", as_cmap=True)
    left = 0.0
    for block in blocks:
        values = block.values.reindex(list(names)).to_numpy(float)
        across, down = np.arange(values.shape[1] + 1) + left - 0.5, np.arange(len(names) + 1) - 0.5
        axes.pcolormesh(across, down, values, cmap=colours, vmin=0, vmax=1, edgecolors="white", lw=0.5)
        for (row, column), value in np.ndenumerate(values):
            if not np.isnan(value):
                shade = "white" if value > 0.55 else "black"
                written = axes.text(left + column, row, f"{value:z.2f}", fontsize=SIZE - 1.5, color=shade)
                written.set(ha="center", va="center")
        for column, label in enumerate(block.labels):
            _write_above(axes, left + column, label, points=3, size=SIZE - 1)
        _write_above(axes, left + (len(block.labels) - 1) / 2, block.heading, points=16, size=SIZE)
        left += len(block.labels) + GAP
    axes.set_xlim(-0.55, max(_width(blocks), 1) - 0.45)
    axes.set_xticks([])
    axes.tick_params(axis="y", length=0, labelleft=False)
    sns.despine(ax=axes, left=True, bottom=True)


def _write_above(axes: Axes, column: float, text: str, points: float, size: float) -> None:
    """Write a text so many points above the panel."""
    place = ("data", "axes fraction")
    written = axes.annotate(text, (column, 1), (0, points), xycoords=place, textcoords="offset points", fontsize=size)
    written.set(ha="center", va="bottom")


def _legend() -> list[Line2D]:
    lines = [Line2D([], [], color=colour, marker="o", ms=4.5, label=name) for name, colour in COLOURS.items()]
    hollow = Line2D([], [], color="0.3", marker="o", ms=4.5, mfc="white", ls="")
    hollow.set_label("reference row, ignores the network")
    return [*lines, hollow]
