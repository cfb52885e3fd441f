"""Grid energy: known answers, and the effect of the resampled deconvolution."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import alexnet

from evident.errors import UserError
from evident.explainers.shared.backward_rules import BackwardRules, ConvolutionRule
from evident.explainers.shared.heatmap import channel_norm
from evident.metrics.contract import Explanation
from evident.metrics.grid_energy import grid_energy
from evident.models.flower_net import FlowerNet
from evident.models.untouched import untouched

Y, X = torch.meshgrid(torch.arange(112.0), torch.arange(112.0), indexing="ij")


def energy(heatmaps: Tensor, stride: int = 16) -> Tensor:
    images = torch.zeros(len(heatmaps), 3, *heatmaps.shape[1:])
    return grid_energy(Explanation(images, torch.zeros(len(heatmaps)), heatmaps), stride)


def one(heatmap: Tensor, stride: int = 16) -> float:
    return energy(heatmap[None], stride).item()


def comb(period: int) -> Tensor:
    return ((Y % period == 0) & (X % period == 0)).float()


def stripes(period: int) -> Tensor:
    return (Y % period == 0).float()


def checkerboard(period: int) -> Tensor:
    return (Y // (period // 2) + X // (period // 2)) % 2


def blob(y: float, x: float, width: float) -> Tensor:
    return torch.exp(-((Y - y) ** 2 + (X - x) ** 2) / (2 * width**2))


# Known answers


@pytest.mark.parametrize("period", [2, 4, 8, 16])
@pytest.mark.parametrize("pattern", [comb, stripes, checkerboard])
def test_pure_grid_scores_one(pattern: Callable[[int], Tensor], period: int) -> None:
    assert one(pattern(period)) == pytest.approx(1, abs=1e-6)
    assert one(1 - 0.3 * pattern(period).T) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("width", [3, 6, 10, 20, 40])
@pytest.mark.parametrize("place", [(56, 56), (50, 30), (5, 100)])
def test_smooth_blob_scores_zero_also_at_the_border(place: tuple[int, int], width: int) -> None:
    assert one(blob(*place, width)) < 1e-3


@pytest.mark.parametrize("heatmap", [X, X + Y, (X - 60) ** 2 + (Y - 50) ** 2 < 900, (X == 60) & (Y == 50)])
def test_ramps_discs_and_single_pixels_score_almost_zero(heatmap: Tensor) -> None:
    assert one(heatmap) < 0.01


def test_sharp_edge_scores_below_0_05_at_any_position() -> None:
    edges = energy(torch.stack([column < X for column in range(40, 72)]))
    assert edges.max() < 0.05
    assert edges.mean() < 0.03


def test_noise_scores_almost_zero() -> None:
    noise = torch.rand(20, 112, 112, generator=torch.Generator().manual_seed(0))
    assert energy(noise).max() < 0.03
    assert energy(noise**8).max() < 0.03  # many dark pixels, few bright ones


@pytest.mark.parametrize("period", [2, 4, 16])
def test_score_increases_with_the_amplitude_of_the_grid(period: int) -> None:
    scores = [one(blob(50, 60, 20) + amount * comb(period)) for amount in (0, 0.1, 0.3, 1, 3, 10)]
    assert scores == sorted(set(scores))
    assert scores[0] < 0.001
    assert 0.1 < scores[3] < 0.98
    assert scores[-1] > 0.9


@pytest.mark.parametrize("period", [2, 4, 8, 16])
def test_local_grid_is_detected(period: int) -> None:
    assert one(blob(50, 60, 20) * comb(period)) > 0.7
    assert one(blob(50, 60, 10) * comb(period)) > 0.3


def test_other_periods_score_below_0_35() -> None:
    # The frequencies of a window are too coarse to give other periods a score of zero.
    for period in (3, 5, 6, 7, 9, 11, 12, 14, 20, 24):
        assert one(stripes(period) + comb(period)) < 0.35, period
    assert one(comb(16), stride=8) < 0.01


def test_score_does_not_depend_on_the_offset_of_the_grid() -> None:
    grids = torch.stack([comb(16).roll(shift, (0, 1)) for shift in ((0, 0), (1, 0), (5, 9), (15, 15))])
    torch.testing.assert_close(energy(grids), torch.ones(4, dtype=torch.float64))
    moved = torch.stack([blob(50, 60, 20) + comb(4).roll(shift, (0, 1)) for shift in ((0, 0), (1, 3), (2, 2))])
    torch.testing.assert_close(energy(moved), energy(moved[:1]).expand(3), rtol=0.01, atol=0)


def test_score_ignores_scale_and_offset() -> None:
    heatmap = (blob(50, 60, 20) + 0.5 * comb(4)).double()[None]
    for changed in (1e-6 * heatmap, 1e6 * heatmap, heatmap + 3, -heatmap, heatmap.mT, heatmap.flip(1)):
        torch.testing.assert_close(energy(changed), energy(heatmap), rtol=0.02, atol=0)
    torch.testing.assert_close(energy(7 * heatmap + 3), energy(heatmap), rtol=1e-9, atol=0)


def test_score_is_in_zero_to_one() -> None:
    scores = energy(torch.rand(50, 40, 56, generator=torch.Generator().manual_seed(0)) ** 4, stride=4)
    assert ((scores >= 0) & (scores <= 1)).all()


def test_score_equals_its_formula_by_plain_loops() -> None:
    heatmap = torch.rand(6, 9, generator=torch.Generator().manual_seed(0)).double()
    wave = torch.exp(-2j * torch.pi * torch.arange(6).outer(torch.arange(6)) / 6).to(torch.complex128)
    windows = [heatmap[:, :6], heatmap[:, 3:]]  # stride 3
    power = sum((wave @ (window - window.mean()).to(wave.dtype) @ wave).abs().square() for window in windows)
    peaks = []
    for u, v in itertools.product((0, 2, 4), (0, 2, 4)):
        lines = [
            (power[(u + a) % 6, (v + b) % 6] + power[(u - a) % 6, (v - b) % 6]) / 2
            for a, b in ((0, 1), (1, 0), (1, 1), (1, -1))
        ]
        peaks.append(max(float(power[u, v] - max(lines)), 0.0))
    assert sum(peak > 0 for peak in peaks) > 1
    assert one(heatmap, stride=3) == pytest.approx(sum(peaks) / float(power.sum()))


def test_constant_and_non_finite_maps_are_nan() -> None:
    heatmaps = comb(4).repeat(5, 1, 1)
    heatmaps[0], heatmaps[1] = 0, 1 / 3
    heatmaps[2, 50, 50], heatmaps[3, 50, 50] = torch.nan, torch.inf
    scores = energy(heatmaps)
    assert scores.isnan().tolist() == [True, True, True, True, False]
    assert scores[4] == pytest.approx(1, abs=1e-6)
    assert energy(torch.full((1, 112, 112), 0.7, dtype=torch.float64), stride=7).isnan()


def test_stride_is_halved_for_small_maps() -> None:
    assert one(comb(4)[:28, :28]) == one(comb(4)[:28, :28], stride=8)
    assert one(comb(4)[:28, :28]) == pytest.approx(1, abs=1e-6)
    assert one(blob(15, 12, 8)[:28, :28]) < 1e-3


@pytest.mark.parametrize("stride", [1, 0, -4])
def test_stride_below_two_is_an_error(stride: int) -> None:
    with pytest.raises(UserError, match=f"stride={stride} must be 2 or more"):
        one(comb(4), stride)


# Claim of Oramas et al. 2019: resampling before the transposed convolution removes the grid


def kaiming(network: nn.Module, seed: int) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network.eval()


def smooth_images(count: int, size: int, seed: int) -> Tensor:
    """Return images (count, 3, size, size) in [0, 1] without detail: noise with a Gaussian blur of 4 pixels."""
    frequency = torch.fft.fftfreq(size)
    blur = torch.exp(-2 * (torch.pi * 4) ** 2 * (frequency[:, None] ** 2 + frequency**2))
    noise = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))
    images = torch.fft.ifft2(torch.fft.fft2(noise) * blur).real
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    return (images - low) / (high - low)


def strongest_filter(features: nn.Module, images: Tensor, convolution: ConvolutionRule | None) -> Tensor:
    """Return heatmaps (N, H, W) of each image's strongest filter: the signal is its map, and zero for other filters."""
    with untouched(features):
        pixels = images.clone().requires_grad_()
        with BackwardRules(relu="guided", convolution=convolution):
            maps = features(pixels.clone())  # the first layer may be in place
        rows, filters = torch.arange(len(maps)), maps.detach().square().sum((2, 3)).argmax(1)
        signal = torch.zeros_like(maps)
        signal[rows, filters] = maps.detach()[rows, filters]
        return channel_norm(torch.autograd.grad(maps, pixels, signal)[0])


