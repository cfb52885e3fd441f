"""Similarity of heatmaps against scikit-image, SciPy and NumPy, and for constant and damaged maps."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity
from torch import Tensor

from evident.errors import UserError
from evident.metrics.similarity import WINDOW, correlation, similarities, ssim


def maps(count: int = 4, height: int = 17, width: int = 24, seed: int = 0) -> Tensor:
    """Return random heatmaps (count, height, width), a third of whose pixels are zero."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(count, height, width, generator=generator, dtype=torch.float64) - 0.3).clamp(min=0)


def in_unit_range(heatmap: Tensor) -> np.ndarray:
    values = heatmap.numpy()
    return (values - values.min()) / (values.max() - values.min())


def test_ssim_is_that_of_scikit_image_for_maps_in_unit_range() -> None:
    first, second = maps(), 5 + 3 * maps(seed=1) + 2 * maps()
    theirs = [
        structural_similarity(
            *(in_unit_range(one), in_unit_range(other)),
            **{"data_range": 1.0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False},
        )
        for one, other in zip(first, second, strict=True)
    ]
    assert ssim(first, second).tolist() == pytest.approx(theirs, rel=1e-9)


def test_ssim_of_a_single_window_is_the_formula() -> None:
    """Derive it from the weighted moments of the only window that lies inside."""
    first, second = (in_unit_range(heatmap) for heatmap in maps(2, WINDOW, WINDOW))
    distance = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-0.5 * (distance[:, None] ** 2 + distance**2) / 1.5**2)
    weights /= weights.sum()
    m, n = ((weights * heatmap).sum() for heatmap in (first, second))
    v, w = ((weights * (heatmap - mean) ** 2).sum() for heatmap, mean in ((first, m), (second, n)))
    covariance = (weights * (first - m) * (second - n)).sum()
    expected = (2 * m * n + 1e-4) * (2 * covariance + 9e-4) / ((m**2 + n**2 + 1e-4) * (v + w + 9e-4))
    assert ssim(*map(torch.from_numpy, (first[None], second[None]))).item() == pytest.approx(expected, rel=1e-9)


def test_correlations_are_those_of_scipy_and_numpy_with_ties() -> None:
    first, second = (maps(seed=seed) - 0.2 for seed in (0, 1))
    second = second + first
    found = similarities(first, second)
    pairs = [(one.flatten().numpy(), other.flatten().numpy()) for one, other in zip(first, second, strict=True)]
    assert found["spearman"].tolist() == pytest.approx([spearmanr(*pair).statistic for pair in pairs], rel=1e-9)
    absolute = [np.corrcoef(np.abs(one), np.abs(other))[0, 1] for one, other in pairs]
    assert found["abs_correlation"].tolist() == pytest.approx(absolute, rel=1e-9)


def test_equal_maps_have_a_similarity_of_exactly_one() -> None:
    for values in similarities(maps(), maps()).values():
        assert values.tolist() == pytest.approx([1, 1, 1, 1], abs=1e-12)
    assert similarities(maps(), maps())["spearman"].tolist() == [1, 1, 1, 1]


def test_scale_of_a_map_has_no_effect() -> None:
    for values in similarities(maps(), 1e-6 * maps()).values():
        assert values.tolist() == pytest.approx([1, 1, 1, 1])


def test_opposite_ranking_has_a_rank_correlation_of_minus_one() -> None:
    rows = torch.arange(11 * 11.0).view(1, 11, 11)
    assert similarities(rows, -rows)["spearman"].tolist() == [-1]
    assert similarities(rows, -rows)["abs_correlation"].tolist() == [1]


@pytest.mark.parametrize("other", [0.0, 0.7])
def test_two_constant_maps_are_equal_whatever_their_values(other: float) -> None:
    constant = torch.full((2, 12, 13), 0.1)
    for values in similarities(constant, torch.full_like(constant, other)).values():
        assert values.tolist() == [1, 1]


def test_map_that_becomes_constant_has_no_correlation_with_what_it_was() -> None:
    found = similarities(maps(), torch.full((4, 17, 24), 0.1))
    assert found["spearman"].tolist() == [0, 0, 0, 0]
    assert found["abs_correlation"].tolist() == [0, 0, 0, 0]
    assert (found["ssim"] < 0.5).all()


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_map_with_a_number_that_is_not_finite_has_no_similarity(wrong: float) -> None:
    damaged = maps()
    damaged[1, 3, 4] = wrong
    for pair in ((damaged, maps()), (maps(), damaged)):
        for values in similarities(*pair).values():
            assert values.isnan().tolist() == [False, True, False, False]


def test_constant_rows_of_a_correlation_are_found_although_their_mean_rounds() -> None:
    thirds = torch.full((1, 1000), 1 / 3, dtype=torch.float64)
    assert correlation(thirds, thirds).tolist() == [1]
    assert correlation(thirds, torch.rand(1, 1000, dtype=torch.float64)).tolist() == [0]


def test_maps_that_are_smaller_than_the_window_are_refused() -> None:
    with pytest.raises(UserError, match="at least 11 x 11 pixels, these have 10 x 30"):
        ssim(maps(1, 10, 30), maps(1, 10, 30))
