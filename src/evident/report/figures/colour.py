"""How much the score of an explanation depends on its colours."""

from collections.abc import Mapping

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from evident.report.figures.axes import plain_numbers
from evident.report.tables.titles import UNTITLED, title_of

CLASSES = 24  # at most; of more classes, the first two thirds and the last third of these


def colour_figure(colours: pd.DataFrame, titles: Mapping[str, str] = UNTITLED) -> Figure:
    """Draw the change of each class's score without colour and with swapped channels, the largest drop on top.

    `colours` are the rows of one network and explainer, with the columns explainer, model, class, metric (colour_grey,
    colour_swap) and mean. The rows of several seeds are averaged. The explainer is called by its title.
    """
    wide = colours.groupby(["class", "metric"], sort=False)["mean"].mean().unstack("metric").sort_values("colour_grey")
    shown = wide if len(wide) <= CLASSES else pd.concat([wide.iloc[: CLASSES * 2 // 3], wide.iloc[-CLASSES // 3 :]])
    figure = Figure(figsize=(6.2, 0.21 * len(shown) + 0.9), dpi=110, layout="constrained")
    axes = figure.subplots()
    for position, (_, row) in enumerate(shown.iterrows()):
        axes.plot([row["colour_grey"], row["colour_swap"]], [position] * 2, lw=0.6, color="0.8", zorder=1)
    for metric, marker in (("colour_grey", "o"), ("colour_swap", "s")):
        axes.plot(shown[metric], range(len(shown)), marker, ms=4.5, label=metric.replace("_", " "))
    axes.axvline(0, lw=0.8, color="0.5")
    plain_numbers(axes)
    axes.set_yticks(range(len(shown)), [str(name).split(",")[0] for name in shown.index], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("change of the class's probability in its explanation", fontsize=8)
    axes.tick_params(axis="x", labelsize=7)
    title = f"{title_of(colours['explainer'].iloc[0], titles)}, {colours['model'].iloc[0]}"
    rest = f": {len(shown)} of {len(wide)} classes" if len(shown) < len(wide) else ""
    axes.set_title(title + rest, fontsize=8)
    axes.legend(fontsize=7, loc="upper right")
    sns.despine(ax=axes)
    return figure
