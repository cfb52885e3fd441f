"""The table of scores to read: few columns, the best explainer first, links to the glossary."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from evident.report.tables.glossary import entries
from evident.report.tables.order import best_first, with_direction
from evident.report.tables.titles import title_of

LABELS = ["data", "model", "explainer"]
ARROW = {"higher": " ↑", "lower": " ↓", "neither": ""}
LEGEND = (
    "Mean ± half of the 95 % interval; the best by the first score on top. ↑ higher is better, ↓ lower is better. "
    "**Bold**: best method; ≈: within the interval of the best. *Italic*: reference rows, which do not compete. "
    "∅k: k scores are undefined and left out of the mean."
)
BLANK = "Blank: the metric does not apply to this explainer."
NEITHER = "No arrow: neither direction is better."
# Above this mean correlation of the heatmaps of two images, or share of constant heatmaps, a row does not compete.
SAME, CONSTANT = 0.9, 0.5
UNCHANGING = (
    f"† the same map for every image (mean correlation of two maps above {SAME}) or mostly constant maps: such rows do "
    "not compete."
)


COLUMNS = 6  # scores beside the explainer: more do not fit on a page


@dataclass(frozen=True)
class Layout:
    """Hold how a table is shown.

    `titles` are names of explainers as readers see them; `glossary` is the address of the page that explains scores,
    empty for a table without links.
    """

    titles: Mapping[str, str] = field(default_factory=dict)
    glossary: str = ""

    def shown_of(self, rows: pd.DataFrame) -> list[str]:
        """Return the scores that are shown of the rows of one network, in their order there.

        These are the first six that have a better direction. Where there are fewer, scores without a direction fill the
        table.
        """
        metrics = list(dict.fromkeys(rows["metric"]))
        directed = with_direction(rows)
        chosen = [*directed, *(metric for metric in metrics if metric not in directed)][:COLUMNS]
        return [metric for metric in metrics if metric in chosen]

    def heading(self, metric: str, direction: str) -> str:
        """Return the heading of a column: the score in words, with a link to its entry if the glossary has one."""
        words = metric.replace("_", " ")
        if self.glossary and metric in entries():
            words = f"[{words}]({self.glossary}#{metric})"
        return f"{words}{ARROW[direction]}"

    def name(self, explainer: str) -> str:
        """Return the name of an explainer as readers see it."""
        return title_of(explainer, self.titles)


PLAIN = Layout()


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
    layout: Layout = PLAIN,
) -> str:
    """Format the table as Markdown: one row per explainer, the best first, and one column per score that is shown.

    The best method is in bold; `≈` marks methods whose mean lies within the interval of the best. Rows are sorted by
    the first score that has a better direction. Reference rows (random, centre, edges, oracle) follow in italics and
    do not compete. `∅k` counts undefined scores; a blank means that the metric does not apply to the explainer. A
    metric without a better direction has no best method. `budgets` say what explainers that sample or optimise may
    spend per image, such as `500 masks`. `same` are the rows that `unchanging` finds: they get a † and do not compete
    either. One line names the scores that `layout` does not show.
    """
    parts, blank, neither, flagged = [], False, False, False
    for (data, model), part in table.groupby(["data", "model"], sort=False):
        metrics = layout.shown_of(part)
        out = references | {name for place in same if place[:2] == (data, model) for name in place[2:]}
        shown = part[part["metric"].isin(metrics)]
        names = best_first(part, references)
        body = _body(shown, metrics, names, references, out, layout)
        blank |= len(shown) < len(names) * len(metrics)
        neither |= bool((shown["direction"] == "neither").any())
        flagged |= not out.isdisjoint(set(names) - references)
        parts.append(f"## {data}, {model}\n\n{sample(part)}\n\n{body}{_hidden(part, metrics)}")
    spent = budgets_in_words({layout.name(name): budget for name, budget in (budgets or {}).items()})
    alarm = " ".join(f"**Caution**: {text}." for text in below_random(table, references, same, layout))
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


def budgets_in_words(budgets: Mapping[str, str]) -> str:
    """Return what explainers may spend per image, `500 masks (name), 100 steps (other, third)`."""
    explainers: dict[str, list[str]] = {}
    for name, budget in budgets.items():
        explainers.setdefault(budget, []).append(name)
    if len(explainers) == 1 and len(budgets) > 1:
        return f"{next(iter(explainers))} each"
    return ", ".join(f"{budget} ({', '.join(names)})" for budget, names in explainers.items())


def _body(
    shown: pd.DataFrame,
    metrics: Sequence[str],
    names: Sequence[str],
    references: Collection[str],
    out: Collection[str],
    layout: Layout,
) -> str:
    """Return the table of one network; the rows of `out` do not compete."""
    cells = {(row.explainer, row.metric): row for row in shown.itertuples()}
    competing = shown[~shown["explainer"].isin(out)]
    best = {metric: _best(competing[competing["metric"] == metric]) for metric in metrics}
    seeds = shown.drop_duplicates("explainer").set_index("explainer")["seeds"]
    direction = shown.drop_duplicates("metric").set_index("metric")["direction"]
    header = ["explainer", *(layout.heading(metric, direction[metric]) for metric in metrics)]
    lines = [header, ["---"] + ["---:"] * len(metrics)]
    for name in names:
        label = f"*{layout.name(name)}*" if name in references else layout.name(name) + " †" * (name in out)
        if len(set(seeds)) > 1 and name in seeds:
            label = f"{label} (seeds {seeds[name]})"
        lines.append([label, *(_cell(cells.get((name, metric)), best[metric], name in out) for metric in metrics)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _hidden(part: pd.DataFrame, shown: Sequence[str]) -> str:
    """Return one line on the scores that are not shown, if there are any."""
    rest = [str(metric).replace("_", " ") for metric in dict.fromkeys(part["metric"]) if metric not in shown]
    return f"\n\nIn `table.csv` only: {', '.join(rest)}." if rest else ""


def below_random(
    table: pd.DataFrame,
    references: Collection[str],
    same: Collection[tuple[str, str, str]] = (),
    layout: Layout = PLAIN,
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
            names = ", ".join(map(layout.name, worse))
            found.append(f"by {str(metric).replace('_', ' ')}{place}, random is better than {names}")
    return found


def sample(table: pd.DataFrame) -> str:
    """Return one sentence on the networks and images of a table of one network, and on what its intervals are over."""
    networks = int(table["networks"].max())
    images = int((table["n"] + table["n_undefined"]).max())
    if networks < 2:
        return f"One network, {images} scores for each explainer; intervals over images (bootstrap)."
    return f"{networks} networks, {images // networks} images for each; intervals over networks (Student's t)."


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
