"""Heatmaps and their spectra."""

import io

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from evident.report.figures.spectra import spectra_figure


def heatmaps(count: int, size: int = 32) -> dict[str, dict[str, Tensor]]:
    """Return four random heatmaps for each of `count` explainers."""
    torch.manual_seed(0)
    return {f"explainer_{n}": {"heatmaps": torch.rand(4, size, size)} for n in range(count)}


def pixels_of(figure: Figure) -> np.ndarray:
    """Return the pixels of a figure; any warning fails the test."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return np.asarray(Image.open(file).convert("RGB"))


def spectrum(maps: Tensor) -> np.ndarray:
    """Return the spectrum that is drawn below the heatmap."""
    figure = spectra_figure({"name": {"heatmaps": maps}}, {"name": float("nan")})
    pixels_of(figure)
    return np.asarray(figure.axes[1].images[0].get_array())


@pytest.mark.parametrize("count", [1, 2, 9, 10, 12])
def test_every_explainer_has_a_heatmap_above_its_spectrum(count: int) -> None:
    examples = heatmaps(count)
    figure = spectra_figure(examples, {name: 0.125 for name in examples})
    pixels_of(figure)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == [f"explainer {number}\n0.1250" for number in range(count)]
    assert sum(len(axes.images) for axes in figure.axes) == 2 * count
    for upper, lower in zip(figure.axes[::2], figure.axes[1::2], strict=True):
        assert upper.get_position().y0 > lower.get_position().y1
        assert upper.get_position().x0 == lower.get_position().x0
    [last] = [axes for axes in figure.axes if axes.get_title() == titles[-1]]
    assert np.allclose(np.asarray(last.images[0].get_array()), examples[f"explainer_{count - 1}"]["heatmaps"][2])


@pytest.mark.parametrize("count", [1, 2, 5])
def test_middle_heatmap_is_shown(count: int) -> None:
    maps = torch.rand(count, 32, 32)
    figure = spectra_figure({"name": {"heatmaps": maps}}, {"name": 0.5})
    assert np.allclose(np.asarray(figure.axes[0].images[0].get_array()), maps[count // 2])


@pytest.mark.parametrize(("size", "scale"), [(28, 5), (112, 1), (180, 1)])
def test_every_value_of_a_heatmap_is_drawn_as_a_square_of_one_size(size: int, scale: int) -> None:
    checkerboard = (torch.arange(size)[:, None] + torch.arange(size)) % 2
    drawn = pixels_of(spectra_figure({"name": {"heatmaps": checkerboard[None].float()}}, {"name": 0.5}))[..., 0]
    expected = 255 * checkerboard.numpy().repeat(scale, axis=0).repeat(scale, axis=1)
    side = size * scale
    left = (drawn.shape[1] - side) // 2
    [top] = [
        row
        for row in range(drawn.shape[0] - side)
        if np.array_equal(drawn[row : row + side, left : left + side], expected)
    ]
    assert top > 0


def test_comb_of_period_two_stands_out_at_the_border() -> None:
    down, across = (torch.arange(32) % 2).float().expand(1, 32, 32).mT, (torch.arange(32) % 2).float().expand(1, 32, 32)
    for comb, place in ((down, (0, 16)), (across, (16, 0)), ((down - across).abs(), (0, 0))):
        power = spectrum(comb)
        assert np.unravel_index(power.argmax(), power.shape) == place
        assert power.max() == pytest.approx(0)


def test_spectrum_of_a_slow_wave_lies_in_the_middle() -> None:
    wave = torch.sin(torch.arange(64) * 2 * torch.pi / 16).expand(1, 64, 64)
    power = spectrum(wave)
    row, column = np.unravel_index(power.argmax(), power.shape)
    assert (row, abs(int(column) - 32)) == (32, 4)


@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, 1.0])
def test_constant_heatmap_is_drawn_and_has_no_spectrum(value: float) -> None:
    assert spectrum(torch.full((2, 30, 30), value)).max() <= -6  # the lower end of the colours


def test_constant_heatmap_does_not_change_the_spectrum_of_others() -> None:
    comb = (torch.arange(32) % 2).float().expand(1, 32, 32)
    power = spectrum(torch.cat([comb, torch.full((1, 32, 32), 0.1)]))
    assert np.unravel_index(power.argmax(), power.shape) == (16, 0)
