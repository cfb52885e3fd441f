"""The order of explainers in tables and figures: the best by the experiment's first score on top."""

from collections.abc import Collection, Mapping, Sequence

import pandas as pd

from evident.report.tables.scores import table as table_of


def leading(scores: pd.DataFrame, first: Sequence[str]) -> pd.DataFrame:
    """Return the rows of these scores first, in this order; the others keep theirs."""
    rank = {name: place for place, name in enumerate(first)}
    return scores.sort_values("metric", key=lambda names: names.map(rank).fillna(len(rank)), kind="stable")


def with_direction(table: pd.DataFrame) -> list[str]:
    """Return the scores of a table (`tables.scores.table`) of which higher or lower is better, in their order there."""
    return list(dict.fromkeys(table.loc[table["direction"] != "neither", "metric"]))


def best_first(table: pd.DataFrame, references: Collection[str]) -> list[str]:
    """Return the explainers of one network, the best by its first score with a direction first, reference rows last.

    Explainers without this score follow the others of their kind. Where no score has a direction, the order of the
    table is kept.
    """
    names = list(dict.fromkeys(table["explainer"]))
    directed = with_direction(table)
    if directed:
        rows = table[table["metric"] == directed[0]].dropna(subset="mean")
        sign = 1 if rows["direction"].eq("lower").any() else -1
        rank = {name: place for place, name in enumerate(rows.assign(key=sign * rows["mean"])
                .sort_values("key", kind="stable")["explainer"])}  # fmt: skip
        names.sort(key=lambda name: rank.get(name, len(rank)))
    return sorted(names, key=lambda name: name in references)


def ranked(scores: pd.DataFrame, directions: Mapping[str, str], references: Collection[str]) -> list[str]:
    """Return the explainers of one network as `best_first`, from the scores of its images; `directions` by score."""
    whole = scores[scores["at"].isna()]
    metrics = list(dict.fromkeys(whole["metric"]))
    first = next((metric for metric in metrics if directions[metric] != "neither"), metrics[0])
    known = dict.fromkeys(whole["explainer"])
    order = best_first(table_of(whole[whole["metric"] == first], directions), references)
    return sorted([*order, *(name for name in known if name not in order)], key=lambda name: name in references)
