"""From per-image scores to tables; every function is pure, and `scores` is DESIGN's long form."""

import numpy as np
import pandas as pd

from evident.report.statistics import mean_interval, paired_tests

GROUP = ["data", "model", "metric"]
ARROW = {"higher": "↑", "lower": "↓"}


def table(scores: pd.DataFrame, directions: dict[str, str]) -> pd.DataFrame:
    """One row an explainer and metric: mean, 95 % interval over images, standard deviation, counts, seeds."""
    rows = []
    whole = scores[scores["at"].isna()]
    for (explainer, *group), part in whole.groupby(["explainer", *GROUP], sort=False):
        values = _images_by(part, "metric").to_numpy()
        mean, low, high = mean_interval(values)[:, 0]
        undefined = int(part["value"].isna().sum())
        row = dict(zip(GROUP, group, strict=True))
        row |= {"direction": directions[str(row["metric"])], "mean": mean, "ci_low": low, "ci_high": high}
        row |= {"std": part["value"].std(), "n": len(part) - undefined, "n_undefined": undefined}
        seeds = " ".join(map(str, sorted(part["seed"].unique())))
        rows.append({"explainer": explainer, **row, "seeds": seeds})
    return pd.DataFrame(rows)


def significance(scores: pd.DataFrame) -> pd.DataFrame:
    """Paired tests of all explainers over images, Holm corrected within each metric."""
    whole = scores[scores["at"].isna()]
    parts = []
    for group, part in whole.groupby(GROUP, sort=False):
        tests = paired_tests(_images_by(part, "explainer"))
        for position, (name, value) in enumerate(zip(GROUP, group, strict=True)):
            tests.insert(position, name, str(value))
        parts.append(tests)
    return pd.concat(parts, ignore_index=True)


def curves(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean and 95 % interval over images at every position of every curve."""
    parts = []
    points = scores[scores["at"].notna()]
    for (explainer, *group), part in points.groupby(["explainer", *GROUP], sort=False):
        by_position = _images_by(part, "at")
        mean, low, high = mean_interval(by_position.to_numpy())
        labels = {"explainer": explainer, **dict(zip(GROUP, group, strict=True))}
        values = {"at": by_position.columns, "mean": mean, "ci_low": low, "ci_high": high}
        parts.append(pd.DataFrame({**labels, **values}))
    empty = pd.DataFrame(columns=["explainer", *GROUP, "at", "mean", "ci_low", "ci_high"])
    return pd.concat(parts, ignore_index=True) if parts else empty


def markdown(table: pd.DataFrame, references: set[str], title: str) -> str:
    """The table to read: a row an explainer, a column a metric, the best of the methods in bold.

    `≈` marks methods whose mean lies within the interval of the best. Reference rows (random, centre, edges,
    oracle) stand apart in italics and compete with none. `∅k` tells of k undefined scores.
    """
    parts = [f"# {title}"]
    for (data, model), part in table.groupby(["data", "model"], sort=False):
        metrics = list(dict.fromkeys(part["metric"]))
        names = list(dict.fromkeys(part["explainer"]))
        cells = {(row.explainer, row.metric): row for row in part.itertuples()}
        best = {
            metric: _best(part[(part["metric"] == metric) & ~part["explainer"].isin(references)]) for metric in metrics
        }
        direction = part.drop_duplicates("metric").set_index("metric")["direction"]
        header = [
            "explainer",
            *(f"{metric.replace('_', ' ')} {ARROW[direction[metric]]}" for metric in metrics),
        ]
        lines = [header, ["---"] + ["---:"] * len(metrics)]
        for name in [n for n in names if n not in references] + [n for n in names if n in references]:
            label = f"*{name}*" if name in references else name
            row = [_cell(cells.get((name, metric)), best[metric], name in references) for metric in metrics]
            lines.append([label, *row])
        body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        parts.append(f"## {data}, {model}\n\n{body}")
    parts.append(
        "Mean ± half of the 95 % bootstrap interval over images. ↑ higher is better, ↓ lower is better. **Bold**: "
        "best method; ≈: within the best's interval. *Italic*: reference rows, which do not compete. ∅k: k scores "
        "undefined and left out of the mean."
    )
    return "\n\n".join(parts) + "\n"


def _images_by(part: pd.DataFrame, columns: str) -> pd.DataFrame:
    """Scores as images x `columns`, averaged over seeds, explainers and positions in their order of appearance."""
    order = list(dict.fromkeys(part[columns]))
    wide = part.pivot_table("value", "image", columns, aggfunc="mean", dropna=False, observed=True, sort=False)
    return wide.sort_index()[order]


def _best(rows: pd.DataFrame) -> pd.Series | None:
    rows = rows.dropna(subset="mean")
    if rows.empty:
        return None
    sign = 1 if rows["direction"].iloc[0] == "higher" else -1
    return rows.iloc[int(np.argmax(sign * rows["mean"]))]


def _cell(row: object, best: pd.Series | None, reference: bool) -> str:
    if row is None:
        return ""
    mean, half = row.mean, (row.ci_high - row.ci_low) / 2  # type: ignore[attr-defined]
    text = f"{mean:.3f} ± {half:.3f}" if not np.isnan(mean) else "–"
    if not reference and best is not None:
        if row.explainer == best["explainer"]:  # type: ignore[attr-defined]
            text = f"**{text}**"
        elif best["ci_low"] <= mean <= best["ci_high"]:
            text = f"{text} ≈"
    return f"{text} ∅{row.n_undefined}" if row.n_undefined else text  # type: ignore[attr-defined]
