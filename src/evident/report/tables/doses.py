"""Dose-response of metrics: whether a metric falls when the true explanation is corrupted more and more."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

from evident.report.tables.rankings import NETWORK
from evident.report.tables.statistics import estimate, student_p

LEVEL = 0.05


def doses(scores: pd.DataFrame, ladder: Mapping[str, tuple[str, float]], oracle: str, random: str) -> pd.DataFrame:
    """Return the score of corrupted oracles, beside the oracle's and that of a random map.

    `scores` are `oriented`; `ladder` gives kind and dose of the corruption of each such row. Columns: model, metric,
    kind, dose, mean, share (1 for the oracle, 0 for the random map; undefined unless the oracle is significantly
    better), loss with its interval (oracle - corrupted, paired by image), and p, of Student's test over networks (over
    images of a single network) that the loss is zero.
    """
    rows = []
    for (model, metric), part in scores.groupby(["model", "metric"], sort=False):
        wide = part.pivot(index=["network", "image"], columns="explainer", values="value")
        if oracle not in wide or wide[oracle].isna().all():
            continue
        level = wide.groupby("network").mean().mean()
        known = [name for name in [random, *ladder] if name in wide]
        losses = wide[known].rsub(wide[oracle], axis=0)
        found = estimate(losses)
        units = np.where(found["networks"] > 1, found["networks"], found["n"])
        p = dict(zip(known, student_p(found["mean"], found["se"], units), strict=True))
        below: Any = found["mean"].get(random, np.nan)
        span = below if below > 0 and p[random] < LEVEL else np.nan
        for name in [name for name in known if name != random]:
            kind, dose = ladder[name]
            row: Any = found.loc[name]
            rows.append(
                {
                    **{"model": model, "metric": metric, "kind": kind, "dose": dose, "mean": level[name]},
                    "share": 1 - row["mean"] / span,
                    **{"loss": row["mean"], "ci_low": row["ci_low"], "ci_high": row["ci_high"], "p": p[name]},
                }
            )
    columns = ["model", "metric", "kind", "dose", "mean", "share", "loss", "ci_low", "ci_high", "p"]
    return pd.DataFrame(rows, columns=columns)


def notices(table: pd.DataFrame, level: float = LEVEL) -> pd.DataFrame:
    """Return the smallest dose of each kind from which on a metric is significantly below the oracle's score.

    Columns: model, metric, kind, noticed (NaN: at no dose) and steps, the share in [0, 1] of steps from one dose to the
    next, starting at the oracle, at which the mean falls.
    """
    rows = []
    for (model, metric, kind), part in table.groupby(["model", "metric", "kind"], sort=False):
        part = part.sort_values("dose")
        seen = ((part["p"] < level) & (part["loss"] > 0)).to_numpy()
        first = len(seen) - int(np.argmin([*seen[::-1], False]))
        noticed = part["dose"].iloc[first] if first < len(seen) else np.nan
        steps = np.diff([0.0, *part["loss"]]) > 0
        rows.append({"model": model, "metric": metric, "kind": kind, "noticed": noticed, "steps": steps.mean()})
    return pd.DataFrame(rows, columns=["model", "metric", "kind", "noticed", "steps"])


def ends(scores: pd.DataFrame, oracle: str, random: str, apart: Collection[str] = ()) -> pd.DataFrame:
    """Return whether the oracle comes first and the random map no better than any other row, for each metric.

    Rows in `apart`, such as corrupted oracles, are no competitors.

    Columns: model, metric, networks, oracle_rank (mean over networks of the number of other rows that are better, plus
    one), random_below (mean share of the other rows that are better than the random map).
    """
    rows = []
    kept = scores[~scores["explainer"].isin(list(apart))]
    for (model, metric), part in kept.groupby(["model", "metric"], sort=False):
        ranks, below = [], []
        for _, own in part.groupby(NETWORK, sort=False):
            level = own.groupby("explainer")["value"].mean().dropna()
            others = level.drop([name for name in (oracle, random) if name in level])
            if oracle in level:
                ranks.append(1 + int((others > level[oracle]).sum()))
            if random in level and len(others):
                below.append(float((others > level[random]).mean()))
        means = [float(np.mean(values)) if values else np.nan for values in (ranks, below)]
        rows.append({"model": model, "metric": metric, "networks": max(len(ranks), len(below))})
        rows[-1] |= {"oracle_rank": means[0], "random_below": means[1]}
    return pd.DataFrame(rows, columns=["model", "metric", "networks", "oracle_rank", "random_below"])
