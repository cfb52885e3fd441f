"""Sums over images: the same weights whether X X^T is summed or its rows are computed on demand."""

import numpy as np
import pytest
import torch
from torch import Tensor

from evident.errors import UserError
from evident.relevance.moments import WIDTH, GramRows, Moments
from evident.relevance.mu_lasso import mu_lasso

FEATURES = 200


def responses(images: int) -> tuple[Tensor, Tensor]:
    """Return float32 responses (N, m) of norm one and one-hot labels (N, 3)."""
    generator = torch.Generator().manual_seed(images)
    labels = torch.arange(images) % 3
    x = torch.rand(images, FEATURES, generator=generator) ** 4
    x[:, :30] += torch.nn.functional.one_hot(labels, 3).repeat(1, 10) * torch.rand(images, 1, generator=generator)
    return torch.nn.functional.normalize(x, dim=1), torch.nn.functional.one_hot(labels)


def moments(x: Tensor, labels: Tensor, batch_size: int) -> Moments:
    made = Moments()
    for start in range(0, len(x), batch_size):
        made.add(x[start : start + batch_size], labels[start : start + batch_size])
    return made


@pytest.mark.parametrize(("images", "on_demand"), [(60, True), (FEATURES - 1, True), (FEATURES, False), (450, False)])
@pytest.mark.parametrize("batch_size", [32, 500])
def test_rows_are_computed_on_demand_where_images_are_fewer_than_features(
    images: int, on_demand: bool, batch_size: int
) -> None:
    x, labels = responses(images)
    gram = moments(x, labels, batch_size).gram()
    assert isinstance(gram, GramRows) is on_demand
    assert gram.shape == (FEATURES, FEATURES)
    dense = (x.double().T @ x.double()).numpy()
    for feature in (0, 7, FEATURES - 1):
        np.testing.assert_allclose(np.asarray(gram[feature]), dense[feature], rtol=0, atol=1e-14)
    weights = torch.rand(FEATURES, 3, dtype=torch.float64)
    torch.testing.assert_close(gram @ weights, torch.from_numpy(dense) @ weights, rtol=0, atol=1e-12)


def test_row_is_computed_in_blocks_of_features() -> None:
    x = torch.rand(40, 2 * WIDTH + 17, generator=torch.Generator().manual_seed(0))
    gram = moments(x, torch.ones(40, 1), 16).gram()
    assert isinstance(gram, GramRows)
    for feature in (0, WIDTH - 1, WIDTH, 2 * WIDTH + 16):
        expected = x.double().T @ x[:, feature].double()
        np.testing.assert_allclose(gram[feature], expected.numpy(), rtol=1e-14, atol=0)


@pytest.mark.parametrize("mu", [0.3, 5.0, 1e3])
def test_solution_is_that_of_the_dense_matrix(mu: float) -> None:
    x, labels = responses(90)
    made = moments(x, labels, 16)
    gram = made.gram()
    assert isinstance(gram, GramRows)
    dense = (x.double().T @ x.double()).numpy()
    cross = (x.double().T @ labels.double()).numpy()
    np.testing.assert_allclose(made.cross.numpy(), cross, rtol=0, atol=1e-14)
    expected = mu_lasso(dense, cross, mu)
    np.testing.assert_allclose(mu_lasso(gram, cross, mu), expected, rtol=0, atol=1e-10)
    assert 0 < len(gram._rows) < FEATURES  # of the features that joined on the way only


def test_response_that_is_not_finite_is_named() -> None:
    x, labels = responses(60)
    x[3, 5] = torch.nan
    made = moments(x, labels, 60)
    gram = made.gram()
    assert isinstance(gram, GramRows)
    with pytest.raises(UserError, match="cross has entries that are not finite"):
        mu_lasso(gram, made.cross.numpy(), 1.0)
