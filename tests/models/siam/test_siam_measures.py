"""Measures equal those of scikit-learn and SciPy, and are NaN where undefined."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau
from sklearn.metrics import average_precision_score, mean_absolute_error, r2_score, root_mean_squared_error

from evident.models.siam.measures import attribute_precision, scenicness_measures


def test_scenicness_measures_equal_scikit_learn_and_scipy() -> None:
    generator = np.random.default_rng(0)
    votes = generator.integers(1, 11, (50, 2)).astype(np.float64)
    scores = votes + generator.normal(0, 2, votes.shape)
    measured = scenicness_measures(torch.from_numpy(scores), torch.from_numpy(votes))
    for column, prefix in enumerate(("", "variance_")):
        y, s = votes[:, column], scores[:, column]
        assert measured[f"{prefix}rmse"] == pytest.approx(root_mean_squared_error(y, s))
        assert measured[f"{prefix}mae"] == pytest.approx(mean_absolute_error(y, s))
        assert measured[f"{prefix}r2"] == pytest.approx(r2_score(y, s))
        assert measured[f"{prefix}tau"] == pytest.approx(kendalltau(y, s).statistic)
    assert len(measured) == 8


def test_measures_of_perfect_and_of_constant_predictions() -> None:
    votes = torch.tensor([[3.0, 1.0], [5.0, 2.0], [7.0, 0.0]])
    perfect = scenicness_measures(votes, votes)
    assert (perfect["rmse"], perfect["mae"], perfect["r2"], perfect["tau"]) == (0, 0, 1, 1)
    assert scenicness_measures(-votes, votes)["tau"] == -1
    mean = scenicness_measures(votes.mean(0).expand(3, 2), votes)
    assert mean["r2"] == pytest.approx(0)
    assert math.isnan(mean["tau"])


@pytest.mark.parametrize("votes", [[[5.0, 1.0]], [[5.0, 1.0], [5.0, 1.0]]])
def test_r2_and_tau_are_nan_for_equal_votes(votes: list[list[float]]) -> None:
    measured = scenicness_measures(torch.tensor(votes) + 1, torch.tensor(votes))
    assert measured["rmse"] == measured["mae"] == 1
    assert math.isnan(measured["r2"])
    assert math.isnan(measured["tau"])


def test_attribute_precision_counts_labels_above_one_half_as_positive() -> None:
    generator = torch.Generator().manual_seed(0)
    shares = torch.randint(0, 4, (60, 4), generator=generator) / 3
    shares[:, 2] = 1 / 3
    shares[:, 3] = 1
    predicted = torch.rand(60, 4, generator=generator)
    precision = attribute_precision(predicted, shares)
    for attribute in (0, 1, 3):
        seen = shares[:, attribute] > 0.5
        expected = average_precision_score(seen.numpy(), predicted[:, attribute].numpy())
        assert precision[attribute].item() == pytest.approx(expected)
    assert precision[2].isnan()
    assert precision[3] == 1
