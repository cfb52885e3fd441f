"""The scores of all explainers with their intervals."""

import textwrap
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evident.report.figures.axes import plain_numbers, text_width
from evident.report.tables.order import with_direction
from evident.report.tables.score_text import ARROW
from evident.report.tables.titles import UNTITLED, title_of

PANELS = 12  # in a figure
DPI = 100
METHOD, REFERENCE = sns.color_palette("deep")[0], "0.45"
ACROSS = 6  # panels side by side at most; more go below, with the names again
WIDTH, NARROWEST, WIDEST = 10.0, 1.2, 2.4  # inches: of a figure at most, and of a panel
HEIGHT, LOWEST, HIGHEST = 13.9, 0.12, 0.15  # inches: of a figure with two rows of panels, and of a row of a panel
TOP, TICKS, GAP = 0.5, 0.32, 0.14  # inches: for a title, for numbers, between panels
NAME, LETTER = 7, 0.064  # size of a name in points; inches of a character of a title


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
    order: Sequence[str],
    references: Collection[str],
    titles: Mapping[str, str] = UNTITLED,
) -> Figure:
    """Draw mean and 95 % interval of every explainer, a panel per metric and a row per explainer, in the same `order`.

    `table` has the columns explainer, metric, direction, mean, ci_low and ci_high, of the metrics of one page
    (`score_pages`). Explainers are called by their `titles`; references are hollow, below a line, with names in
    italics. A blank has no score. At most six panels are side by side, so that a figure fits on a page.
    """
    metrics = list(dict.fromkeys(table["metric"]))
    names = [name for name in order if name in set(table["explainer"])]
    shown = [title_of(name, titles) for name in names]
    left = text_width(shown, NAME, DPI) + 0.15
    fitting = min(ACROSS, max(1, int((WIDTH - left) // (NARROWEST + GAP))))
    bands = -(-len(metrics) // fitting)
    columns = -(-len(metrics) // bands)
    panel = min(WIDEST, (WIDTH - left) / columns - GAP)
    rows = len(names) * float(np.clip((HEIGHT / bands - TOP - TICKS) / len(names), LOWEST, HIGHEST))
    width, height = left + columns * (panel + GAP), bands * (TOP + rows + TICKS)
    figure = Figure(figsize=(width, height), dpi=DPI)
    for place, metric in enumerate(metrics):
        band, column = divmod(place, columns)
        x, y = left + column * (panel + GAP), height - band * (TOP + rows + TICKS) - TOP - rows
        axes = figure.add_axes((x / width, y / height, panel / width, rows / height))
        own = table[table["metric"] == metric].set_index("explainer")
        _draw(axes, own.reindex(names), references)
        heading = textwrap.fill(metric.replace("_", " "), int(panel / LETTER))
        axes.set_title(f"{heading}{ARROW[own['direction'].iloc[0]]}", fontsize=8)
        axes.set_yticks(range(len(names)), shown if column == 0 else [""] * len(names), fontsize=NAME, parse_math=False)
        for label, name in zip(axes.get_yticklabels(), names, strict=True):
            if name in references:
                label.set(fontstyle="italic", color=REFERENCE)
    return figure


def _draw(axes: Axes, rows: pd.DataFrame, references: Collection[str]) -> None:
    """Draw the scores of one metric, from one row per explainer, from the top."""
    place = np.arange(len(rows))
    reference = rows.index.isin(list(references))
    for own, colour, face in ((~reference, METHOD, METHOD), (reference, REFERENCE, "white")):
        part = rows[own]
        axes.hlines(place[own], part["ci_low"], part["ci_high"], color=colour, lw=1.5)
        axes.plot(part["mean"], place[own], "o", ms=4, color=colour, markerfacecolor=face)
    if reference.any() and not reference.all():
        axes.axhline((~reference).sum() - 0.5, lw=0.6, color="0.6")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    plain_numbers(axes, ticks=3)
    axes.tick_params(axis="x", labelsize=7)
    axes.tick_params(axis="y", length=0)
    axes.grid(lw=0.4, color="0.88")
    axes.set_axisbelow(True)
    sns.despine(ax=axes)
