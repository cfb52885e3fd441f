"""From per-image scores to tables. Every function is pure; `scores` is that of `Experiment`."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

from evident.report.tables.statistics import estimate, paired_tests

LABELS = ["data", "model", "explainer"]
ARROW = {"higher": " ↑", "lower": " ↓", "neither": ""}
LEGEND = (
    "Mean ± half of the 95 % interval. ↑ higher is better, ↓ lower is better. **Bold**: best method; ≈: within the "
    "interval of the best. *Italic*: reference rows, which do not compete. ∅k: k scores are undefined and left out of "
    "the mean."
)
BLANK = "Blank: the metric does not apply to this explainer."
NEITHER = "No arrow: neither direction is better."
# Above this mean correlation of the heatmaps of two images, or share of constant heatmaps, a row does not compete.
SAME, CONSTANT = 0.9, 0.5
UNCHANGING = (
    f"† the same map for every image (mean correlation of two maps above {SAME}) or mostly constant maps: such rows do "
    "not compete."
)


def table(scores: pd.DataFrame, directions: dict[str, str]) -> pd.DataFrame:
    """Return one row per explainer and metric: mean, 95 % interval and standard error, counts and seeds.

    `estimate` says what the interval and the error mean. The score of an image by a network is its mean over the seeds
    of this network. `std` is the standard deviation over images. `n` counts (image, seed) pairs with a score,
    `n_undefined` those without, `networks` the networks with a score.
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
        counted = groups["value"].agg(["count", "size"])
        counted["seeds"] = groups["seed"].agg(lambda seeds: " ".join(map(str, sorted(set(seeds)))))
        counted = counted.loc[values.columns].reset_index(drop=True)
        rows["std"] = values.std().to_numpy()
        rows["n"], rows["n_undefined"] = counted["count"], counted["size"] - counted["count"]
        rows["networks"], rows["seeds"] = found["networks"].to_numpy(), counted["seeds"]
        parts.append(rows)
    return pd.concat(parts, ignore_index=True)


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


def unchanging(sameness: pd.DataFrame) -> set[tuple[str, str, str]]:
    """Return data, model and explainer of rows whose explanations do not depend on the image, from the mean over seeds.

    `sameness` is that of `Experiment`.
    """
    means = sameness.groupby(LABELS)[["correlation", "constant"]].mean()
    return set(means.index[(means["correlation"] > SAME) | (means["constant"] > CONSTANT)])


def markdown(
    table: pd.DataFrame,
    references: set[str],
    budgets: Mapping[str, str] | None = None,
    same: Collection[tuple[str, str, str]] = (),
) -> str:
    """Format the table as Markdown: one row per explainer, one column per metric, the best method in bold.

    `≈` marks methods whose mean lies within the interval of the best. Reference rows (random, centre, edges, oracle)
    follow in italics and do not compete. `∅k` counts undefined scores; a blank means that the metric does not apply to
    the explainer. A metric without a better direction has no best method. `budgets` say what explainers that sample or
    optimise may spend per image, such as `500 masks`. `same` are the rows that `unchanging` finds: they get a † and do
    not compete either.
    """
    parts, blank = [], False
    for (data, model), part in table.groupby(["data", "model"], sort=False):
        metrics = list(dict.fromkeys(part["metric"]))
        names = list(dict.fromkeys(part["explainer"]))
        cells = {(row.explainer, row.metric): row for row in part.itertuples()}
        out = references | {name for name in names if (data, model, name) in same}
        competing = part[~part["explainer"].isin(out)]
        best = {metric: _best(competing[competing["metric"] == metric]) for metric in metrics}
        seeds = part.drop_duplicates("explainer").set_index("explainer")["seeds"]
        direction = part.drop_duplicates("metric").set_index("metric")["direction"]
        header = [
            "explainer",
            *(f"{metric.replace('_', ' ')}{ARROW[direction[metric]]}" for metric in metrics),
        ]
        lines = [header, ["---"] + ["---:"] * len(metrics)]
        for name in [n for n in names if n not in references] + [n for n in names if n in references]:
            label = f"*{name}*" if name in references else name + " †" * (name in out)
            if len(set(seeds)) > 1:
                label = f"{label} (seeds {seeds[name]})"
            row = [_cell(cells.get((name, metric)), best[metric], name in out) for metric in metrics]
            lines.append([label, *row])
        blank |= len(cells) < len(names) * len(metrics)
        body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        parts.append(f"## {data}, {model}\n\n{sample(part)}\n\n{body}")
    neither = (table["direction"] == "neither").any()
    flagged = any(row in same and row[2] not in references for row in zip(*(table[c] for c in LABELS), strict=True))
    spent = ", ".join(f"{name} {budget}" for name, budget in (budgets or {}).items())
    alarm = " ".join(f"**Caution**: {text}." for text in below_random(table, references, same))
    notes = {
        alarm: alarm,
        LEGEND: True,
        BLANK: blank,
        NEITHER: neither,
        UNCHANGING: flagged,
        f"Budgets per image: {spent}.": spent,
    }
    parts.append(" ".join(note for note, applies in notes.items() if applies))
    return "\n" + "\n\n".join(parts) + "\n"


