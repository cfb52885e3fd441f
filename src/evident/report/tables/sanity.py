"""Whether maps depend on what their network has learnt: similarities to the maps of other networks, and verdicts."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

from evident.report.tables.score_text import sample
from evident.report.tables.statistics import estimate
from evident.report.tables.titles import UNTITLED, title_of

MEASURES = {"spearman": "Spearman", "ssim": "SSIM", "abs_correlation": "abs. correlation"}
# What is random in the other network, by the prefix of its scores.
RANDOMISED = {"cascading": "all layers", "independent": "one layer", "label": "labels"}
KINDS = ["all layers", "last layer", "one layer", "labels"]
DEPENDS, UNDECIDED, IGNORES = "depends", "undecided", "does not depend"
COLUMNS = [
    *("data", "model", "explainer", "verdict", "randomised", "measure"),
    *("mean", "ci_low", "ci_high", "se", "networks", "n", "n_undefined"),
]
# Columns of the Markdown table; all other numbers are in sanity.csv.
SHOWN = [
    *(("all layers", measure) for measure in MEASURES),
    *((kind, "spearman") for kind in KINDS[1:]),
]


def verdict(low: float, high: float, limit: float) -> str:
    """Return what the interval of a similarity says: it lies below the limit, above it, or decides nothing.

    An interval that includes the limit, or is NaN, decides nothing.
    """
    if high < limit:
        return DEPENDS
    return IGNORES if low > limit else UNDECIDED


def similarities(scores: pd.DataFrame) -> pd.DataFrame:
    """Return those rows of `scores` that compare a map with that of another network.

    `measure` is the similarity, and `randomised` what is random in the other network: `all layers`, `one layer` (one of
    them alone; the mean over depths), `labels`, and NaN for the points of curves.
    """
    prefix, measure = (scores["metric"].str.partition("_")[part] for part in (0, 2))
    own = prefix.isin(list(RANDOMISED)) & measure.isin(list(MEASURES))
    kind = prefix.map(RANDOMISED).where(scores["at"].isna())
    return scores.assign(measure=measure, randomised=kind)[own]


def sanity(similar: pd.DataFrame, limit: float) -> pd.DataFrame:
    """Return a row per explainer, kind of randomisation and measure, the explainer that depends most first.

    `similar` are rows of `similarities`. Columns: data, model, explainer, verdict, randomised, measure, the columns of
    `estimate`, and `n_undefined`. `last layer` is the first point of the cascading curve. The verdict is that of
    Spearman's correlation after all layers are randomised, the same in all rows of an explainer.
    """
    parts = []
    for _, part in similar.groupby(["data", "model"], sort=False):
        cascading = part[part["metric"].str.startswith("cascading_") & part["at"].notna()]
        last = cascading[cascading["at"] == cascading["at"].min()].assign(randomised="last layer")
        chosen = pd.concat([part[part["at"].isna()], last])
        keys = ["data", "model", "explainer", "randomised", "measure"]
        rows = estimate(chosen.groupby(["network", "image", *keys])["value"].mean().unstack(keys))
        undefined = chosen["value"].isna().groupby([chosen[key] for key in keys]).sum()
        rows = rows.astype({"networks": int, "n": int}).assign(n_undefined=undefined).reset_index()
        decisive = rows[(rows["randomised"] == KINDS[0]) & (rows["measure"] == "spearman")].set_index("explainer")
        intervals = zip(decisive["ci_low"], decisive["ci_high"], strict=True)
        verdicts = dict(zip(decisive.index, (verdict(*interval, limit) for interval in intervals), strict=True))
        rows = rows.assign(
            verdict=[verdicts.get(name, UNDECIDED) for name in rows["explainer"]],
            score=rows["explainer"].map(decisive["mean"]),
            kind=rows["randomised"].map(KINDS.index),
            place=rows["measure"].map(list(MEASURES).index),
        ).sort_values(["score", "explainer", "kind", "place"], kind="stable")
        parts.append(rows[COLUMNS])
    return pd.concat(parts, ignore_index=True)


def markdown(
    table: pd.DataFrame, references: Collection[str], limit: float, titles: Mapping[str, str] = UNTITLED
) -> str:
    """Format the table of `sanity` as Markdown: a row per explainer with its verdict; references in italics.

    Rows are called by their `titles`.
    """
    parts = []
    for (data, model), part in table.groupby(["data", "model"], sort=False):
        cells: dict[Any, str] = {(row.explainer, row.randomised, row.measure): _cell(row) for row in part.itertuples()}
        header = ["explainer", "verdict", *(f"{kind}, {MEASURES[measure]}" for kind, measure in SHOWN)]
        lines = [header, ["---", "---", *["---:"] * len(SHOWN)]]
        for name, own in part.drop_duplicates("explainer").set_index("explainer")["verdict"].items():
            title = title_of(name, titles)
            label = f"*{title}*" if name in references else title
            lines.append([label, own, *(cells.get((name, *column), "") for column in SHOWN)])
        body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        parts.append(f"## Sanity: {data}, {model}\n\n{sample(part)}\n\n{body}{_caution(part, references, titles)}")
    parts.append(
        "Similarity of each map to the map that the same explainer gives of another network for the same image and "
        "class, mean ± half of the 95 % interval: 1 for a map that stays the same, about 0 for unrelated maps. "
        "*All layers*: the weights of all layers are permuted; *last layer*: of the last one only; *one layer*: of one "
        "layer alone, the mean over depths; *labels*: the network was trained on shuffled labels. **Verdict**, by "
        f"Spearman's correlation after all layers are randomised: the map *{DEPENDS}* on the weights if the whole "
        f"interval lies below {limit:g}, *{IGNORES}* if it lies above, and is *{UNDECIDED}* otherwise. {limit:g} is "
        "nearer to neither of the two known answers, 1 and 0; it was set before any result. *Italic*: reference rows, "
        f"which ignore the network, and must come out as *{IGNORES}*. ∅k: k similarities are undefined and left out."
    )
    return "\n" + "\n\n".join(parts) + "\n"


def _caution(table: pd.DataFrame, references: Collection[str], titles: Mapping[str, str]) -> str:
    """Return a warning if a reference row, which ignores the network, has another verdict."""
    decisive = table[(table["randomised"] == KINDS[0]) & (table["measure"] == "spearman")]
    wrong = decisive[decisive["explainer"].isin(list(references)) & (decisive["verdict"] != IGNORES)]["explainer"]
    if wrong.empty:
        return ""
    named = ", ".join(title_of(name, titles) for name in wrong)
    return f"\n\n**Caution**: by these verdicts, {named} may depend on the network, which it ignores."


def _cell(row: Any) -> str:
    text = "–" if np.isnan(row.mean) else f"{row.mean:z.2f} ± {(row.ci_high - row.ci_low) / 2:.2f}"
    return f"{text} ∅{row.n_undefined}" if row.n_undefined else text
