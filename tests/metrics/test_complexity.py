"""Complexity of a heatmap: known answers from a single pixel to a constant map, plain loops and Quantus."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from evident.metrics.complexity import entropy, gini
from evident.metrics.contract import Explanation

both = pytest.mark.parametrize("metric", [gini, entropy], ids=lambda metric: metric.__name__)


def score(metric, heatmap) -> Tensor:
    heatmap = torch.as_tensor(heatmap)
    images = torch.zeros(len(heatmap), 3, *heatmap.shape[1:])
    return metric(Explanation(images, torch.zeros(len(heatmap)).long(), heatmap))


def random_maps(seed: int = 0) -> Tensor:
    return torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(seed))


def test_single_pixel_has_the_largest_gini_and_the_smallest_entropy():
    heatmap = [[[0.0, 0.0], [3.0, 0.0]]]
    assert score(gini, heatmap).item() == 1 - 1 / 4
    assert score(entropy, heatmap).item() == 0


def test_constant_map_has_the_smallest_gini_and_the_largest_entropy():
    heatmap = torch.full((1, 4, 4), -0.3)
    assert score(gini, heatmap).item() == pytest.approx(0, abs=1e-15)
    assert score(entropy, heatmap).item() == pytest.approx(math.log(16))


def test_known_maps_have_known_scores():
    # Ascending 1, 2, 3, 4: (-3*1 - 1*2 + 1*3 + 3*4) / (4 * 10).
    assert score(gini, [[[4.0, 1.0], [3.0, 2.0]]]).item() == pytest.approx(0.25)
    assert score(entropy, [[[2.0, 1.0], [1.0, 0.0]]]).item() == pytest.approx(1.5 * math.log(2))


def test_uniform_noise_has_a_gini_index_of_a_third():
    heatmap = torch.rand(8, 100, 100, generator=torch.Generator().manual_seed(0))
    assert score(gini, heatmap).mean().item() == pytest.approx(1 / 3, abs=5e-3)


@both
def test_score_ignores_sign_scale_and_position(metric):
    heatmap = random_maps()
    moved = -7 * heatmap.flip(1)
    torch.testing.assert_close(score(metric, moved), score(metric, heatmap), rtol=1e-6, atol=0)


@both
@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_zero_or_non_finite_map_is_nan_for_its_image_only(metric, value):
    heatmap = random_maps()
    expected = torch.where(torch.arange(4) == 2, math.nan, score(metric, heatmap))
    heatmap[2] = value
    torch.testing.assert_close(score(metric, heatmap), expected, equal_nan=True)


def slow_gini(heatmap: list[float]) -> float:
    # An equivalent definition: the mean absolute difference of all pairs, divided by twice the mean.
    size = [abs(h) for h in heatmap]
    pairs = sum(abs(a - b) for a in size for b in size)
    return pairs / (2 * len(size) * sum(size))


def slow_entropy(heatmap: list[float]) -> float:
    total = sum(abs(h) for h in heatmap)
    return -sum(abs(h) / total * math.log(abs(h) / total) for h in heatmap if h)


@both
@pytest.mark.parametrize("seed", range(3))
def test_metric_equals_its_formula_by_plain_loops(metric, seed):
    heatmap = random_maps(seed)
    heatmap[:, 0] = 0
    slow = globals()[f"slow_{metric.__name__}"]
    expected = torch.tensor([slow(h) for h in heatmap.double().flatten(1).tolist()], dtype=torch.float64)
    torch.testing.assert_close(score(metric, heatmap), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("metric", "name"), [(gini, "Sparseness"), (entropy, "Complexity")])
def test_metric_equals_quantus(metric, name, quantus):
    heatmap = random_maps().abs().double()
    peer = getattr(quantus, name)(abs=False, normalise=False, disable_warnings=True)
    unused = np.zeros((4, 3, 5, 3))
    # Quantus changes its arrays in place, and adds up to 1e-7 to every pixel.
    theirs = peer.evaluate_batch(x_batch=unused, a_batch=heatmap.numpy().copy())
    np.testing.assert_allclose(score(metric, heatmap), theirs, rtol=1e-5)
