"""Occlusion, RISE and LIME on networks with known evidence: one pixel or one region."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.lime import LIME
from evident.explainers.occlusion import Occlusion
from evident.explainers.rise import RISE
from evident.explainers.shared.super_pixels import super_pixels
from evident.models.normalise import Normalise

ROW, COLUMN = 5, 9


class OnePixel(nn.Module):
    """Give the first class the sum of the channels of one pixel as its score."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise = Normalise((0.25, 0.25, 0.25), (1.0, 1.0, 1.0))

    def forward(self, images: Tensor) -> Tensor:
        score = self.normalise(images)[:, :, ROW, COLUMN].sum(1)
        return torch.stack([score, -score], 1)


class Probable(nn.Module):
    """Give the first class the mean of the region as its probability; the mean colour is black."""

    def __init__(self, region: Tensor) -> None:
        super().__init__()
        self.normalise = Normalise((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        self.region = region

    def forward(self, images: Tensor) -> Tensor:
        probability = images[:, :, self.region].mean((1, 2)).clamp(1e-6, 1 - 1e-6)
        return torch.stack([probability, 1 - probability], 1).log()


def one_pixel(height: int = 14, width: int = 14) -> Tensor:
    region = torch.zeros(height, width, dtype=torch.bool)
    region[ROW, COLUMN] = True
    return region


def test_occlusion_finds_the_pixel_and_the_whole_drop() -> None:
    images = torch.rand(3, 3, 14, 21, generator=torch.Generator().manual_seed(0))
    attribution = Occlusion(OnePixel(), window=3 / 14, stride=1 / 14).attribute(images, 0)
    drop = (images[:, :, ROW, COLUMN] - 0.25).sum(1)
    torch.testing.assert_close(attribution[:, 0, ROW, COLUMN], drop, rtol=1e-4, atol=1e-5)
    # Along each axis, 3 - distance of the 3 windows that cover a pixel also cover the evidence.
    torch.testing.assert_close(attribution[:, 0, ROW + 2, COLUMN - 1], drop * 2 / 9, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(attribution[:, 0, ROW, COLUMN + 3], torch.zeros(3), rtol=0, atol=1e-5)


def test_occlusion_window_is_at_least_one_pixel() -> None:
    images = torch.rand(1, 3, 14, 14)
    attribution = Occlusion(OnePixel(), window=0.01, stride=0.01).attribute(images, 0)
    assert attribution.abs().gt(1e-5).sum() == 1


@pytest.mark.parametrize(("window", "stride"), [(0.1, 0.2), (0.1, 0.0), (1.5, 0.5)])
def test_occlusion_windows_with_gaps_raise(window: float, stride: float) -> None:
    with pytest.raises(UserError, match=f"window={window}, stride={stride}: occlusion needs"):
        Occlusion(OnePixel(), window, stride)


def test_rise_masks_are_smooth_and_keep_the_given_share() -> None:
    rise = RISE(OnePixel(), masks=2000, cells=7, keep=0.3)
    masks = rise.full_size(*rise.draw(48, 41), 48, 41)
    assert masks.shape == (2000, 1, 48, 41)
    assert masks.min() >= 0
    assert masks.max() <= 1
    torch.testing.assert_close(masks.mean((0, 1)), torch.full((48, 41), 0.3), rtol=0, atol=0.05)
    # The slope of bilinear up-sampling with cells of 7 and 6 pixels.
    assert masks.diff(dim=2).abs().max() <= 1 / 7 + 1e-5
    assert masks.diff(dim=3).abs().max() <= 1 / 6 + 1e-5


def test_rise_equals_equation_six() -> None:
    image = torch.rand(1, 3, 14, 14, generator=torch.Generator().manual_seed(0))
    rise = RISE(OnePixel(), masks=20, cells=4, keep=0.6, seed=5)
    grids, corners = rise.draw(14, 14)
    total = torch.zeros(14, 14, dtype=torch.float64)
    for grid, (row, column) in zip(grids, corners, strict=True):
        large = F.interpolate(grid[None], (20, 20), mode="bilinear")[0, 0]
        mask = large[row : row + 14, column : column + 14].double()
        masked = image[0].double() * mask + 0.25 * (1 - mask)
        score = (masked[:, ROW, COLUMN] - 0.25).sum()
        total += mask * score.exp() / (score.exp() + (-score).exp())
    expected = total / (20 * 0.6)
    torch.testing.assert_close(rise.attribute(image, 0)[0, 0].double(), expected, rtol=1e-5, atol=1e-6)


def test_rise_converges_to_the_conditional_expectation() -> None:
    image = torch.full((1, 3, 14, 14), 0.8)
    saliency = RISE(Probable(one_pixel()), masks=6000, cells=7, keep=0.5).attribute(image, 0)[0, 0]
    # Far from the evidence, masks are independent of it: E[p] = 0.8 keep.
    torch.testing.assert_close(saliency[10:, :5], torch.full((4, 5), 0.4), rtol=0, atol=0.02)
    assert saliency[ROW, COLUMN] > 0.5
    assert saliency[ROW, COLUMN] >= saliency.max() - 0.02


def test_rise_masks_are_equal_for_all_images_and_differ_by_seed() -> None:
    images = torch.rand(1, 3, 14, 14).repeat(2, 1, 1, 1)
    first, second = (RISE(OnePixel(), masks=8, seed=seed).attribute(images, 0) for seed in (0, 1))
    torch.testing.assert_close(first[0], first[1])
    assert not torch.allclose(first, second)


def test_centred_rise_is_the_slope_of_the_probability_on_the_mask() -> None:
    image = torch.rand(1, 3, 14, 14, generator=torch.Generator().manual_seed(0))
    rise = RISE(OnePixel(), masks=25, cells=4, keep=0.6, seed=5, centred=True)
    masks = rise.full_size(*rise.draw(14, 14), 14, 14).double()
    with torch.no_grad():
        outputs = OnePixel()((image * masks + 0.25 * (1 - masks)).float()).softmax(1)[:, 0].double()
    slopes = [np.polyfit(mask, outputs, 1)[0] for mask in masks.flatten(1).T.numpy()]
    ours = rise.attribute(image, 0).flatten().tolist()
    assert ours == pytest.approx(slopes, rel=1e-3, abs=1e-5)


def test_centred_rise_is_exact_where_the_probability_is_linear_in_the_mask() -> None:
    image = torch.full((1, 3, 14, 14), 0.8)
    for seed in range(5):
        attribution = RISE(Probable(one_pixel()), masks=30, cells=7, seed=seed, centred=True).attribute(image, 0)
        assert float(attribution[0, 0, ROW, COLUMN]) == pytest.approx(0.8, rel=1e-4)


def test_centred_rise_of_a_network_that_ignores_the_image_is_zero() -> None:
    class Constant(OnePixel):
        def forward(self, images: Tensor) -> Tensor:
            return torch.tensor([2.0, 0.0]).expand(len(images), 2)

    image = torch.rand(1, 3, 14, 14)
    centred = RISE(Constant(), masks=50, centred=True).attribute(image, 0)
    published = RISE(Constant(), masks=50).attribute(image, 0)
    assert centred.abs().max() < 1e-5
    # Each pixel is visible more or less often than expected.
    assert published.std() > 0.02


def test_centred_rise_has_less_variance_than_the_map_minus_its_constant() -> None:
    image = torch.full((1, 3, 28, 28), 0.8)
    region = torch.zeros(28, 28, dtype=torch.bool)
    region[10:16, 4:10] = True

    def spread(centred: bool) -> Tensor:
        maps = [
            RISE(Probable(region), masks=100, cells=7, seed=seed, centred=centred).attribute(image, 0)[0, 0]
            for seed in range(40)
        ]
        stacked = torch.stack(maps)
        # In units of the region's slope, so that the two are comparable.
        signal = stacked[:, region].mean() - stacked[:, 20:, 20:].mean()
        return (stacked - (0 if centred else stacked.mean((1, 2), keepdim=True))).std(0).mean() / signal

    assert spread(centred=True) < 0.75 * spread(centred=False)


def test_centred_rise_of_a_single_mask_is_zero() -> None:
    assert (RISE(OnePixel(), masks=1, centred=True).attribute(torch.rand(1, 3, 14, 14), 0) == 0).all()


@pytest.mark.parametrize("settings", [{"keep": 0.0}, {"keep": 1.0}, {"masks": 0}, {"cells": 0}])
def test_rise_settings_without_masks_raise(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="RISE needs"):
        RISE(OnePixel(), **settings)


def quarters() -> Tensor:
    """Return an image (3, 24, 24) of four uniform quarters."""
    colours = torch.tensor([[[0.9, 0.8], [0.2, 0.6]], [[0.1, 0.8], [0.9, 0.2]], [[0.2, 0.1], [0.3, 0.9]]])
    return colours.repeat_interleave(12, 1).repeat_interleave(12, 2)


def test_super_pixels_follow_the_colours() -> None:
    labels = super_pixels(quarters(), segments=4)
    for rows in (slice(0, 12), slice(12, 24)):
        for columns in (slice(0, 12), slice(12, 24)):
            inner = labels[rows, columns][2:-2, 2:-2]
            assert (inner == inner[0, 0]).all()
    assert labels.unique().tolist() == [0, 1, 2, 3]


def test_lime_weighs_the_super_pixel_that_the_score_depends_on() -> None:
    region = torch.zeros(24, 24, dtype=torch.bool)
    region[2:10, 14:22] = True
    attribution = LIME(Probable(region), segments=4, samples=400, seed=0).attribute(quarters()[None], 0)[0, 0]
    # Hiding its super-pixel lowers the probability by the region's mean; ridge regression shrinks it slightly.
    drop = float(quarters()[:, region].mean())
    assert attribution[5, 18] == pytest.approx(drop, rel=0.1)
    for row, column in ((5, 5), (18, 5), (18, 18)):
        assert abs(float(attribution[row, column])) < 0.1 * drop


def test_lime_draws_differ_by_seed() -> None:
    region = torch.zeros(24, 24, dtype=torch.bool)
    region[2:10, 14:22] = True
    first, second = (
        LIME(Probable(region), segments=4, samples=20, seed=seed).attribute(quarters()[None], 0) for seed in (0, 1)
    )
    assert not torch.equal(first, second)


def test_lime_settings_that_cannot_be_fitted_raise() -> None:
    with pytest.raises(UserError, match="segments=1, samples=10: LIME needs"):
        LIME(OnePixel(), segments=1, samples=10)
