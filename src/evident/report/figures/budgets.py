"""Score against budget."""

from collections.abc import Mapping

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from evident.report.figures.axes import plain_numbers
from evident.report.tables.titles import UNTITLED, title_of

MARKERS = "osD^vPX*<>hp"


def budgets_figure(table: pd.DataFrame, metrics: list[str], titles: Mapping[str, str] = UNTITLED) -> Figure:
    """Draw each metric over passes per image, a line per explainer: 95 % interval over images as a band.

    Error bars are two standard deviations over the explainer's seed to each side; a filled marker is the knee. `table`
    is `tables.budgets.table` of one network. Explainers are called by their `titles`.
    """
    figure = Figure(figsize=(4.6 * len(metrics) + 2, 4.2), dpi=100, layout="constrained")
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    explainers = list(dict.fromkeys(table["explainer"]))
    colours = sns.color_palette("husl", len(explainers))
    for axes, metric in zip(panels, metrics, strict=True):
        for number, explainer in enumerate(explainers):
            part = table[(table["explainer"] == explainer) & (table["metric"] == metric)]
            colour, marker = colours[number], MARKERS[number % len(MARKERS)]
            axes.fill_between(part["passes"], part["ci_low"], part["ci_high"], color=colour, alpha=0.08, lw=0)
            axes.errorbar(
                *(part["passes"], part["mean"], 2 * part["sd_mean"].fillna(0)),
                **{"color": colour, "lw": 1.4, "capsize": 2, "elinewidth": 0.9},
                **{"marker": marker, "ms": 5, "mfc": "white", "label": title_of(explainer, titles)},
            )
            chosen = part[part["knee"]]
            axes.plot(chosen["passes"], chosen["mean"], marker, ms=7, color=colour, zorder=3)
        axes.set_xscale("log")
        axes.set_xlabel("passes per image (forward + backward)", fontsize=8)
        axes.set_ylabel(metric.replace("_", " "), fontsize=8)
        axes.tick_params(labelsize=7)
        plain_numbers(axes)
        axes.grid(lw=0.4, color="0.88")
        sns.despine(ax=axes)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", fontsize=7, frameon=False)
    return figure