def below_random(
    table: pd.DataFrame, references: Collection[str], same: Collection[tuple[str, str, str]] = ()
) -> list[str]:
    """Return one text for each metric by which the mean of the row `random` is better than that of a method.

    A metric that prefers random numbers to an explanation may say little, or the explanation may.
    """
    found = []
    for (data, model, metric), rows in table.groupby(["data", "model", "metric"], sort=False):
        chance = rows[rows["explainer"] == "random"]["mean"]
        if chance.empty or rows["direction"].iloc[0] == "neither":
            continue
        methods = rows[[name not in references and (data, model, name) not in same for name in rows["explainer"]]]
        sign = 1 if rows["direction"].iloc[0] == "higher" else -1
        worse = methods[sign * methods["mean"] < sign * chance.iloc[0]]["explainer"].tolist()
        if worse:
            place = f" on {data}, {model}" if table[["data", "model"]].drop_duplicates().shape[0] > 1 else ""
            found.append(f"by {str(metric).replace('_', ' ')}{place}, random is better than {', '.join(worse)}")
    return found


def sample(table: pd.DataFrame) -> str:
    """Return one sentence on the networks and images of a table of one network, and on what its intervals are over."""
    networks = int(table["networks"].max())
    images = int((table["n"] + table["n_undefined"]).max())
    if networks < 2:
        return f"One network, {images} scores for each explainer; intervals over images (bootstrap)."
    return f"{networks} networks, {images // networks} images for each; intervals over networks (Student's t)."


def _by_image(part: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Return scores as (network, image) x `columns`, averaged over seeds, columns in order of appearance."""
    order = part[columns].drop_duplicates()
    wide = part.groupby(["network", "image", *columns])["value"].mean().unstack(columns)
    return wide[pd.MultiIndex.from_frame(order)]


def _best(rows: pd.DataFrame) -> pd.Series | None:
    rows = rows.dropna(subset="mean")
    if len(rows) < 2 or rows["direction"].iloc[0] == "neither":  # no competitor, or no better direction
        return None
    sign = 1 if rows["direction"].iloc[0] == "higher" else -1
    return rows.iloc[int(np.argmax(sign * rows["mean"]))]


def _cell(row: Any, best: pd.Series | None, out: bool) -> str:
    if row is None:
        return ""
    mean, half = row.mean, (row.ci_high - row.ci_low) / 2
    text = f"{mean:z.3f} ± {half:.3f}" if not np.isnan(mean) else "–"
    if not out and best is not None:
        if row.explainer == best["explainer"]:
            text = f"**{text}**"
        elif best["ci_low"] <= mean <= best["ci_high"]:
            text = f"{text} ≈"
    return f"{text} ∅{row.n_undefined}" if row.n_undefined else text
