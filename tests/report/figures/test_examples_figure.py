"""Heatmaps beside their images."""

import numpy as np
import pytest
import torch
from torch import Tensor

from evident.report.figures.examples import COLUMNS, examples_figure
from evident.report.figures.heatmaps import heatmap_colours, overlay


def examples(masks: bool) -> dict[str, Tensor]:
    torch.manual_seed(0)
    kept = {
        "images": torch.randint(0, 255, (3, 3, 16, 16), dtype=torch.uint8),
        "target": torch.arange(3),
        "heatmaps": torch.rand(3, 16, 16),
    }
    return {**kept, "masks": torch.rand(3, 16, 16) > 0.5} if masks else kept


def test_examples_are_a_grid_of_images_by_explainers() -> None:
    kept = {"gradient": examples(False), "guided Grad-CAM, resized": examples(True)}
    axes, bar = examples_figure(kept).axes
    assert [text.get_text() for text in axes.texts] == ["image", "gradient", "guided Grad-CAM,\nresized"]
    assert [text.get_text() for text in bar.texts] == ["lowest value", "99.5th percentile"]
    canvas = axes.images[0].get_array()
    assert canvas.shape == (3 * 20 - 4, 3 * 20 - 4, 3)
    assert np.allclose(canvas[20:36, :16], kept["gradient"]["images"][1].permute(1, 2, 0) / 255)
    colours = heatmap_colours(kept["gradient"]["images"][2], kept["gradient"]["heatmaps"][2])
    assert np.allclose(canvas[40:56, 20:36], colours)


def test_mask_is_outlined_where_it_is() -> None:
    kept = {"random": examples(False), "gradient": examples(True)}
    for row, mask in enumerate(kept["gradient"]["masks"]):
        mask.fill_(False)
        mask[2:6, 8:12] = row > 0  # the first image has no ground truth
    axes, _ = examples_figure(kept).axes
    extents = [contour.get_datalim(axes.transData) for contour in axes.collections]
    # Of the second explainer (from column 40 on), the second and third image.
    found = [tuple(float(edge) for edge in extent.extents) for extent in extents]
    assert found == [(47.5, 21.5, 51.5, 25.5), (47.5, 41.5, 51.5, 45.5)]


def test_masks_that_fill_the_image_are_not_outlined() -> None:
    kept = examples(True)
    kept["masks"].fill_(True)
    axes, _ = examples_figure({"gradient": kept}).axes
    assert not axes.collections


def test_overlay_outlines_masks_only_if_they_are_known() -> None:
    assert not any(axes.collections for axes in overlay(examples(False)).axes)
    assert any(axes.collections for axes in overlay(examples(True)).axes)


def test_heatmap_is_drawn_from_dark_to_light_over_the_grey_image() -> None:
    black = torch.zeros(3, 2, 2, dtype=torch.uint8)
    colours = heatmap_colours(black, torch.tensor([[0.0, 1.0], [1.0, 1.0]]))
    assert np.allclose(colours[0, 0], [0, 0, 0], atol=0.01)
    assert np.allclose(colours[1, 1], 0.65 * np.array([0.987, 0.991, 0.750]), atol=1e-3)
    white = heatmap_colours(black + 255, torch.tensor([[0.0, 1.0], [1.0, 1.0]]))
    assert np.allclose(white - colours, 0.35)


def test_constant_heatmap_is_drawn_as_its_lowest_value() -> None:
    colours = heatmap_colours(torch.zeros(3, 4, 4, dtype=torch.uint8), torch.full((4, 4), 0.3))
    assert np.allclose(colours, 0, atol=0.01)


def test_heatmap_gets_lighter_with_its_value() -> None:
    ramp = heatmap_colours(torch.zeros(3, 1, 64, dtype=torch.uint8), torch.linspace(0, 1, 64)[None])
    lightness = (ramp[0] * [0.2126, 0.7152, 0.0722]).sum(1)
    assert (np.diff(lightness)[:-1] > 0).all()


def test_more_explainers_than_fit_go_below_with_the_images_again() -> None:
    kept = {f"e{number}": examples(False) for number in range(COLUMNS + 1)}
    axes, _ = examples_figure(kept, ["first", "second", "third"]).axes
    texts = [text.get_text() for text in axes.texts]
    half = (COLUMNS + 1) // 2
    rows = ["first", "second", "third"]
    names = list(kept)
    assert texts == [*rows, "image", *names[:half], *rows, "image", *names[half:]]
    canvas = axes.images[0].get_array()
    assert canvas.shape[1] == (half + 1) * 20 - 4
    assert np.allclose(canvas[-16:, :16], kept["e0"]["images"][2].permute(1, 2, 0) / 255)
    expected = heatmap_colours(kept["e0"]["images"][2], kept[names[-1]]["heatmaps"][2])
    assert np.allclose(canvas[-16:, -16:], expected)


@pytest.mark.parametrize("name", ["IMG_2025_WWMMWWMM_QWERTY.JPG", "iiiiiiiiiiiiiiii.jpg", "WWW\nis shown"])
def test_captions_of_any_letters_are_whole(name: str) -> None:
    figure = examples_figure({"gradient": examples(False)}, ["", name, ""])
    lefts = [text.get_window_extent().x0 for text in figure.axes[0].texts]
    assert 0 < min(lefts) < 25
