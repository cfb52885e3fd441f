"""Figures of the trial of metrics: tables of colours, one row per metric."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import dendrogram, linkage
from scipy.spatial.distance import squareform

COLOURS = "vlag_r"  # blue: agreement, red: opposition
CELL = 0.2  # inches


def _colours(axes: Axes, table: pd.DataFrame, notes: pd.DataFrame | bool = False) -> None:
    """Draw a table of numbers in [-1, 1] as colours; missing ones are grey, with their numbers or `notes` as text."""
    axes.set_facecolor("0.9")
    text = {"annot": notes, "fmt": "", "annot_kws": {"fontsize": 6}}
    if notes is True:
        text["annot"] = table.map(lambda value: "" if np.isnan(value) else f"{value:.2f}".replace("0.", "."))
    scale = {"vmin": -1, "vmax": 1, "cmap": COLOURS, "cbar": False}
    sns.heatmap(table, ax=axes, linewidths=0.5, linecolor="white", **scale, **text)
    axes.set(xlabel="", ylabel="")
    axes.set_yticks(np.arange(len(table)) + 0.5, [_words(name) for name in table.index], rotation=0, fontsize=7)
    columns = [_words(name) for name in table.columns]
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns, rotation=90, fontsize=7)
    axes.tick_params(length=0)


def _words(name: object) -> str:
    return str(name).replace("_", " ")


def validity_figure(table: pd.DataFrame) -> Figure:
    """Draw tau of each metric with each truth, with half of its interval; the metric with the highest mean on top.

    `table` is `tables.validity.summary`. Empty: the truth may not judge the metric, or no network has both.
    """
    wide, low, high = (
        table.pivot(index="metric", columns="truth", values=name) for name in ("tau", "ci_low", "ci_high")
    )
    order = wide.mean(axis=1).sort_values(ascending=False, kind="stable").index
    truths = list(dict.fromkeys(table["truth"]))
    wide, half = wide.loc[order, truths], ((high - low) / 2).loc[order, truths]
    notes = wide.map(lambda value: "" if np.isnan(value) else f"{value:+.2f}")
    notes += half.map(lambda value: "" if np.isnan(value) else f" ±{value:.2f}")
    figure = Figure(figsize=(2.6 + 1.0 * len(truths), CELL * len(wide) + 1.2), dpi=110, layout="constrained")
    axes = figure.subplots()
    _colours(axes, wide, notes)
    axes.xaxis.tick_top()
    axes.tick_params(axis="x", rotation=0)
    axes.set_title("Kendall's tau with what the network uses", fontsize=8)
    return figure


def doses_figure(table: pd.DataFrame) -> Figure:
    """Draw what is left of the oracle's score at each dose: 1 for the oracle, 0 for a random map, a panel per kind.

    `table` is `tables.doses.doses` of one model. Colours end at -1 and 1, numbers do not.
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
        _colours(axes, wide[kind].reindex(order), True)
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
    _colours(axes, wide, True)
    axes.set_xlabel("images in each half", fontsize=7)
    axes.tick_params(axis="x", rotation=0)
    axes.set_title("tau between disjoint halves", fontsize=8)
    return figure


def agreement_figure(matrix: pd.DataFrame, title: str) -> Figure:
    """Draw a matrix of agreements, clustered by average linkage of 1 - agreement; a gap counts as no agreement."""
    filled = matrix.fillna(0).to_numpy(copy=True)
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
