"""What a method costs beside how well it finds the evidence."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from evident.report.tables.titles import UNTITLED, title_of

EXPERIMENT, METRIC = "an8flower", "average_precision"
LEFT = 2  # passes: labels of cheaper methods are on the left of their points, where they have room
GAP = 0.024  # between two labels, in the units of the score


def quality(results: Path) -> pd.DataFrame:
    """Return the passes per image, forward and backward, and the mean score of every method of the main job."""
    cost = pd.read_csv(results / EXPERIMENT / "cost.csv")
    passes = cost["forward_passes_per_image"] + cost["backward_passes_per_image"]
    table = pd.read_csv(results / EXPERIMENT / "table.csv")
    scores = table[table["metric"] == METRIC].set_index("explainer")[["mean", "ci_low", "ci_high"]]
    return scores.join(passes.groupby(cost["explainer"]).mean().rename("passes"), how="inner").sort_values("passes")


def cost_figure(table: pd.DataFrame, titles: Mapping[str, str] = UNTITLED) -> Figure:
    """Draw `quality`, with the title of each method beside its point; intervals over networks."""
    figure = Figure(figsize=(8.5, 5), dpi=110, layout="constrained")
    axes = figure.subplots()
    colour = sns.color_palette("deep")[0]
    below = (table["mean"] - table["ci_low"]).clip(lower=0)
    above = (table["ci_high"] - table["mean"]).clip(lower=0)
    passes = table["passes"].clip(lower=0.5)  # of maps that need no network
    axes.errorbar(passes, table["mean"], [below, above], fmt="o", ms=4, lw=0.6, color=colour, alpha=0.8)
    axes.set_xscale("log")
    axes.set_xlim(passes.min() / 2.5, passes.max() * 2.5)
    for left, group in table.assign(passes=passes).groupby(passes <= LEFT):
        # Methods of similar cost have labels in one column: each as high as its point, or above the one before.
        for _, column in group.sort_values("mean").groupby(np.log2(group["passes"]).round()):
            height = -np.inf
            for name, x, y in zip(column.index, column["passes"], column["mean"], strict=True):
                height = max(y, height + GAP)
                place, side = (x / 1.1, "right") if left else (x * 1.1, "left")
                axes.annotate(title_of(name, titles), (x, y), (place, height), ha=side, va="center", fontsize=6.5)
    axes.set_xlabel("passes of the network per image, forward and backward", fontsize=8)
    axes.set_ylabel(f"{METRIC.replace('_', ' ')} on rendered flowers", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.grid(lw=0.3, color="0.9")
    return figure
