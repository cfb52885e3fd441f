"""From per-image scores to tables. Every function is pure; `scores` is that of `Experiment`."""

from collections.abc import Mapping

import pandas as pd

from evident.report.tables.statistics import estimate, paired_tests


def table(scores: pd.DataFrame, directions: Mapping[str, str]) -> pd.DataFrame:
    """Return one row per explainer and metric: mean, 95 % interval and standard error, counts and seeds.

    `estimate` says what the interval and the error mean. The score of an image by a network is its mean over the seeds
    of this network. `std` is the standard deviation over images. `n` counts the images of all networks with a
    score, `n_undefined` those without, `networks` the networks with a score.
    """
    parts = []
    for (data, model), part in scores[scores["at"].isna()].groupby(["data", "model"], sort=False):
        values = _by_image(part, ["explainer", "metric"])
        found = estimate(values)
        explainers, metrics = (values.columns.get_level_values(level) for level in (0, 1))
        rows = pd.DataFrame({"explainer": explainers, "data": data, "model": model, "metric": metrics})
        rows["direction"] = [directions[metric] for metric in metrics]
        for column in ("mean", "ci_low", "ci_high", "se"):
            rows[column] = found[column].to_numpy()
        groups = part.groupby(["explainer", "metric"])
        by_image = part.groupby(["explainer", "metric", "network", "image"])["value"].mean()
        counted = by_image.groupby(["explainer", "metric"]).agg(["count", "size"])
        counted["seeds"] = groups["seed"].agg(lambda seeds: " ".join(map(str, sorted(set(seeds)))))
        counted = counted.loc[values.columns].reset_index(drop=True)
        rows["std"] = values.std().to_numpy()
        rows["n"], rows["n_undefined"] = counted["count"], counted["size"] - counted["count"]
        rows["networks"], rows["seeds"] = found["networks"].to_numpy(), counted["seeds"]
        parts.append(rows)
    return pd.concat(parts, ignore_index=True)


def networks_of(table: pd.DataFrame) -> pd.Series:
    """Return the number of networks that each row of `table` asks: one for each of its seeds, or one in all.

    No score of a single network has several networks: its seeds are blocks of images, or draws of the explainer.
    """
    several = table.groupby(["data", "model"])["networks"].transform("max") > 1
    return table["seeds"].astype(str).str.split().map(len).where(several, 1)


def significance(scores: pd.DataFrame) -> pd.DataFrame:
    """Compare all pairs of explainers (`paired_tests`), with Holm's correction within each metric."""
    parts = []
    whole = scores[scores["at"].isna()]
    for (data, model, metric), part in whole.groupby(["data", "model", "metric"], sort=False):
        order = list(dict.fromkeys(part["explainer"]))
        # Two explainers are compared on seeds that both have, where they explain the same images.
        paired = part.pivot(index=["network", "image", "seed"], columns="explainer", values="value")[order]
        parts.append(pd.DataFrame({"data": data, "model": model, "metric": metric, **paired_tests(paired)}))
    # A metric that applies to one explainer only has no pair, and no rows to infer the columns' types from.
    return pd.concat(parts, ignore_index=True).infer_objects()


def curves(scores: pd.DataFrame) -> pd.DataFrame:
    """Return mean and 95 % interval (`estimate`) at every position of every curve, except curves over attributes.

    A curve that is shorter for the network of one seed than for another continues with its last value.
    """
    scores = scores[scores["axis"] != "attributes"]
    columns = ["explainer", "data", "model", "metric", "axis", "at", "mean", "ci_low", "ci_high"]
    parts = [pd.DataFrame(columns=columns)]
    for (data, model), part in scores[scores["at"].notna()].groupby(["data", "model"], sort=False):
        wide = {
            curve: rows.pivot(index=["network", "image", "seed"], columns="at", values="value").ffill(axis=1)
            for curve, rows in part.groupby(["explainer", "metric"], sort=False)
        }
        values = pd.concat(wide, axis=1).groupby(["network", "image"]).mean()
        found = estimate(values)
        explainer, metric, at = (values.columns.get_level_values(level) for level in range(3))
        axes = part.drop_duplicates("metric").set_index("metric")["axis"]
        labels = {"explainer": explainer, "data": data, "model": model, "metric": metric, "axis": axes[metric].array}
        numbers = {column: found[column].to_numpy() for column in columns[-3:]}
        parts.append(pd.DataFrame({**labels, "at": at, **numbers}))
    return pd.concat(parts[1:] or parts, ignore_index=True)


def by_class(scores: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return mean and number of images of every score whose name starts with `measure`, per class and network (seed).

    For measures whose unit is the class: the ablation of its features, or how much its score depends on colour.
    `start` is the mean of the first value of the curves, for measures that have curves: of the network as it is.
    """
    own = scores[scores["metric"].str.startswith(measure)]
    keys = ["explainer", "data", "model", "seed", "target", "metric"]
    table = own[own["at"].isna()].groupby(keys, sort=False)["value"].agg(mean="mean", n="count").reset_index()
    if own["at"].notna().any():
        start = own[own["at"] == own["at"].min()].groupby(keys)["value"].mean().rename("start")
        table = table.merge(start, how="left", left_on=keys, right_index=True)
    return table


def _by_image(part: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Return scores as (network, image) x `columns`, averaged over seeds, columns in order of appearance."""
    order = part[columns].drop_duplicates()
    wide = part.groupby(["network", "image", *columns])["value"].mean().unstack(columns)
    return wide[pd.MultiIndex.from_frame(order)]
