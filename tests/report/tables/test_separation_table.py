"""What is reached for present and absent classes: by plain counts."""

import math

import numpy as np
import pandas as pd
import pytest

from evident.report.tables.separation import separation

NAMES = {"explainer": "one", "data": "photos", "model": "net"}


def scores(values: dict[str, list[float]], **names: str) -> pd.DataFrame:
    rows = [{**NAMES, **names, "kind": kind, "value": value} for kind, of in values.items() for value in of]
    return pd.DataFrame(rows)


def test_row_equals_plain_counts() -> None:
    present, near, random = [0.9, 0.2, 0.7, 0.5], [0.2, 0.6, 0.0], [0.0, 0.1]
    [row] = separation(scores({"present": present, "nearest": near, "very random": random})).to_dict("records")
    pairs = [(p, a) for p in present for a in near + random]
    assert row["auc"] == pytest.approx(sum((p > a) + (p == a) / 2 for p, a in pairs) / len(pairs))
    assert row["present_median"] == pytest.approx(0.6)
    assert row["absent_median"] == pytest.approx(0.1)
    assert row["absent_p95"] == pytest.approx(np.percentile(near + random, 95))
    assert row["nearest_p95"] == pytest.approx(np.percentile(near, 95))
    assert row["very_random_p95"] == pytest.approx(np.percentile(random, 95))
    assert (row["n_present"], row["n_absent"]) == (4, 5)


def test_filter_that_reaches_nothing_separates_nothing() -> None:
    [row] = separation(scores({"present": [0.0] * 3, "nearest": [0.0] * 3})).to_dict("records")
    assert (row["auc"], row["present_median"], row["absent_p95"]) == (0.5, 0, 0)


def test_each_explainer_and_network_has_a_row_and_undefined_scores_are_left_out() -> None:
    both = [
        scores({"present": [1.0, math.nan], "nearest": [0.0]}, explainer=explainer, model=model)
        for model in ("a", "b")
        for explainer in ("one", "two")
    ]
    table = separation(pd.concat(both))
    assert table[["model", "explainer"]].to_numpy().tolist() == [[m, e] for m in "ab" for e in ("one", "two")]
    assert (table["n_present"] == 1).all()
    assert (table["auc"] == 1).all()
