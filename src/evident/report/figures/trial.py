"""Figures of the trial of metrics: tables of colours, one row per metric."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import dendrogram, linkage
from scipy.spatial.distance import squareform

from evident.report.tables.validity import PERFECT

CELL = 0.2  # inches
BOTH = {"vmin": -1, "vmax": 1, "cmap": "vlag_r"}  # blue: agreement, red: opposition
SHARES = {"vmin": 0, "vmax": 1, "cmap": "Blues"}


def short(value: float) -> str:
    """Return a number with two digits, without the zero before the point; nothing for NaN."""
    if np.isnan(value):
        return ""
    text = f"{value:.2f}" if abs(value) >= 0.005 else "0"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


def _colours(
    axes: Axes,
    table: pd.DataFrame,
    notes: pd.DataFrame | bool = False,
    colours: Mapping[str, Any] = BOTH,
) -> None:
    """Draw a table of numbers as colours; missing ones are grey, with their numbers or `notes` as text."""
    axes.set_facecolor("0.9")
    text = {"annot": notes, "fmt": "", "annot_kws": {"fontsize": 6}}
    if notes is True:
        text["annot"] = table.map(short)
    scale = {**colours, "cbar": False}
    sns.heatmap(table, ax=axes, linewidths=0.5, linecolor="white", **scale, **text)
    axes.set(xlabel="", ylabel="")
    axes.set_yticks(np.arange(len(table)) + 0.5, [_words(name) for name in table.index], rotation=0, fontsize=7)
    columns = [_words(name) for name in table.columns]
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns, rotation=90, fontsize=7)
    axes.tick_params(length=0)


def _words(name: object) -> str:
    return str(name).replace("_", " ")


def validity_figure(table: pd.DataFrame) -> Figure:
    """Draw tau of each metric with each truth on each model, with its interval, sorted by the first that judges it.

    `table` is the summary of `tables.validity.Validity`. Grey: the truth may not judge the metric. Perfect metrics are
    drawn as one row.
    """
    known = table.assign(
        judge=table["truth"] + "\n" + table["model"].map(_words),
        metric=table["metric"].where(~table["metric"].str.startswith(PERFECT), PERFECT),
    )
    judges = list(dict.fromkeys(known["judge"]))
    wide, low, high = (
        known.pivot(index="metric", columns="judge", values=name)[judges] for name in ("tau", "ci_low", "ci_high")
    )
    order = wide.sort_values(judges, ascending=False, kind="stable").index
    wide, low, high = (values.loc[order] for values in (wide, low, high))
    bounds = " [" + low.map(short) + ", " + high.map(short) + "]"
    notes = wide.map(short) + bounds.where(low.notna(), "")
    figure = Figure(figsize=(2.6 + 1.15 * len(judges), CELL * len(wide) + 1.3), dpi=110, layout="constrained")
    axes = figure.subplots()
    _colours(axes, wide, notes)
    axes.xaxis.tick_top()
    axes.tick_params(axis="x", rotation=0)
    sample = f"{table['networks'].max()} networks, {table['families'].max()} families"
    sample += "; grey: not judged by it" if wide.isna().any(axis=None) else ""
    # Two lines: a trial with one truth has a narrow figure.
    axes.set_title(f"Kendall's tau with what the network uses\n{sample}", fontsize=8)
    return figure


def doses_figure(table: pd.DataFrame) -> Figure:
    """Draw what is left of the oracle's score at each dose: 1 for the oracle, 0 for a random map, a panel per kind.

    `table` is `tables.doses.doses` of one model, without rows whose share is undefined. Colours end at 0 and 1, numbers
    do not.
    """
    kinds = list(dict.fromkeys(table["kind"]))
    wide = {
        kind: part.pivot(index="metric", columns="dose", values="share")
        for kind, part in table.groupby("kind", sort=False)
    }
    order = pd.concat(wide, axis=1).mean(axis=1).sort_values(kind="stable").index
    widths = [wide[kind].shape[1] for kind in kinds]
    size = (2.2 + 0.36 * sum(widths) + 0.2 * len(kinds), CELL * len(order) + 1.1)
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    panels = figure.subplots(1, len(kinds), squeeze=False, width_ratios=widths)[0]
    for position, (kind, axes) in enumerate(zip(kinds, panels, strict=True)):
        _colours(axes, wide[kind].reindex(order), True, SHARES)
        axes.set_title(_words(kind), fontsize=8)
        axes.set_xlabel("dose", fontsize=7)
        if position:
            axes.set_yticks([])
    return figure


def reliability_figure(table: pd.DataFrame) -> Figure:
    """Draw tau between two halves of the images against their number, the most reliable metric on top.

    `table` is `tables.reliability.halves` of one model.
    """
    wide = table.pivot(index="metric", columns="images", values="tau")
    wide = wide.loc[wide.mean(axis=1).sort_values(ascending=False, kind="stable").index]
    figure = Figure(figsize=(2.6 + 0.4 * wide.shape[1], CELL * len(wide) + 1.1), dpi=110, layout="constrained")
    axes = figure.subplots()
    _colours(axes, wide, True, SHARES)
    axes.set_xlabel("images in each half", fontsize=7)
    axes.tick_params(axis="x", rotation=0)
    axes.set_title("tau between disjoint halves", fontsize=8)
    return figure


def agreement_figure(matrix: pd.DataFrame, title: str) -> Figure:
    """Draw a matrix of agreements, clustered by average linkage of 1 - agreement; a gap counts as no agreement."""
    filled = matrix.fillna(0).clip(upper=1).to_numpy(copy=True)  # equal maps may correlate by a rounding error more
    np.fill_diagonal(filled, 1)
    tree = linkage(squareform(1 - (filled + filled.T) / 2, checks=False), "average", optimal_ordering=True)
    side = CELL * len(matrix)
    figure = Figure(figsize=(side + 3.2, side + 1.9), dpi=110, layout="constrained")
    left, axes = figure.subplots(1, 2, width_ratios=[0.6, side])
    flat = tree[:, 2].max() < 1e-9  # full agreement: a tree without height cannot be drawn
    look = {"orientation": "left", "color_threshold": 0, "above_threshold_color": "0.4"}
    leaves = dendrogram(tree, ax=left, no_plot=flat, **look)["leaves"]
    left.set_axis_off()
    left.set_ylim(left.get_ylim()[::-1])
    ordered = matrix.iloc[leaves, leaves]
    _colours(axes, ordered)
    axes.yaxis.tick_right()
    axes.tick_params(axis="y", rotation=0)
    axes.set_title(title, fontsize=8)
    bar = figure.colorbar(axes.collections[0], ax=axes, location="bottom", shrink=0.4, aspect=30, ticks=[-1, 0, 1])
    bar.ax.tick_params(labelsize=6)
    return figure
