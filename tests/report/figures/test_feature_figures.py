"""Figures of relevant features, for any number of them."""

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from evident.report.figures.features import feature_maps_figure, interpretation_sheet
from evident.report.figures.heatmaps import heatmap_colours


def ranked(count: int, images: int = 5, size: int = 6) -> tuple[pd.DataFrame, dict[str, Tensor]]:
    """Return features of one class, the least relevant first, and their interpretation with `images` crops."""
    torch.manual_seed(0)
    places = [7 * n + 3 for n in range(count)]
    rows = [
        {"place": place, "feature": f"features.{place}/relu:{place}", "rank": rank, "weight": 5 / rank}
        for rank, place in enumerate(places, start=1)
    ]
    interpretation = {
        "places": torch.tensor(places),
        "crops": torch.randint(256, (count, images, 3, size, size)).byte(),
        "crop": torch.randint(256, (count, 3, size, size)).byte(),
        "signal": torch.randint(256, (count, size, size)).byte(),
    }
    return pd.DataFrame(rows[::-1]), interpretation


def examples(count: int, features: list[int], size: int = 28) -> dict[str, Tensor]:
    """Return `count` images, their heatmaps and the map of each feature."""
    torch.manual_seed(0)
    return {
        "images": torch.randint(256, (count, 3, size, size)).byte(),
        "heatmaps": torch.rand(count, size, size),
        "features": torch.tensor([features] * count),
        "maps": torch.rand(count, len(features), size, size),
    }


def draw(figure: Any) -> None:
    """Draw a figure; any warning fails the test."""
    figure.savefig(io.BytesIO())


def texts(figure: Any) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 12])
def test_sheet_shows_the_ten_most_relevant_features_from_the_top(count: int) -> None:
    features, interpretation = ranked(count)
    figure = interpretation_sheet("petals red", features, interpretation)
    draw(figure)
    shown = [text for text in texts(figure) if "weight" in text]
    expected = [f"{n}. features.{7 * n - 4}/relu:{7 * n - 4}\nweight {5 / n:.2f}" for n in range(1, count + 1)]
    assert shown == expected[:10]
    rest = f", the first 10 of {count}" if count > 10 else ""
    assert figure.get_suptitle() == f"petals red: relevant features{rest}"


def test_row_of_a_sheet_is_average_crop_signal_both_and_the_strongest_crops() -> None:
    features, interpretation = ranked(2)
    [axes] = interpretation_sheet("petals red", features, interpretation).axes
    canvas = axes.images[0].get_array()
    pictures = [canvas[12:18, left : left + 6] for left in range(0, 7 * 12, 12)]  # of the second row
    assert canvas.shape == (2 * 12 - 6, 7 * 12 - 6, 3)
    average, signal = interpretation["crop"][1], interpretation["signal"][1]
    assert np.allclose(pictures[0], average.permute(1, 2, 0) / 255)
    assert np.allclose(pictures[1], signal[..., None] / signal.max())
    assert np.allclose(pictures[2], heatmap_colours(average, signal.float()))
    for picture, crop in zip(pictures[3:], interpretation["crops"][1], strict=False):
        assert np.allclose(picture, crop.permute(1, 2, 0) / 255)


def test_long_names_are_broken_at_dots_and_slashes_and_lose_the_wrapper() -> None:
    features, interpretation = ranked(2)
    names = {1: "network.features.12.expand3x3_activation/relu:166", 2: "layer4.1/relu#2:40"}
    features["feature"] = features["rank"].map(names)
    shown = texts(interpretation_sheet("tench", features, interpretation))
    assert shown[0].splitlines()[:-1] == ["1. features.12.", "expand3x3_activation/", "relu:166"]
    assert shown[1].splitlines()[:-1] == ["2. layer4.1/relu#2:40"]


@pytest.mark.parametrize("value", [0, 255])
def test_constant_signal_is_drawn(value: int) -> None:
    features, interpretation = ranked(2)
    for field in ("signal", "crop", "crops"):
        interpretation[field].fill_(value)
    draw(interpretation_sheet("petals red", features, interpretation))


@pytest.mark.parametrize("images", [1, 3])
def test_fewer_crops_make_a_shorter_row(images: int) -> None:
    figure = interpretation_sheet("petals red", *ranked(2, images))
    draw(figure)
    assert [text for text in texts(figure) if text.startswith("crop")] == [f"crop {n + 1}" for n in range(images)]


@pytest.mark.parametrize("top", [1, 2, 3, 12])
def test_feature_maps_stand_in_their_order_beside_the_combined_heatmap(top: int) -> None:
    features = [10 + n for n in range(top)]
    kept = examples(2, features)
    figure = feature_maps_figure(kept, {feature: f"relu:{feature}" for feature in features})
    draw(figure)
    [axes] = figure.axes
    canvas = axes.images[0].get_array()
    gap = canvas.shape[0] - 2 * 28  # between the rows, and between the columns
    assert canvas.shape == (56 + gap, (top + 2) * (28 + gap) - gap, 3)
    second, across = canvas[28 + gap :], 28 + gap
    assert np.allclose(second[:, :28], kept["images"][1].permute(1, 2, 0) / 255)
    assert np.allclose(second[:, across : across + 28], heatmap_colours(kept["images"][1], kept["heatmaps"][1]))
    for n in range(top):
        shown = second[:, (n + 2) * across : (n + 2) * across + 28]
        assert np.allclose(shown, heatmap_colours(kept["images"][1], kept["maps"][1, n]))
    titles = ["image", "combined", *(f"feature {n + 1}" for n in range(top))]
    assert texts(figure) == [*titles, *([f"relu:{feature}" for feature in features] * 2)]


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_missing_feature_is_labelled_as_such(value: float) -> None:
    kept = examples(2, [5, -1, -1])
    kept["maps"][:, 1:] = 0
    kept["heatmaps"].fill_(value)
    figure = feature_maps_figure(kept, {5: "relu:5"})
    draw(figure)
    assert texts(figure)[-6:] == ["relu:5", "none takes part", "none takes part"] * 2
