"""Correlation and Jaccard index of heatmap and mask: known answers, scipy and scikit-learn."""

import math

import pytest
import torch
from scipy.stats import pearsonr
from sklearn.metrics import jaccard_score
from torch import Tensor

from evident.errors import UserError
from evident.metrics.contract import Explanation
from evident.metrics.localization import rank_accuracy
from evident.metrics.mask_agreement import mask_correlation, mask_jaccard

each_metric = pytest.mark.parametrize("metric", [mask_correlation, mask_jaccard], ids=lambda metric: metric.__name__)
nan = math.nan


def score(metric, heatmap, mask) -> Tensor:
    """Return the scores of heatmaps (N, H, W) and masks (N, H, W), given as tensors or lists."""
    heatmap, mask = torch.as_tensor(heatmap), torch.as_tensor(mask, dtype=torch.bool)
    images = torch.zeros(len(heatmap), 3, *heatmap.shape[1:])
    return metric(Explanation(images, torch.zeros(len(heatmap)).long(), heatmap, mask))


def maps_and_masks(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(6, 9, 7, generator=generator), torch.rand(6, 9, 7, generator=generator) < 0.3


MASK = torch.tensor([[[1, 1, 0, 0], [0, 0, 0, 0]]]).bool()


@each_metric
def test_oracle_map_scores_one_in_any_units(metric) -> None:
    assert score(metric, 5 + 3 * MASK.float(), MASK).item() == pytest.approx(1)


def test_inverse_of_the_mask_scores_minus_one_and_zero() -> None:
    assert score(mask_correlation, 1 - MASK.float(), MASK).item() == pytest.approx(-1)
    assert score(mask_jaccard, 1 - MASK.float(), MASK).item() == 0


def test_half_found_mask_has_the_known_scores() -> None:
    # One of two pixels found, one other marked: means 1/4, covariance 1/8 - 1/16, variances 3/16.
    heatmap = torch.tensor([[[1.0, 0, 1, 0], [0, 0, 0, 0]]])
    assert score(mask_correlation, heatmap, MASK).item() == pytest.approx(1 / 3)
    assert score(mask_jaccard, heatmap, MASK).item() == pytest.approx(1 / 3)


def test_tied_pixels_of_a_constant_map_count_by_their_expectation() -> None:
    # A quarter of the two chosen pixels is expected in the mask.
    assert score(mask_jaccard, torch.ones(1, 2, 4), MASK).item() == pytest.approx(0.25 / 1.75)


def test_random_maps_score_chance_on_average() -> None:
    heatmap = torch.rand(400, 16, 16, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(400, 16, 16, dtype=torch.bool)
    mask[:, 4:12, 4:12] = True
    assert score(mask_correlation, heatmap, mask).mean().item() == pytest.approx(0, abs=0.01)
    assert score(mask_jaccard, heatmap, mask).mean().item() == pytest.approx(0.25 / 1.75, abs=0.01)


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_of_scipy_and_scikit_learn(seed: int) -> None:
    heatmap, mask = maps_and_masks(seed)
    for n in range(len(heatmap)):
        values, inside = heatmap[n].flatten().double(), mask[n].flatten()
        highest = torch.zeros_like(inside)
        highest[values.argsort(descending=True)[: int(inside.sum())]] = True
        expected = pearsonr(values.numpy(), inside.double().numpy()).statistic
        assert score(mask_correlation, heatmap[n : n + 1], mask[n : n + 1]).item() == pytest.approx(expected)
        theirs = jaccard_score(inside.numpy(), highest.numpy())
        assert score(mask_jaccard, heatmap[n : n + 1], mask[n : n + 1]).item() == pytest.approx(theirs)


def test_jaccard_orders_methods_as_rank_accuracy_does() -> None:
    heatmap, mask = maps_and_masks(7)
    mask = mask[:1].expand_as(mask)
    assert torch.equal(score(mask_jaccard, heatmap, mask).argsort(), score(rank_accuracy, heatmap, mask).argsort())


@each_metric
def test_empty_masks_and_non_finite_maps_are_nan(metric) -> None:
    heatmap, mask = maps_and_masks(0)
    mask[0] = False
    heatmap[1, 0, 0], heatmap[2, 0, 0] = nan, math.inf
    assert score(metric, heatmap, mask).isnan().tolist() == [True, True, True, False, False, False]


def test_correlation_with_a_constant_is_nan() -> None:
    assert score(mask_correlation, torch.full((1, 2, 4), 0.1), MASK).isnan().all()
    assert score(mask_correlation, MASK.float(), torch.ones_like(MASK)).isnan().all()


@each_metric
def test_missing_masks_are_an_error(metric) -> None:
    with pytest.raises(UserError, match="needs masks"):
        metric(Explanation(torch.zeros(1, 3, 2, 4), torch.zeros(1).long(), torch.ones(1, 2, 4)))
