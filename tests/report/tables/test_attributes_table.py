"""Scores attribute by attribute: precision of networks, and curves over attributes."""

import math

import numpy as np
import pandas as pd
import pytest
from report_samples import ATTRIBUTES, attribute_curves, image_scores, only, predictions
from sklearn.metrics import average_precision_score

from evident.report.tables.attributes import COLUMNS, by_attribute

nan = math.nan
NAMES = {"photos": ATTRIBUTES}
NO_CURVES = image_scores("gini", [0.3])


def test_precision_of_attributes_is_the_mean_over_seeds_by_name() -> None:
    of_seeds = [predictions(seed) for seed in range(2)]
    table = by_attribute(NO_CURVES, NAMES, {"photos": {"net": dict(enumerate(of_seeds))}})
    assert list(table) == ["explainer", "data", "model", "attribute", "metric", "mean", "n"]
    assert table["attribute"].tolist() == ["sky", "lake", "mast"]  # no scene shows a road
    assert set(table["metric"]) == {"attribute_precision"}
    assert set(table["explainer"]) == {""}
    present = of_seeds[0]["labels"] > 0.5
    for k, (mean, n) in enumerate(zip(table["mean"], table["n"], strict=True)):
        theirs = [average_precision_score(present[:, k], predicted["attributes"][:, k]) for predicted in of_seeds]
        assert mean == pytest.approx(np.mean(theirs))
        assert n == present[:, k].sum()


def test_network_without_attributes_has_no_precision() -> None:
    scores = only(predictions(0), "scores", "votes")
    assert len(by_attribute(NO_CURVES, NAMES, {"photos": {"net": {0: scores}}})) == 0


def test_curves_over_attributes_are_averaged_over_images_that_show_them() -> None:
    scores = pd.concat(
        [
            attribute_curves("maps_pointing", [[1.0, nan, 0.0, nan], [0.0, 1.0, 0.0, nan]]),
            attribute_curves("maps_pointing", [[1.0, nan, 1.0, nan], [1.0, 0.5, 0.0, nan]], seed=1),
            attribute_curves("removal_true", [[-2.0, nan, nan, 3.0], [-1.0, nan, nan, nan]], explainer="rise"),
        ]
    )
    table = by_attribute(scores, NAMES, {"photos": {"net": {0: only(predictions(0), "scores", "votes")}}})
    expected = [
        ("gradient", "sky", "maps_pointing", 0.75, 2),
        ("gradient", "lake", "maps_pointing", 0.75, 1),
        ("gradient", "mast", "maps_pointing", 0.25, 2),
        ("rise", "sky", "removal_true", -1.5, 2),
        ("rise", "road", "removal_true", 3, 1),
    ]
    rows = table[["explainer", "attribute", "metric", "mean", "n"]].itertuples(index=False, name=None)
    assert sorted(rows) == sorted(expected)
    assert set(table["data"] + " " + table["model"]) == {"photos net"}


def test_networks_come_before_explainers() -> None:
    scores = attribute_curves("removal_network", [[1.0, 2.0, 3.0, 4.0]])
    table = by_attribute(scores, NAMES, {"photos": {"net": {0: predictions(0)}}})
    assert table["metric"].tolist() == ["attribute_precision"] * 3 + ["removal_network"] * 4
    assert table["mean"].tolist()[3:] == [1, 2, 3, 4]


def test_every_data_set_has_names_of_its_own() -> None:
    names = {"photos": ATTRIBUTES, "sun": ["sailing", "hiking", "working", "camping"]}
    scores = pd.concat([attribute_curves("maps_precision", [[0.5] * 4], data=data) for data in names])
    table = by_attribute(scores, names, {data: {"net": {0: predictions(0)}} for data in names})
    for metric, count in {"attribute_precision": 3, "maps_precision": 4}.items():
        found = table[table["metric"] == metric].groupby("data")["attribute"].agg(list)
        assert found.to_dict() == {data: of_data[:count] for data, of_data in names.items()}


@pytest.mark.parametrize("axis", ["pixels", "features", "thresholds"])
def test_curves_over_other_axes_and_image_scores_have_no_attribute(axis: str) -> None:
    scores = pd.concat([image_scores("deletion", [1.0]), image_scores("deletion", [0.5], axis, 0.0), NO_CURVES])
    table = by_attribute(scores, NAMES, {})
    assert list(table) == COLUMNS == ["explainer", "data", "model", "attribute", "metric", "mean", "n"]
    assert len(table) == 0
