"""What the removal of an attribute changes."""

from collections.abc import Sequence

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from evident.report.figures.axes import plain_numbers

PANELS = 4  # in one row


def removal_figure(changes: Sequence[tuple[str, pd.DataFrame]]) -> Figure:
    """Draw the mean change of the score without each attribute: the true score, the network's, and as explained.

    One panel per title and table of `changes`. A table has one row per attribute and the columns removal_true,
    removal_network and, as explained, stated_removal_faithful (contributions stated by name) or else removal_faithful
    (what the map gives to the attribute's pixels). Attributes are sorted by the true change.
    """
    longest = max(len(table) for _, table in changes)
    columns = min(PANELS, len(changes))
    rows = -(-len(changes) // columns)
    figure = Figure(figsize=(4.1 * columns, (0.17 * longest + 1.3) * rows), dpi=110, layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, squeeze=False).flat
    for axes in grid[len(changes) :]:
        axes.remove()
    for axes, (title, table) in zip(grid, changes, strict=False):
        part = table.dropna(axis=1, how="all").sort_values("removal_true")
        explained = next(name for name in ("stated_removal_faithful", "removal_faithful") if name in part)
        for metric, style in {
            "removal_true": {"marker": "|", "color": "black", "ms": 9, "mew": 2, "label": "true score"},
            "removal_network": {"marker": "o", "color": "tab:blue", "ms": 4.5, "label": "network's score"},
            explained: {"marker": "D", "color": "tab:orange", "ms": 4, "label": "as explained"},
        }.items():
            axes.plot(part[metric], range(len(part)), ls="", **style)
        axes.axvline(0, lw=0.7, color="0.6")
        plain_numbers(axes)
        axes.set_yticks(range(len(part)), [name.replace("_", " ") for name in part.index], fontsize=7)
        axes.set_xlabel("mean change of the score without it (votes)", fontsize=8)
        axes.tick_params(axis="x", labelsize=7, labelbottom=True)
        axes.grid(axis="y", lw=0.3, color="0.9")
        axes.set_title(title, fontsize=8)
        sns.despine(ax=axes)
    figure.axes[0].legend(fontsize=7, loc="lower right")
    return figure
