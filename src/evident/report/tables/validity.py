"""Validity of metrics: does the ranking of explainers by a metric agree with what the network really uses?

A *truth* is a score of explanations by something that the metric on trial does not use: by re-rendered parts, by exact
contributions, by removed attributes, by masks.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evident.report.tables.rankings import NETWORK, family_of, means, tau, weights_of
from evident.report.tables.statistics import estimate

RANDOM, PERFECT = "planted_random", "planted_perfect"


@dataclass(frozen=True)
class Trial:
    """Describe a trial: its truths, what may not be judged by them, families of explainers and reference rows.

    truths: the score that is the truth, by the truth's name. unfair: the metrics that use what the truth uses, or the
    same kind of intervention, by the truth's name. families: patterns of explainers, by the family's name. references:
    rows that a true ranking would put below methods; all rows in `apart` take no part in rankings.
    """

    truths: Mapping[str, str]
    unfair: Mapping[str, list[str]]
    families: Mapping[str, list[str]]
    references: Collection[str]
    apart: Collection[str]

    def competing(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of explainers that take part in rankings."""
        return table[~table.index.isin([*self.references, *self.apart])]


def with_planted(scores: pd.DataFrame, trial: Trial, seed: int = 0) -> pd.DataFrame:
    """Add a metric of random scores and, for each truth, a perfect metric, which is the truth itself.

    A trial that works finds no agreement for the first and full agreement for the second.
    """
    cells = scores[["model", "network", "seed", "image", "explainer"]].drop_duplicates()
    noise = np.random.default_rng(seed).random(len(cells))
    planted = [cells.assign(metric=RANDOM, value=noise)]
    for truth, score in trial.truths.items():
        planted.append(scores[scores["metric"] == score].assign(metric=f"{PERFECT}_{truth}"))
    return pd.concat([scores, *planted], ignore_index=True)


def validity(scores: pd.DataFrame, trial: Trial) -> pd.DataFrame:
    """Return tau of every metric with every truth, for each network, with all families and with each one left out.

    `scores` are `oriented`. Columns: model, network, seed, truth, metric, without (the family that is left out, or ""),
    methods (explainers that have both scores) and tau, weighted by families.
    """
    rows = []
    for labels, part in scores.groupby(NETWORK, sort=False):
        table = trial.competing(means(part))
        explainers = list(table.index)
        weights = weights_of(explainers, trial.families)
        family = np.array([family_of(name, trial.families) for name in explainers])
        for truth, metrics in _judged(table, trial):
            target = table[trial.truths[truth]].to_numpy()
            values = table[metrics].to_numpy().T
            for without in ["", *dict.fromkeys(family)]:
                kept = weights * (family != without)
                methods = (~np.isnan(values) & ~np.isnan(target) & (kept > 0)).sum(1)
                found = np.where(methods > 2, tau(values, target, kept), np.nan)
                judged = {"truth": truth, "metric": metrics, "without": without, "methods": methods, "tau": found}
                rows.append(pd.DataFrame(dict(zip(NETWORK, labels, strict=True)) | judged))
    columns = [*NETWORK, "truth", "metric", "without", "methods", "tau"]
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=columns)


def _judged(table: pd.DataFrame, trial: Trial) -> Iterator[tuple[str, list[str]]]:
    """Return each truth that the network has, with the metrics that it may judge."""
    for truth, score in trial.truths.items():
        if score not in table or not table[score].notna().any():
            continue
        names = [str(name) for name in table]
        planted = [name for name in names if name.startswith(PERFECT) and name != f"{PERFECT}_{truth}"]
        unfair = {score, *trial.unfair.get(truth, []), *planted}
        yield truth, [name for name in names if name not in unfair]


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """Return one row per truth and metric: mean tau over networks with its 95 % interval, and without each family.

    Columns: truth, metric, tau, ci_low, ci_high, networks, methods, lowest and lowest_without (the smallest mean tau
    with one family left out, and that family), highest. The interval is Student's over networks.
    """
    rows = []
    for (truth, metric), part in found.groupby(["truth", "metric"], sort=False):
        whole = part[part["without"] == ""]
        values = whole.assign(image="")[["network", "image", "tau"]].set_index(["network", "image"])
        over = estimate(values).iloc[0]
        single = over["networks"] < 2  # the bootstrap of one value is no interval
        left = part[part["without"] != ""].groupby("without", sort=False)["tau"].mean().dropna()
        rows.append(
            {
                **{"truth": truth, "metric": metric, "tau": over["mean"]},
                **{"ci_low": np.nan if single else over["ci_low"], "ci_high": np.nan if single else over["ci_high"]},
                **{"networks": int(over["networks"]), "methods": int(whole["methods"].max())},
                "lowest": left.min() if len(left) else np.nan,
                "lowest_without": left.idxmin() if len(left) else "",
                "highest": left.max() if len(left) else np.nan,
            }
        )
    columns = ["truth", "metric", "tau", "ci_low", "ci_high", "networks", "methods"]
    return pd.DataFrame(rows, columns=[*columns, "lowest", "lowest_without", "highest"])


def misplaced(scores: pd.DataFrame, trial: Trial) -> pd.DataFrame:
    """Return how often a metric puts a reference row above a method that is truly better.

    A method is truly better than a reference row if its truth is higher by more than twice the standard error of the
    paired difference over images, on the same network. Columns: truth, metric, reference, pairs (of such a method and a
    network) and share in [0, 1] of the pairs that the metric orders the other way round.
    """
    rows = []
    for _, part in scores.groupby(NETWORK, sort=False):
        table = means(part)
        methods = list(trial.competing(table).index)
        for truth, metrics in _judged(table, trial):
            own = part[part["metric"] == trial.truths[truth]].pivot(index="image", columns="explainer", values="value")
            for reference in [name for name in trial.references if name in own and name in table.index]:
                gain = own[[name for name in methods if name in own]].sub(own[reference], axis=0)
                better = gain.columns[gain.mean() > 2 * gain.sem()]
                wrong = table.loc[better, metrics].lt(table.loc[reference, metrics])
                known = table.loc[better, metrics].notna() & table.loc[reference, metrics].notna()
                rows.append(
                    pd.DataFrame(
                        {"truth": truth, "metric": metrics, "reference": reference}
                        | {"pairs": known.sum().to_numpy(), "wrong": (wrong & known).sum().to_numpy()}
                    )
                )
    if not rows:
        return pd.DataFrame(columns=["truth", "metric", "reference", "pairs", "share"])
    counted = pd.concat(rows).groupby(["truth", "metric", "reference"], sort=False)[["pairs", "wrong"]].sum()
    counted = counted.reset_index()
    with np.errstate(invalid="ignore"):
        counted["share"] = counted.pop("wrong").to_numpy(float) / counted["pairs"].to_numpy(float)
    return counted
