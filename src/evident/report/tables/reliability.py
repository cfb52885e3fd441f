"""Reliability of metrics: how many images a metric needs until its ranking of explainers is stable."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evident.report.tables.rankings import NETWORK, means, tau, weights_of
from evident.report.tables.validity import Trial

DRAWS = 50
STABLE = 0.9


def halves(scores: pd.DataFrame, trial: Trial, seed: int = 0) -> pd.DataFrame:
    """Return tau between the rankings by two disjoint sets of `images` images: columns model, metric, images, tau.

    `scores` are `oriented`. The images of all networks of a model are pooled, since each network has images of its own.
    The sets are drawn `DRAWS` times; sizes are the powers of two up to half of the images.
    """
    rows = []
    for model, part in scores.groupby("model", sort=False):
        for metric, own in part.groupby("metric", sort=False):
            table = trial.competing(own.pivot_table("value", "explainer", ["network", "image"], dropna=False))
            table = table.dropna(axis=1, how="all")
            values, weights = table.to_numpy(float), weights_of(list(table.index), trial.families)
            for images, found in _halves(values, weights, seed).items():
                rows.append({"model": model, "metric": metric, "images": images, "tau": found})
    return pd.DataFrame(rows, columns=["model", "metric", "images", "tau"])


def _halves(values: NDArray[np.float64], weights: NDArray[np.float64], seed: int) -> Mapping[int, float]:
    """Return the mean tau by the number of images of a set; values (explainers, images)."""
    count = values.shape[1]
    random = np.random.default_rng(seed)
    orders = np.stack([random.permutation(count) for _ in range(DRAWS)]) if count else np.empty((0, 0), int)
    found = {}
    size = 1
    while 2 * size <= count:
        first, second = (_mean(values[:, orders[:, start : start + size]]) for start in (0, size))
        taus = tau(first.T, second.T, weights)
        found[size] = float(np.nanmean(taus)) if np.isfinite(taus).any() else np.nan
        size *= 2
    return found


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over the last axis of the values that are there; NaN where there are none."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(-1) / known.sum(-1)


def images_needed(found: pd.DataFrame) -> pd.DataFrame:
    """Return, for each model and metric, the number of images from which on tau between halves is at least `STABLE`.

    Columns: model, metric, needed, extrapolated (whether no size was enough), largest (the largest size that was tried)
    and tau, that of the largest size. Between two sizes the number is interpolated in its logarithm. Beyond the largest
    it follows from Spearman and Brown's formula: a correlation r between the means of n images each becomes
    k r / (1 + (k - 1) r) with k n images, and r = sin(pi tau / 2) for normal scores (Kendall 1970). NaN if tau of the
    largest size is not positive.
    """
    rows = []
    for (model, metric), part in found.dropna(subset="tau").groupby(["model", "metric"], sort=False):
        part = part.sort_values("images")
        sizes, taus = part["images"].to_numpy(float), part["tau"].to_numpy()
        last = {"largest": int(sizes[-1]), "tau": taus[-1]}
        beyond = taus[-1] < STABLE
        needed = _extrapolated(sizes[-1], taus[-1]) if beyond else _reached(sizes, taus)
        rows.append({"model": model, "metric": metric, "needed": needed, "extrapolated": beyond, **last})
    return pd.DataFrame(rows, columns=["model", "metric", "needed", "extrapolated", "largest", "tau"])


def _extrapolated(size: float, tau: float) -> float:
    if tau <= 0:
        return np.nan
    found, wanted = (np.sin(np.pi * value / 2) for value in (tau, STABLE))
    return float(np.ceil(size * wanted * (1 - found) / (found * (1 - wanted))))


def _reached(sizes: NDArray[np.float64], taus: NDArray[np.float64]) -> float:
    below = np.flatnonzero(taus < STABLE)
    if not len(below):
        return float(sizes[0])
    last = below[-1]
    share = (STABLE - taus[last]) / (taus[last + 1] - taus[last])
    return float(np.ceil(sizes[last] * (sizes[last + 1] / sizes[last]) ** share))


def between_networks(scores: pd.DataFrame, trial: Trial) -> pd.DataFrame:
    """Return the mean tau between the rankings of every two networks of a model: columns model, metric, pairs, tau."""
    tables: dict[str, list[pd.DataFrame]] = {}
    for labels, part in scores.groupby(NETWORK, sort=False):
        tables.setdefault(str(labels[0]), []).append(trial.competing(means(part)))
    rows = []
    for model, of_model in tables.items():
        for metric in dict.fromkeys(name for table in of_model for name in table):
            own = [table[metric] for table in of_model if metric in table]
            taus = [_pair(a, b, trial) for a, b in combinations(own, 2)]
            if taus:
                known = np.asarray(taus)[np.isfinite(taus)]
                mean = float(known.mean()) if len(known) else np.nan
                rows.append({"model": model, "metric": metric, "pairs": len(taus), "tau": mean})
    return pd.DataFrame(rows, columns=["model", "metric", "pairs", "tau"])


def between_references(scores: pd.DataFrame, trial: Trial, references: Sequence[str]) -> pd.DataFrame:
    """Return tau between the rankings by one metric with two reference images, on each network.

    Metrics belong together if their names differ by their last part only, which is one of `references`. Columns: model,
    seed, metric, first, second, tau.
    """
    rows = []
    for (model, _, seed), part in scores.groupby(NETWORK, sort=False):
        table = trial.competing(means(part))
        for first, second in combinations(references, 2):
            for name in [str(name).removesuffix(f"_{first}") for name in table if str(name).endswith(f"_{first}")]:
                if (other := f"{name}_{second}") in table:
                    found = _pair(table[f"{name}_{first}"], table[other], trial)
                    labels = {"model": model, "seed": seed, "metric": name, "first": first, "second": second}
                    rows.append({**labels, "tau": found})
    return pd.DataFrame(rows, columns=["model", "seed", "metric", "first", "second", "tau"])


def _pair(first: pd.Series, second: pd.Series, trial: Trial) -> float:
    both = pd.concat([first, second], axis=1, keys=["first", "second"]).dropna()
    return float(tau(both["first"], both["second"], weights_of(list(both.index), trial.families)))
