"""Verdicts on maps that depend on their network, and on maps that do not."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_samples import image_scores
from scipy.stats import t

from evident.report.tables.sanity import (
    DEPENDS,
    IGNORES,
    KINDS,
    MEASURES,
    UNDECIDED,
    markdown,
    sanity,
    similarities,
    verdict,
)

LIMIT = 0.5


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.1, 0.2, DEPENDS),
        (0.9, 1.0, IGNORES),
        (1.0, 1.0, IGNORES),
        (0.4, 0.6, UNDECIDED),
        (0.2, 0.5, UNDECIDED),
        (0.5, 0.9, UNDECIDED),
        (math.nan, math.nan, UNDECIDED),
    ],
)
def test_verdict_needs_the_whole_interval_on_one_side(low: float, high: float, expected: str) -> None:
    assert verdict(low, high, LIMIT) == expected


def scores(explainer: str, all_layers: list[list[float]], last: float = 0.8, labels: float = 0.1) -> pd.DataFrame:
    """Return the scores of an explainer: for each network, the similarity of each image after all layers."""
    parts = []
    for seed, values in enumerate(all_layers):
        own: dict[str, Any] = {"explainer": explainer, "seed": seed, "network": f"net {seed}"}
        for measure in MEASURES:
            parts += [
                image_scores(f"cascading_{measure}", values, **own),
                image_scores(f"cascading_{measure}", [last] * len(values), "depths", 0.25, **own),
                image_scores(f"cascading_{measure}", values, "depths", 1.0, **own),
                image_scores(f"independent_{measure}", [0.6] * len(values), **own),
                image_scores(f"independent_{measure}", [0.6] * len(values), "depths", 0.25, **own),
                image_scores(f"label_{measure}", [labels] * len(values), **own),
            ]
    return pd.concat(parts, ignore_index=True)


def whole() -> pd.DataFrame:
    return pd.concat(
        [
            scores("still", [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]),
            scores("moving", [[0.0, 0.2], [0.1, 0.1], [0.1, 0.15]]),
            scores("unclear", [[0.3, 0.5], [0.7, 0.9], [0.4, 0.2]]),
            image_scores("gini", [0.5, 0.5], explainer="moving", network="net 0"),
            image_scores("cascading_other", [0.5, 0.5], explainer="moving", network="net 0"),
        ],
        ignore_index=True,
    )


def rows(explainer: str, table: pd.DataFrame) -> pd.DataFrame:
    return table[table["explainer"] == explainer].set_index(["randomised", "measure"])


def test_other_scores_are_left_out() -> None:
    found = similarities(whole())
    assert len(found) == len(whole()) - 4
    assert set(found["measure"]) == set(MEASURES)
    assert found["randomised"].isna().equals(found["at"].notna())


def test_explainers_are_sorted_and_each_has_one_verdict() -> None:
    table = sanity(similarities(whole()), LIMIT)
    assert list(dict.fromkeys(table["explainer"])) == ["moving", "unclear", "still"]
    verdicts = table.groupby("explainer")["verdict"].unique().map(list).to_dict()
    assert verdicts == {"moving": [DEPENDS], "unclear": [UNDECIDED], "still": [IGNORES]}
    assert len(table) == 3 * len(KINDS) * len(MEASURES)


def test_interval_is_students_over_the_means_of_the_networks() -> None:
    found = rows("moving", sanity(similarities(whole()), LIMIT)).loc[("all layers", "spearman")]
    means = np.array([0.1, 0.1, 0.125])
    half = t.ppf(0.975, 2) * means.std(ddof=1) / math.sqrt(3)
    assert found["mean"] == pytest.approx(means.mean())
    assert found["ci_high"] - found["mean"] == pytest.approx(half)
    assert (found["networks"], found["n"], found["n_undefined"]) == (3, 6, 0)


def test_last_layer_is_the_first_point_of_the_cascading_curve() -> None:
    found = rows("moving", sanity(similarities(whole()), LIMIT))["mean"]
    assert found["last layer", "ssim"] == pytest.approx(0.8)
    assert found["one layer", "ssim"] == pytest.approx(0.6)
    assert found["labels", "ssim"] == pytest.approx(0.1)


def test_undefined_similarities_are_counted_and_left_out() -> None:
    nan = math.nan
    table = sanity(similarities(scores("half", [[0.1, nan], [0.2, 0.2], [nan, nan]])), LIMIT)
    found = rows("half", table).loc[("all layers", "spearman")]
    assert found["mean"] == pytest.approx(0.15)
    assert (found["networks"], found["n"], found["n_undefined"]) == (2, 3, 3)
    assert "0.15 ± 0.64 ∅3" in markdown(table, set(), LIMIT)


def test_explainer_without_any_similarity_is_undecided() -> None:
    table = sanity(similarities(scores("none", [[math.nan, math.nan]])), LIMIT)
    assert set(table["verdict"]) == {UNDECIDED}
    assert "| none | undecided | – ∅2 |" in markdown(table, set(), LIMIT)


def test_reference_row_that_seems_to_depend_on_the_network_is_a_caution() -> None:
    table = sanity(similarities(whole()), LIMIT)
    assert "Caution" not in markdown(table, {"still"}, LIMIT)
    text = markdown(table, {"moving", "unclear"}, LIMIT)
    assert "**Caution**: by these verdicts, moving, unclear may depend on the network" in text


def test_label_randomisation_alone_gives_no_verdict() -> None:
    own = whole()
    table = sanity(similarities(own[own["metric"].str.startswith("label_")]), LIMIT)
    assert set(table["verdict"]) == {UNDECIDED}
    assert set(table["randomised"]) == {"labels"}
    text = markdown(table, {"still"}, LIMIT)
    assert "| moving | undecided |  |  |  |  |  | 0.10 ± 0.00 |" in text
    assert "Caution" not in text


def test_each_network_has_a_table_of_its_own() -> None:
    both = pd.concat([whole(), whole().assign(model="other")], ignore_index=True)
    table = sanity(similarities(both), LIMIT)
    assert list(table.columns[:6]) == ["data", "model", "explainer", "verdict", "randomised", "measure"]
    text = markdown(table, {"still"}, LIMIT)
    assert text.count("## Sanity: photos, ") == 2
    assert "| *still* | does not depend | 1.00 ± 0.00 |" in text
    assert "3 networks, 2 images for each; intervals over networks (Student's t)." in text
