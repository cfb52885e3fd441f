"""The scores of all explainers with their intervals."""

import textwrap
from collections.abc import Collection, Mapping

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from evident.report.figures.axes import plain_numbers
from evident.report.tables.order import with_direction

PANELS = 12  # in a figure
METHOD, REFERENCE = sns.color_palette("deep")[0], "0.45"
TITLE = 30  # characters of a line
WIDTH, PANEL, CHARACTER = 15, 2.0, 0.058  # inches: of a figure at most, of a panel, of a character of a name


def score_pages(table: pd.DataFrame) -> list[list[str]]:
    """Return the scores that have a panel, at most twelve for each figure, from a table of one network.

    Scores of one explainer only have no panel, nor have scores of the network, which are the same for all explainers.
    Where more than twelve are left, those without a better direction have none either.
    """
    explainers = table.groupby("metric", sort=False)["explainer"].nunique()
    different = table.groupby("metric", sort=False)["mean"].nunique()
    several = explainers >= min(2, explainers.max())
    kept = several & ((different > 1) | (explainers <= 2))
    metrics = list(explainers.index[kept if kept.any() else several])
    if len(metrics) > PANELS:
        directed = with_direction(table)
        metrics = [metric for metric in metrics if metric in directed] or metrics
    pages = -(-len(metrics) // PANELS)
    length = -(-len(metrics) // pages)  # pages of about the same length
    return [metrics[start : start + length] for start in range(0, len(metrics), length)]


def scores_figure(
    table: pd.DataFrame,
    references: Collection[str],
    titles: Mapping[str, str] | None = None,
) -> Figure:
    """Draw mean and 95 % interval of every explainer, one panel per metric, the best on top and references hollow.

    `table` has the columns explainer, metric, direction, mean, ci_low and ci_high, of the metrics of one page
    (`score_pages`). Explainers are called by their `titles`.
    """
    metrics = list(dict.fromkeys(table["metric"]))
    longest = max(len((titles or {}).get(name, name)) for name in table["explainer"])
    across = PANEL + CHARACTER * longest + 0.2
    columns = min(4, int(WIDTH // across), len(metrics))
    rows = -(-len(metrics) // columns)
    height = 0.16 * table["explainer"].nunique() + 0.75
    figure = Figure(figsize=(across * columns, height * rows), dpi=100, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(metrics) :]:
        axes.set_axis_off()
    for axes, metric in zip(grid.flat, metrics, strict=False):
        part = table[table["metric"] == metric]
        direction = part["direction"].iloc[0]
        part = part.dropna(subset="mean").sort_values("mean", ascending=direction != "lower", kind="stable")
        part = part.reset_index(drop=True)
        reference = part["explainer"].isin(list(references))
        for own, colour, face in ((part[~reference], METHOD, METHOD), (part[reference], REFERENCE, "white")):
            axes.hlines(own.index, own["ci_low"], own["ci_high"], color=colour, lw=1.5)
            axes.plot(own["mean"], own.index, "o", ms=4.5, color=colour, markerfacecolor=face)
        plain_numbers(axes, ticks=4)
        names = [(titles or {}).get(name, name) for name in part["explainer"]]
        axes.set_yticks(range(len(part)), names, fontsize=7, parse_math=False)
        axes.tick_params(axis="x", labelsize=7)
        better = "" if direction == "neither" else f"\n({direction} is better)"
        axes.set_title(f"{textwrap.fill(metric.replace('_', ' '), TITLE)}{better}", fontsize=8)
        axes.grid(axis="x", lw=0.4, color="0.85")
        sns.despine(ax=axes)
    return figure
