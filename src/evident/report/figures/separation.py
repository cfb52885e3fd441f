"""What explanations reach for the class that is present and for absent classes, image by image."""

from collections.abc import Mapping, Sequence

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from evident.report.figures.axes import plain_numbers
from evident.report.tables.titles import UNTITLED, title_of

LINES = (0.1, 0.5)  # absent classes should stay below the first, present ones above the second


def separation_figure(reached: pd.DataFrame, kinds: Sequence[str], titles: Mapping[str, str] = UNTITLED) -> Figure:
    """Draw one panel per explainer of one network, one row per kind of class, one point per image.

    `reached` has the columns explainer, kind and value. Panels have the `titles` of explainers.
    """
    names = list(dict.fromkeys(reached["explainer"]))
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(3.3 * columns, 1.6 * rows + 0.3), dpi=110, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    for axes, name in zip(grid.flat, names, strict=False):
        for line in LINES:
            axes.axvline(line, lw=0.8, color="0.6", ls=":")
        for place, kind in enumerate(kinds):
            values = reached[(reached["explainer"] == name) & (reached["kind"] == kind)]["value"].dropna().sort_values()
            # Points of equal value would hide each other.
            spread = [0.25 * ((number % 7) / 3 - 1) for number in range(len(values))]
            axes.plot(values, [place + offset for offset in spread], "o", ms=3, alpha=0.6, color=f"C{min(place, 1)}")
        plain_numbers(axes)
        axes.set_yticks(range(len(kinds)), kinds, fontsize=7)
        axes.set_title(title_of(name, titles), fontsize=8, parse_math=False)
        axes.tick_params(axis="x", labelsize=7)
        sns.despine(ax=axes)
    grid.flat[0].invert_yaxis()
    figure.supxlabel("p(e) / highest p(x)", fontsize=8)
    return figure
