"""Score against budget: what a larger budget adds, and how much a score depends on the explainer's own seed."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from evident.report.tables.statistics import mean_interval
from evident.report.tables.titles import UNTITLED, title_of


def table(scores: pd.DataFrame, chosen_by: str, tolerance: float) -> pd.DataFrame:
    """Return one row per explainer, budget and metric, by increasing budget.

    `scores` has a row per (data, model, explainer, budget, passes, seed, image, metric) with its value; `passes` is the
    cost per image. Columns: mean and its 95 % bootstrap interval over images, of the means over seeds; `seeds`, their
    number; `sd_mean`, the standard deviation over seeds of the mean over images; `sd_image`, that of a single image's
    score, as the root of its mean square; `n` images; `knee`, whether this is the `knee` of the metric `chosen_by`.
    """
    rows = []
    keys = ["data", "model", "explainer", "metric"]
    for labels, part in scores.groupby(keys, sort=False):
        budgets = part.groupby("budget", sort=False)["passes"].mean().sort_values(kind="stable")
        chosen = scores[(scores[keys[:3]] == list(labels[:3])).all(axis=1) & (scores["metric"] == chosen_by)]
        best = knee(chosen.pivot_table("value", "image", "budget")[budgets.index], tolerance) if len(chosen) else None
        for budget, passes in budgets.items():
            by_seed = part[part["budget"] == budget].pivot(index="image", columns="seed", values="value")
            mean, low, high = mean_interval(by_seed.mean(axis=1).to_numpy()[:, None])[:, 0]
            rows.append(
                {
                    **dict(zip(keys, labels, strict=True)),
                    **{"budget": budget, "passes": passes, "mean": mean, "ci_low": low, "ci_high": high},
                    "seeds": by_seed.shape[1],
                    "sd_mean": by_seed.mean().std(),
                    "sd_image": float(np.sqrt(by_seed.var(axis=1).mean())),
                    "n": int(by_seed.notna().any(axis=1).sum()),
                    "knee": budget == best,
                }
            )
    return pd.DataFrame(rows)


def knee(by_image: pd.DataFrame, tolerance: float) -> str:
    """Return the smallest sufficient budget, from scores of images x budgets in increasing order.

    A budget suffices if its mean is below that of the largest by at most `tolerance`, or by one standard error of this
    difference over images if that is more. The larger budgets must suffice too, so that a lucky one is not chosen.
    """
    short = by_image.rsub(by_image.iloc[:, -1], axis=0).dropna()
    # A single image has no standard error.
    enough = (short.mean() <= short.sem().fillna(0).clip(lower=tolerance)).to_numpy()
    first = len(enough) - int(np.argmin([*enough[::-1], False]))
    return str(by_image.columns[first])


def markdown(table: pd.DataFrame, metrics: list[str], titles: Mapping[str, str] = UNTITLED) -> str:
    """Format the table as Markdown: a row per explainer and budget, three columns per metric, the knee in bold.

    Explainers are called by their `titles`.
    """
    parts = []
    for (data, model), part in table.groupby(["data", "model"], sort=False):
        headers = ["explainer", "budget", "passes", "seeds"]
        headers += [text for name in metrics for text in (name.replace("_", " "), "SD of the mean", "SD of an image")]
        lines = [headers, ["---", "---", *["---:"] * (len(headers) - 2)]]
        for (explainer, budget), rows in part.groupby(["explainer", "budget"], sort=False):
            first, by_metric = rows.iloc[0], rows.set_index("metric")
            line = [title_of(explainer, titles), f"**{budget}**" if first["knee"] else str(budget)]
            line += [f"{first['passes']:.0f}", str(first["seeds"])]
            for metric in metrics:
                row = by_metric.loc[metric]
                half = (row["ci_high"] - row["ci_low"]) / 2
                line.append(f"{row['mean']:.3f} ± {half:.3f}")
                line += ["–" if np.isnan(row[name]) else f"{row[name]:.3f}" for name in ("sd_mean", "sd_image")]
            lines.append(line)
        body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        parts.append(f"## {data}, {model}\n\n{body}")
    return "\n" + "\n\n".join(parts) + "\n"