@pytest.mark.parametrize("depth", [15, 21])
@pytest.mark.parametrize("seed", range(4))
def test_resampling_removes_the_grid_of_flower_net(seed: int, depth: int) -> None:
    features = kaiming(FlowerNet(6).features[:depth], seed)
    images = smooth_images(8, 112, seed)
    before, after = (energy(strongest_filter(features, images, rule)).mean() for rule in (None, "resampled"))
    # Measured: 0.43 to 0.75 before, 0.0007 to 0.0031 after; 230 to 990 times less.
    assert before > 0.3
    assert after < before / 60


@pytest.mark.parametrize("seed", range(3))
def test_resampling_removes_the_grid_of_alexnets_convolution_and_part_of_its_pooling(seed: int) -> None:
    features = kaiming(alexnet(weights=None).features[:12], seed)
    images = 4 * smooth_images(2, 224, seed) - 2
    plain, resampled = (strongest_filter(features, images, rule) for rule in (None, "resampled"))
    # The only strided convolution has stride 4. Measured: 0.018 to 0.033 before, less than 1e-6 after.
    assert energy(plain, 4).mean() > 0.01
    assert energy(resampled, 4).mean() < energy(plain, 4).mean() / 1000
    # With two poolings the total stride is 16. Measured: 0.042 to 0.075 before, 0.002 to 0.019 after.
    assert energy(resampled, 16).mean() < energy(plain, 16).mean() / 2
    # The rest comes from the switches of the poolings: at the output of this convolution, the signal has their grid,
    # with periods 2 and 4. Measured: 0.47 to 0.48.
    signal = strongest_filter(features[1:], features[0](images).detach(), "resampled")
    assert energy(signal, 4).mean() > 0.3
