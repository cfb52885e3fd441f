"""Validity of metrics: does the ranking of explainers by a metric agree with what the network really uses?

A *truth* is a score of explanations by something that the metric on trial does not use: by re-rendered parts, by exact
contributions, by removed attributes, by masks.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any

import numpy as np
import pandas as pd

from evident.report.tables.rankings import NETWORK, family_of, means, weights_of
from evident.report.tables.resampling import (
    Floats,
    family_draws,
    interval,
    mean_over_networks,
    network_draws,
    taus,
    tied,
)

RANDOM, SHAPE, PERFECT = "planted_random", "planted_sparsity", "planted_perfect"
ORDERS = 200  # arbitrary orders of the explainers, to count how often an interval is wrong
NOISE = 0.05  # of a planted perfect metric, in standard deviations of the truth


@dataclass(frozen=True)
class Trial:
    """Describe a trial: its truths, what may not be judged by them, families of explainers and reference rows.

    truths: the score that is the truth, by the truth's name. unfair: the metrics that use what the truth uses, or the
    same kind of intervention, by the truth's name. readers: patterns of explainers that read the truth itself, so that
    it cannot rank them. families: patterns of explainers, by the family's name. references: rows that a true ranking
    would put below methods; all rows in `apart` take no part in rankings.
    """

    truths: Mapping[str, str]
    unfair: Mapping[str, list[str]]
    families: Mapping[str, list[str]]
    references: Collection[str]
    apart: Collection[str]
    readers: Mapping[str, list[str]] = field(default_factory=dict)

    def competing(self, table: pd.DataFrame, truth: str = "") -> pd.DataFrame:
        """Return the rows of explainers that take part in rankings, or in those by one truth."""
        names = [str(name) for name in table.index]
        reads = [any(fnmatch(name, pattern) for pattern in self.readers.get(truth, [])) for name in names]
        return table[~(table.index.isin([*self.references, *self.apart]) | np.array(reads, bool))]


def filled(scores: pd.DataFrame, random: str) -> pd.DataFrame:
    """Return the scores with those that are undefined for some images of a row set to the mean of the random map.

    A map that says nothing about an image is no better than chance, but a mean without that image would hide it. A row
    without any defined score stays so: the metric does not apply.
    """
    keys = [*NETWORK, "metric"]
    chance = scores[scores["explainer"] == random].groupby(keys)["value"].mean().rename("chance")
    applies = scores.groupby([*keys, "explainer"])["value"].transform("count") > 0
    joined = scores.join(chance, on=keys)
    return scores.assign(value=joined["value"].where(joined["value"].notna() | ~applies, joined["chance"]))


def with_planted(scores: pd.DataFrame, trial: Trial, shape: pd.DataFrame | None = None, seed: int = 0) -> pd.DataFrame:
    """Add metrics that know nothing, and for each truth one that knows it.

    `planted_random` draws a number for each image, `planted_sparsity` is `shape`, scores that describe a map and are no
    merit; `planted_perfect_TRUTH` is the truth with a little noise. A trial that works finds no agreement for the first
    and full agreement for the last. Planted scores exist for images that have a truth.
    """
    draw = np.random.default_rng(seed)
    judged = scores[scores["metric"].isin(trial.truths.values())]
    images = judged[[*NETWORK, "image", "explainer"]].drop_duplicates()
    planted = [images.assign(metric=RANDOM, value=draw.random(len(images)))]
    if shape is not None and len(shape):
        planted.append(shape.assign(metric=SHAPE))
    for truth, score in trial.truths.items():
        own = scores[scores["metric"] == score]
        noise = NOISE * own["value"].std() * draw.standard_normal(len(own))
        planted.append(own.assign(metric=f"{PERFECT}_{truth}", value=own["value"] + noise))
    return pd.concat([scores, *planted], ignore_index=True)


@dataclass(frozen=True)
class Validity:
    """Hold the tables of a trial, each with the columns model and truth.

    summary: metric, tau (the mean over networks), ci_low, ci_high and se, over draws of families and networks; their
    numbers and that of methods; tied (share of the pairs of explainers that the metric ties), lowest and lowest_without
    (the smallest tau with one family left out, and that family), highest. networks: tau on each network. differences:
    tau of a metric minus that of another, with interval. orders: `wrong`, the share of arbitrary orders of the
    explainers, the same on all networks, whose interval excludes zero: 5 % if the intervals are right.
    """

    summary: pd.DataFrame
    networks: pd.DataFrame
    differences: pd.DataFrame
    orders: pd.DataFrame


def validity(scores: pd.DataFrame, trial: Trial) -> Validity:
    """Judge every metric by every truth, on the networks of each model; `scores` are `oriented`."""
    parts: dict[str, list[pd.DataFrame]] = {"summary": [], "networks": [], "differences": [], "orders": []}
    for model, part in scores.groupby("model", sort=False):
        tables = [(*labels, means(own)) for labels, own in part.groupby(NETWORK[1:], sort=False)]
        for truth, metrics in _judged(part, trial):
            for name, found in _by_truth(tables, truth, metrics, trial).items():
                parts[name].append(found.assign(model=model, truth=truth))
    united = {name: pd.concat(found, ignore_index=True) if found else pd.DataFrame() for name, found in parts.items()}
    return Validity(**{name: _first(table, "model", "truth") for name, table in united.items()})


def _first(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    return table[[*columns, *[name for name in table if name not in columns]]] if len(table) else table


def _by_truth(tables: list[Any], truth: str, metrics: list[str], trial: Trial) -> dict[str, pd.DataFrame]:
    """Return the tables of `Validity` for one model and truth; `tables` holds network, seed and means of each."""
    competing = [trial.competing(table, truth) for _, _, table in tables]
    names = list(dict.fromkeys(str(name) for table in competing for name in table.index))
    weights = weights_of(names, trial.families)
    family = [family_of(name, trial.families) for name in names]
    families = list(dict.fromkeys(family))
    without = np.stack([weights * (np.asarray(family) != name) for name in families])
    drawn = family_draws(family, weights)
    arbitrary = np.random.default_rng(0).random((ORDERS, len(names)))
    point, left, draws, orders, ties, counted = [], [], [], [], [], []
    for table in competing:
        wide = table.reindex(index=names, columns=[trial.truths[truth], *metrics])
        target, values = wide.iloc[:, 0].to_numpy(float), wide.iloc[:, 1:].to_numpy(float).T
        point.append(taus(values, target, weights[None])[0])
        left.append(taus(values, target, without))
        draws.append(taus(values, target, drawn))
        orders.append(taus(arbitrary, target, drawn))
        ties.append(tied(values, weights))
        counted.append((~(np.isnan(values) | np.isnan(target))).sum(1))
    labels = [(network, seed, metric) for network, seed, _ in tables for metric in metrics]
    networks = pd.DataFrame(labels, columns=["network", "seed", "metric"]).assign(tau=np.concatenate(point))
    chosen = network_draws(len(tables))
    every = mean_over_networks(np.stack(draws), chosen)
    mean = _mean(np.stack(point))
    low, high, error = interval(every)
    of_left = np.stack([_mean(np.stack([own[row] for own in left])) for row in range(len(families))])
    summary = pd.DataFrame(
        {"metric": metrics, "tau": mean, "ci_low": low, "ci_high": high, "se": error}
        | {"networks": len(tables), "families": len(families), "methods": np.max(counted, axis=0)}
        | {"tied": _mean(np.stack(ties)), "lowest": np.fmin.reduce(of_left), "highest": np.fmax.reduce(of_left)}
    )
    lowest = np.where(np.isnan(of_left), np.inf, of_left).argmin(0)
    summary["lowest_without"] = [families[place] for place in lowest]
    of_orders = interval(mean_over_networks(np.stack(orders), chosen))
    wrong = (of_orders[0] > 0) | (of_orders[1] < 0)
    return {
        "summary": summary,
        "networks": networks,
        "differences": _differences(metrics, mean, every, len(families), len(tables)),
        "orders": pd.DataFrame({"families": [len(families)], "networks": [len(tables)], "wrong": [wrong.mean()]}),
    }


def _differences(metrics: list[str], mean: Floats, draws: Floats, families: int, networks: int) -> pd.DataFrame:
    kept = [place for place, name in enumerate(metrics) if not name.startswith(PERFECT)]
    first, second = (np.asarray(kept)[index] for index in np.triu_indices(len(kept), 1))
    low, high, error = interval(draws[:, first] - draws[:, second])
    names = np.asarray(metrics, object)
    return pd.DataFrame(
        {"metric": names[first], "other": names[second], "difference": mean[first] - mean[second]}
        | {"ci_low": low, "ci_high": high, "se": error, "families": families, "networks": networks}
    )


def _mean(values: Floats) -> Floats:
    """Return the mean over the first axis of the values that are there; NaN where there are none."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(values).sum(0) / known.sum(0)


