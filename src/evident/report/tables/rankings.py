"""Rankings of explainers by metrics, and their agreement by Kendall's tau, with weights for families of methods.

In all tables here a higher value is better: the scores of metrics that should be low are negated.
"""

from collections.abc import Mapping
from fnmatch import fnmatch

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray

from evident.metrics.rank import kendall

LEAST = 3  # explainers: with fewer a ranking says nothing
SIGNS = {"higher": 1.0, "lower": -1.0}
NETWORK = ["model", "network", "seed"]


def oriented(scores: pd.DataFrame, directions: Mapping[str, str]) -> pd.DataFrame:
    """Return the scores of all metrics with a direction, without points of curves, so that higher is better.

    `scores` is that of `Experiment`, `directions` maps each metric to higher, lower or neither.
    """
    whole = scores[scores["at"].isna()]
    sign = whole["metric"].map(lambda name: SIGNS.get(directions.get(name, "neither"), np.nan))
    kept = whole.assign(value=whole["value"] * sign)[sign.notna()]
    return kept[[*NETWORK, "image", "explainer", "metric", "value"]].reset_index(drop=True)


def means(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the mean over images: a row per explainer, a column per metric, sorted by name.

    `scores` are the `oriented` ones of one network. Undefined scores are left out of a mean.
    """
    return scores.pivot_table("value", "explainer", "metric", aggfunc="mean", dropna=False).dropna(axis=1, how="all")


def family_of(explainer: str, families: Mapping[str, list[str]]) -> str:
    """Return the first family with a pattern, such as `grad_cam*`, that fits; without one, the explainer's own name."""
    return next((name for name, fits in families.items() if any(fnmatch(explainer, fit) for fit in fits)), explainer)


def weights_of(explainers: list[str], families: Mapping[str, list[str]]) -> NDArray[np.float64]:
    """Return a weight for each explainer: every family weighs one in all, so that many variants count no more."""
    found = [family_of(name, families) for name in explainers]
    return np.array([1 / found.count(name) for name in found])


def tau(first: ArrayLike, second: ArrayLike, weights: ArrayLike) -> NDArray[np.float64]:
    """Return the weighted tau-b (`metrics.rank.kendall`) of rankings (..., M); explainers without a score are left out.

    NaN with fewer than three explainers that have both scores, and where one ranking ties all of them.
    """
    a, b = np.broadcast_arrays(np.asarray(first, float), np.asarray(second, float))
    known = ~(np.isnan(a) | np.isnan(b))
    one, other = (torch.from_numpy(np.where(known, values, 0.0)) for values in (a, b))
    found = kendall(one, other, torch.from_numpy(known * np.asarray(weights, float))).numpy()
    return np.where(known.sum(-1) >= LEAST, found, np.nan)


def tau_matrix(table: pd.DataFrame, weights: ArrayLike) -> pd.DataFrame:
    """Return tau between every two columns of a table whose rows are explainers."""
    values = table.to_numpy(float).T
    found = tau(values[:, None], values[None], weights)
    return pd.DataFrame(found, table.columns, table.columns)
