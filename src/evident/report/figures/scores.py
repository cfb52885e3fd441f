"""The scores of all explainers with their intervals."""

import textwrap

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure


def scores_figure(table: pd.DataFrame, references: set[str]) -> Figure:
    """Draw mean and 95 % interval of every explainer, one panel per metric, the best on top and references hollow.

    `table` has the columns explainer, metric, direction, mean, ci_low and ci_high.
    """
    explainers = table.groupby("metric", sort=False)["explainer"].nunique()
    different = table.groupby("metric", sort=False)["mean"].nunique()
    # No panel with a single point, nor of a score of the network, which is the same for all explainers.
    several = explainers >= min(2, explainers.max())
    kept = several & ((different > 1) | (explainers <= 2))
    metrics = list(explainers.index[kept if kept.any() else several])
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
        better = "" if direction == "neither" else f" ({direction} is better)"
        axes.set_title(textwrap.fill(f"{metric.replace('_', ' ')}{better}", 40), fontsize=8)
        axes.grid(axis="x", lw=0.4, color="0.85")
        sns.despine(ax=axes)
    return figure