def _judged(scores: pd.DataFrame, trial: Trial) -> Iterator[tuple[str, list[str]]]:
    """Return each truth that the networks have, with the metrics that it may judge, by name."""
    defined = set(scores.loc[scores["value"].notna(), "metric"])
    names = sorted(str(name) for name in defined)
    for truth, score in trial.truths.items():
        if score not in defined:
            continue
        planted = [name for name in names if name.startswith(PERFECT) and name != f"{PERFECT}_{truth}"]
        unfair = {score, *trial.unfair.get(truth, []), *planted}
        yield truth, [name for name in names if name not in unfair]


def misplaced(scores: pd.DataFrame, trial: Trial) -> pd.DataFrame:
    """Return how often a metric puts a reference row above a method that is truly better.

    A method is truly better than a reference row if its truth is higher by more than twice the standard error of the
    paired difference over images, on the same network. Columns: model, truth, metric, reference, pairs (of such a
    method and a network) and share in [0, 1] of the pairs that the metric orders the other way round.
    """
    rows = []
    for (model, *_), part in scores.groupby(NETWORK, sort=False):
        table = means(part)
        for truth, metrics in _judged(part, trial):
            methods = list(trial.competing(table, truth).index)
            own = part[part["metric"] == trial.truths[truth]].pivot(index="image", columns="explainer", values="value")
            for reference in [name for name in trial.references if name in own and name in table.index]:
                gain = own[[name for name in methods if name in own]].sub(own[reference], axis=0)
                better = gain.columns[gain.mean() > 2 * gain.sem()]
                wrong = table.loc[better, metrics].lt(table.loc[reference, metrics])
                known = table.loc[better, metrics].notna() & table.loc[reference, metrics].notna()
                rows.append(
                    pd.DataFrame(
                        {"model": model, "truth": truth, "metric": metrics, "reference": reference}
                        | {"pairs": known.sum().to_numpy(), "wrong": (wrong & known).sum().to_numpy()}
                    )
                )
    if not rows:
        return pd.DataFrame(columns=["model", "truth", "metric", "reference", "pairs", "share"])
    keys = ["model", "truth", "metric", "reference"]
    counted = pd.concat(rows).groupby(keys, sort=False)[["pairs", "wrong"]].sum()
    counted = counted.reset_index()
    with np.errstate(invalid="ignore"):
        counted["share"] = counted.pop("wrong").to_numpy(float) / counted["pairs"].to_numpy(float)
    return counted
