"""Localisation metrics: known answers, the formulas by plain loops, and other libraries."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, jaccard_score
from torch import Tensor

from evident.errors import UserError
from evident.metrics.contract import Curve, Explanation, area
from evident.metrics.localization import (
    average_precision,
    iou_area,
    iou_best,
    mass_accuracy,
    pointing_game,
    rank_accuracy,
)

METRICS = [iou_area, iou_best, pointing_game, mass_accuracy, rank_accuracy, average_precision]
each_metric = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.__name__)
nan = math.nan


def score(metric, heatmap, mask, **settings) -> Tensor:
    """Return the scores of heatmaps (N, H, W) and masks (N, H, W), given as tensors or lists."""
    heatmap, mask = torch.as_tensor(heatmap), torch.as_tensor(mask, dtype=torch.bool)
    images = torch.zeros(len(heatmap), 3, *heatmap.shape[1:])
    result = metric(Explanation(images, torch.zeros(len(heatmap)).long(), heatmap, mask), **settings)
    return area(result) if isinstance(result, Curve) else result


def square(images: int = 1, size: int = 32, side: int = 16) -> Tensor:
    mask = torch.zeros(images, size, size, dtype=torch.bool)
    mask[:, 4 : 4 + side, 6 : 6 + side] = True
    return mask


def tied_maps_and_masks(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    heatmap = torch.randint(-3, 6, (5, 4, 7), generator=generator).double() / 5
    mask = torch.rand(5, 4, 7, generator=generator) < torch.linspace(0.1, 0.9, 5)[:, None, None]
    mask[:, 1, 2] = True
    return heatmap, mask


def distinct_maps_and_masks(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(6, 9, 7, generator=generator), torch.rand(6, 9, 7, generator=generator) < 0.3


# Known answers


@each_metric
def test_oracle_map_scores_exactly_one(metric):
    mask = square(2)
    assert score(metric, mask.float(), mask).tolist() == [1, 1]


@pytest.mark.parametrize("metric", METRICS[:-1], ids=lambda metric: metric.__name__)
def test_inverted_oracle_scores_exactly_zero(metric):
    mask = square(2)
    assert score(metric, 1 - mask.float(), mask).tolist() == [0, 0]


def test_average_precision_of_inverted_oracle_is_the_share_of_the_mask():
    # Tied zeros enter together, at full recall.
    mask = square()
    assert score(average_precision, 1 - mask.float(), mask).item() == pytest.approx(0.25)


def test_average_precision_is_lowest_for_the_worst_order():
    assert score(average_precision, [[[4.0, 3.0], [2.0, 1.0]]], [[[0, 0], [1, 1]]]).item() == pytest.approx(
        (1 / 3 + 2 / 4) / 2
    )


@pytest.mark.parametrize("value", [0.0, 0.7, 1e30])
def test_constant_map_has_iou_zero(value):
    mask = square()
    assert score(iou_area, torch.full(mask.shape, value), mask).item() == 0
    assert score(iou_best, torch.full(mask.shape, value), mask).item() == 0


@pytest.mark.parametrize("metric", METRICS[2:], ids=lambda metric: metric.__name__)
def test_constant_map_scores_the_share_of_the_mask(metric):
    mask = square()
    assert score(metric, torch.full(mask.shape, 0.7), mask).item() == pytest.approx(0.25)


@pytest.mark.parametrize("metric", METRICS[2:], ids=lambda metric: metric.__name__)
def test_random_maps_score_their_expectation(metric):
    mask = square(400)
    scores = score(metric, torch.rand(mask.shape, generator=torch.Generator().manual_seed(3)), mask)
    expected = 0.25
    if metric is average_precision:
        # Each of K pixels in P is at rank i with probability 1/P; (i-1) (K-1)/(P-1) of the others precede it.
        ranks = torch.arange(1, 1025)
        expected = ((1 + (ranks - 1) * 255 / 1023) / ranks).mean().item()
    assert scores.mean().item() == pytest.approx(expected, abs=4 * scores.std().item() / 20)


def test_random_map_has_its_expected_iou_area():
    # A share s = 1 - t is above t, inside and outside the mask: IoU = m s / (m + s - m s), integrated over s.
    heatmap = torch.rand(20, 96, 96, generator=torch.Generator().manual_seed(5))
    for m in (0.1, 0.25, 0.5):
        mask = torch.zeros_like(heatmap, dtype=torch.bool)
        mask.flatten(1)[:, : round(m * 96 * 96)] = True
        expected = m / (1 - m) * (1 + m * math.log(m) / (1 - m))
        assert score(iou_area, heatmap, mask).mean().item() == pytest.approx(expected, abs=2e-3)


def test_iou_is_computed_at_the_middle_of_every_bin():
    curve = iou_area(
        Explanation(
            torch.zeros(1, 3, 2, 2),
            torch.zeros(1).long(),
            torch.tensor([[[1.0, 0.6], [0.2, 0.0]]]),
            torch.tensor([[[True, False], [False, False]]]),
        ),
        thresholds=10,
    )
    torch.testing.assert_close(curve.at, torch.arange(0.05, 1, 0.1, dtype=torch.float64))
    torch.testing.assert_close(curve.values[0], torch.tensor([1 / 3] * 2 + [1 / 2] * 4 + [1] * 4).double())
    assert area(curve).item() == pytest.approx(0.2 / 3 + 0.4 / 2 + 0.4)


def test_pixel_at_a_threshold_does_not_exceed_it():
    heatmap, mask = [[[0.0, 0.25, 0.75, 1.0]]], [[[0, 1, 1, 1]]]
    # Two pixels of the mask are above 1/4, one is above 3/4.
    assert score(iou_area, heatmap, mask, thresholds=2).item() == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert score(iou_best, heatmap, mask, thresholds=2).item() == pytest.approx(2 / 3)


@pytest.mark.parametrize("metric", [iou_area, iou_best], ids=lambda metric: metric.__name__)
def test_iou_ignores_scale_and_offset_of_the_map(metric):
    heatmap, mask = distinct_maps_and_masks(0)
    torch.testing.assert_close(score(metric, heatmap, mask), score(metric, 8 * heatmap.double() - 4, mask))


def test_pointing_game_of_several_maxima_is_the_share_that_hits():
    assert score(pointing_game, [[[2.0, 2.0, 1.0], [2.0, 0.0, 1.0]]], [[[1, 1, 1], [0, 0, 0]]]).item() == (
        pytest.approx(2 / 3)
    )


def test_pointing_game_tolerance_is_a_euclidean_distance():
    heatmap, mask = torch.zeros(1, 8, 8), torch.zeros(1, 8, 8, dtype=torch.bool)
    heatmap[0, 3, 4], mask[0, 0, 0] = 1, True
    hits = [score(pointing_game, heatmap, mask, tolerance=pixels).item() for pixels in (0, 4, 5, 20)]
    assert hits == [0, 0, 1, 1]


def test_mass_accuracy_counts_positive_values_only():
    assert score(mass_accuracy, [[[3.0, -9.0], [1.0, -2.0]]], [[[1, 1], [0, 0]]]).item() == 0.75


def test_mass_accuracy_without_positive_values_is_nan():
    assert score(mass_accuracy, [[[0.0, -1.0]]], [[[1, 0]]]).isnan().all()


def test_rank_accuracy_counts_ties_at_the_last_rank_by_expectation():
    # K = 2: the first rank hits; the second is one of three tied pixels, one of which is in the mask.
    assert score(rank_accuracy, [[[5.0, 2.0, 2.0, 2.0]]], [[[1, 1, 0, 0]]]).item() == pytest.approx((1 + 1 / 3) / 2)


# Undefined scores and errors


@each_metric
def test_empty_mask_is_nan_for_its_image_only(metric):
    heatmap, mask = distinct_maps_and_masks(1)
    whole = score(metric, heatmap, mask)
    mask = mask.clone()
    mask[2] = False
    expected = torch.where(torch.arange(6) == 2, nan, whole)
    torch.testing.assert_close(score(metric, heatmap, mask), expected, equal_nan=True)


@each_metric
@pytest.mark.parametrize("value", [nan, math.inf, -math.inf])
def test_non_finite_heatmap_is_nan_for_its_image_only(metric, value):
    heatmap, mask = distinct_maps_and_masks(1)
    expected = torch.where(torch.arange(6) == 4, nan, score(metric, heatmap, mask))
    heatmap[4, 3, 3] = value
    torch.testing.assert_close(score(metric, heatmap, mask), expected, equal_nan=True)


@each_metric
def test_missing_mask_is_named(metric):
    name = "iou_area" if metric is iou_best else metric.__name__
    with pytest.raises(UserError, match=f"{name} needs masks"):
        metric(Explanation(torch.zeros(1, 3, 2, 2), torch.zeros(1).long(), torch.zeros(1, 2, 2)))


@pytest.mark.parametrize("metric", [iou_area, iou_best], ids=lambda metric: metric.__name__)
def test_zero_thresholds_are_an_error(metric):
    with pytest.raises(UserError, match="thresholds=0"):
        score(metric, [[[1.0]]], [[[1]]], thresholds=0)


def test_negative_tolerance_of_the_pointing_game_is_an_error():
    with pytest.raises(UserError, match="tolerance=-1"):
        score(pointing_game, [[[1.0]]], [[[1]]], tolerance=-1)


# Plain loops


def slow_iou(heatmap, mask, thresholds=100) -> list[float]:
    low, high = min(heatmap), max(heatmap)
    curve = []
    for k in range(thresholds):
        chosen = {p for p, h in enumerate(heatmap) if (h - low) / (high - low) > (k + 0.5) / thresholds}
        evidence = {p for p, m in enumerate(mask) if m}
        curve.append(len(chosen & evidence) / len(chosen | evidence))
    return curve


def slow_iou_area(heatmap, mask) -> float:
    return sum(slow_iou(heatmap, mask)) / 100


def slow_iou_best(heatmap, mask) -> float:
    return max(slow_iou(heatmap, mask))


def slow_pointing_game(heatmap, mask) -> float:
    maxima = [m for h, m in zip(heatmap, mask, strict=True) if h == max(heatmap)]
    return sum(maxima) / len(maxima)


def slow_mass_accuracy(heatmap, mask) -> float:
    inside = sum(h for h, m in zip(heatmap, mask, strict=True) if h > 0 and m)
    return inside / sum(h for h in heatmap if h > 0)


def slow_rank_accuracy(heatmap, mask) -> float:
    left, hits = sum(mask), 0.0
    for value in sorted(set(heatmap), reverse=True):
        group = [m for h, m in zip(heatmap, mask, strict=True) if h == value]
        hits += min(left, len(group)) * sum(group) / len(group)
        left -= min(left, len(group))
    return hits / sum(mask)


def slow_average_precision(heatmap, mask) -> float:
    total, recall = 0.0, 0.0
    for value in sorted(set(heatmap), reverse=True):
        chosen = [m for h, m in zip(heatmap, mask, strict=True) if h >= value]
        total += (sum(chosen) / sum(mask) - recall) * sum(chosen) / len(chosen)
        recall = sum(chosen) / sum(mask)
    return total


@pytest.mark.parametrize("maps", [tied_maps_and_masks, distinct_maps_and_masks])
@pytest.mark.parametrize("seed", range(3))
@each_metric
def test_metric_equals_its_formula_by_plain_loops(metric, seed, maps):
    heatmap, mask = maps(seed)
    slow = globals()[f"slow_{metric.__name__}"]
    pairs = zip(heatmap.double().flatten(1).tolist(), mask.flatten(1).tolist(), strict=True)
    expected = torch.tensor([slow(*pair) for pair in pairs], dtype=torch.float64)
    torch.testing.assert_close(score(metric, heatmap, mask), expected, rtol=1e-12, atol=1e-12)


# Other libraries


@pytest.mark.parametrize("maps", [tied_maps_and_masks, distinct_maps_and_masks])
@pytest.mark.parametrize("seed", range(3))
def test_average_precision_equals_scikit_learn(seed, maps):
    heatmap, mask = maps(seed)
    theirs = [average_precision_score(m.flatten(), h.flatten()) for h, m in zip(heatmap, mask, strict=True)]
    np.testing.assert_allclose(score(average_precision, heatmap, mask), theirs, rtol=0, atol=1e-9)


def test_iou_curve_equals_jaccard_score_of_scikit_learn():
    heatmap, mask = distinct_maps_and_masks(0)
    curve = iou_area(Explanation(torch.zeros(6, 3, 9, 7), torch.zeros(6).long(), heatmap, mask), thresholds=7)
    for image in range(6):
        h = heatmap[image].double().flatten()
        h = (h - h.min()) / (h.max() - h.min())
        theirs = [jaccard_score(mask[image].flatten(), h > t) for t in curve.at]
        np.testing.assert_allclose(curve.values[image], theirs, rtol=1e-12)


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        (pointing_game, "PointingGame"),
        (mass_accuracy, "RelevanceMassAccuracy"),
        (rank_accuracy, "RelevanceRankAccuracy"),
    ],
)
def test_metric_equals_quantus_on_distinct_values(metric, name, quantus):
    heatmap, mask = distinct_maps_and_masks(2)
    peer = getattr(quantus, name)(abs=False, normalise=False, disable_warnings=True)
    # Quantus changes its arrays in place.
    theirs = peer.evaluate_batch(a_batch=heatmap.numpy().copy(), s_batch=mask.numpy().copy())
    np.testing.assert_allclose(score(metric, heatmap, mask), np.asarray(theirs, dtype=float), rtol=1e-5)
