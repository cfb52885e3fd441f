"""The rank of every method by every main metric on every data set, in one table and one figure."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from evident.report.tables.titles import UNTITLED, title_of

# Main experiments, and the scores that are compared there; those by masks first.
EXPERIMENTS = ("an8flower", "an8flower_double_12c", "mnist", "imagenet", "scenicness")
METRICS = (
    "average_precision",
    "iou_best",
    "pointing_game",
    "deletion_mean_colour",
    "insertion_mean_colour",
    "deletion_blur",
    "insertion_blur",
    "removal_faithful",
)
REFERENCES = ("random", "centre", "edges", "oracle")
FEWEST = 10  # methods of a column


def ranks(results: Path) -> pd.DataFrame:
    """Return the rank of each explainer, 1 is best: one row per explainer, one column per data, network and metric.

    Reference rows are ranked among the methods. Equal means share the mean of their ranks. Explainers that were not
    run, or that the metric does not apply to, are NaN. Columns with fewer than 10 explainers are left out. Rows are
    sorted by their mean rank, relative to the number of explainers in the column: first those with half of the columns
    at least, then the others, then references.
    """
    found = {}
    for experiment in EXPERIMENTS:
        file = results / experiment / "table.csv"
        if not file.is_file():
            continue
        table = pd.read_csv(file)
        for (data, model), part in table.groupby(["data", "model"], sort=False):
            for metric in METRICS:
                rows = part[part["metric"] == metric].dropna(subset="mean").set_index("explainer")
                if len(rows) >= FEWEST:
                    higher = rows["direction"].iloc[0] == "higher"
                    found[data, model, metric] = rows["mean"].rank(ascending=not higher)
    table = pd.DataFrame(found)
    table.columns.names = ["data", "model", "metric"]
    order = (table / table.count()).mean(axis=1).sort_values(kind="stable").index
    rare = table.count(axis=1) < table.shape[1] / 2
    methods = sorted((name for name in order if name not in REFERENCES), key=lambda name: bool(rare[name]))
    return table.loc[[*methods, *(name for name in REFERENCES if name in table.index)]]


def ranks_figure(table: pd.DataFrame, titles: Mapping[str, str] = UNTITLED) -> Figure:
    """Draw `ranks` under the `titles` of explainers: bright is good, the number is the rank, references come last."""
    figure = Figure(figsize=(2.2 + 0.42 * table.shape[1], 1.9 + 0.2 * len(table)), dpi=110, layout="constrained")
    axes = figure.subplots()
    sns.heatmap(
        table / table.count(),
        annot=table.map(lambda rank: "" if pd.isna(rank) else f"{rank:.0f}"),
        fmt="",
        cmap="viridis_r",
        vmin=0,
        vmax=1,
        annot_kws={"fontsize": 6.5},
        linewidths=0.4,
        cbar_kws={"label": "rank / number of rows", "shrink": 0.4, "aspect": 15},
        ax=axes,
    )
    names = [title_of(name, titles) for name in table.index]
    labels = table.columns.get_level_values("metric").str.replace("_", " ")
    axes.set_xticks([place + 0.5 for place in range(table.shape[1])], labels, rotation=90, fontsize=7)
    axes.set_yticks([place + 0.5 for place in range(len(table))], names, rotation=0, fontsize=7)
    axes.set_xlabel("")
    axes.set_ylabel("")
    competing = sum(name not in REFERENCES for name in table.index)
    axes.axhline(competing, color="black", lw=1.2)
    for number, label in enumerate(axes.get_yticklabels()):
        label.set_fontstyle("italic" if number >= competing else "normal")
    for (data, model), own in table.columns.to_frame(index=False).groupby(["data", "model"], sort=False):
        text = f"{str(data).replace('an8flower_', '').replace('_', ' ')}\n{str(model).replace('_', ' ')}"
        axes.text(own.index[0] + len(own) / 2, -0.3, text, ha="center", va="bottom", fontsize=7)
        axes.axvline(own.index[0], color="black", lw=1.2)
    return figure
