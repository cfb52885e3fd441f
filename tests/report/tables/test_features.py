"""Relevant features with what their strongest images show."""

import math

import pandas as pd
import pytest
import torch
from torch import Tensor

from evident.relevance.relevance import Relevance
from evident.report.tables.features import with_interpretation

nan = math.nan
CLASSES = ["petals red", "petals blue"]
# Features 3 and 0 are relevant for red, 3 and 4 for blue, 1 and 2 for neither.
WEIGHTS = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [2.0, 0.5], [0.0, 3.0]]).double()
CONTROL = {0: 1, 3: 2, 4: 2}  # another feature of the same layer
# The order of places is arbitrary; label -1: the feature responds to fewer than four images.
PLACES = [4, 0, 3, 1, 2]
LABELS = [[1, 1, 1, 1], [0, 0, 1, -1], [0, 1, 1, 1], [0, 1, -1, -1], [-1, -1, -1, -1]]
EVIDENCE = [[1.0, 0.5, 0.5, 0.0], [0.2, 0.4, 0.6, nan], [0.1, 0.1, 0.1, 0.1], [0.3, 0.1, nan, nan], [nan] * 4]


def features() -> pd.DataFrame:
    table = Relevance({"conv": 2, "relu": 3}, WEIGHTS, WEIGHTS).table(CLASSES)
    return table.assign(control=table["place"].map(CONTROL))


def interpretation(evidence: list[list[float]] = EVIDENCE) -> dict[str, Tensor]:
    return {"places": torch.tensor(PLACES), "labels": torch.tensor(LABELS), "evidence": torch.tensor(evidence)}


def test_purity_and_evidence_are_means_over_the_images_of_a_feature() -> None:
    table = with_interpretation(features(), interpretation())
    assert table["class"].tolist() == ["petals red"] * 2 + ["petals blue"] * 2
    assert table["place"].tolist() == [3, 0, 4, 3]
    assert table["rank"].tolist() == [1, 2, 1, 2]
    assert table["weight"].tolist() == [2, 1, 3, 0.5]
    assert table["feature"].tolist() == ["relu:1", "conv:0", "relu:2", "relu:1"]
    assert set(table["m"]) == {5}
    # Of the images of feature 3 one in four is red, of feature 0 two in three; of feature 4 all are blue.
    assert table["purity"].tolist() == pytest.approx([1 / 4, 2 / 3, 1, 3 / 4])
    assert table["evidence"].tolist() == pytest.approx([0.1, 0.4, 0.5, 0.1])


def test_control_is_another_feature_of_the_same_layer() -> None:
    table = with_interpretation(features(), interpretation())
    assert table["control"].tolist() == [2, 1, 2, 2]
    # Feature 2 responds to no image; one of the two images of feature 1 is red.
    assert table["purity_control"].tolist() == pytest.approx([nan, 1 / 2, nan, nan], nan_ok=True)
    assert table["evidence_control"].tolist() == pytest.approx([nan, 0.2, nan, nan], nan_ok=True)


@pytest.mark.parametrize("missing", [None, {}])
def test_features_that_were_not_interpreted_have_neither_purity_nor_evidence(missing: dict | None) -> None:
    pd.testing.assert_frame_equal(with_interpretation(features(), missing), features())


def test_evidence_is_undefined_without_masks() -> None:
    table = with_interpretation(features(), interpretation([[nan] * 4] * 5))
    assert table["evidence"].isna().all()
    assert table["purity"].notna().all()


def test_given_table_is_not_changed() -> None:
    given = features()
    with_interpretation(given, interpretation())
    pd.testing.assert_frame_equal(given, features())
