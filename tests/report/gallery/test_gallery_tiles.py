"""Tiles of the gallery: grey values and their scales, sheets, outlines and correlations."""

import io

import numpy as np
import pytest
import torch
from gallery_samples import heatmap, image
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import pearsonr
from torch import Tensor

from evident.report.gallery import tiles


def recovered(shown: tiles.Grey) -> NDArray[np.float64]:
    low, high = (values[:, None, None] for values in (shown.low, shown.high))
    return low + shown.levels / 255 * (high - low)


def decoded(content: bytes) -> NDArray[np.int64]:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def test_ramp_has_all_levels_from_its_lowest_to_its_highest_value() -> None:
    shown = tiles.grey(torch.tensor([[[2.0, 3.0, 4.0]]]).repeat(1, 300, 1))
    assert shown.levels[0, 0].tolist() == [0, 128, 255]
    assert (shown.low.tolist(), shown.high.tolist()) == ([2], [4])


def test_value_is_recovered_to_half_a_level_up_to_the_percentile() -> None:
    values = (
        torch.randn(3, 40, 50, generator=torch.Generator().manual_seed(0)) * torch.tensor([1, 1e-6, 1e4])[:, None, None]
    )
    shown = tiles.grey(values)
    clipped = np.minimum(values.double().numpy(), shown.high[:, None, None])
    error = np.abs(recovered(shown) - clipped) / (shown.high - shown.low)[:, None, None]
    assert error.max() <= 0.5 / 255 + 1e-9
    assert shown.high == pytest.approx(np.quantile(values.double().flatten(1).numpy(), 0.995, axis=1))


def test_few_very_large_values_do_not_darken_the_others() -> None:
    values = torch.linspace(0, 1, 1000).reshape(1, 20, 50)
    values[0, 0, :2] = 1000
    shown = tiles.grey(values)
    assert shown.high[0] == pytest.approx(1, abs=0.01)
    assert (shown.levels == 255).sum() <= 7


def test_heatmap_of_single_pixels_is_scaled_to_its_maximum() -> None:
    values = torch.zeros(1, 30, 30)
    values[0, 3, 3] = 7
    shown = tiles.grey(values)
    assert (shown.high[0], shown.levels[0, 3, 3], shown.levels.sum()) == (7, 255, 255)


def test_constant_heatmap_is_black_and_keeps_its_value() -> None:
    shown = tiles.grey(torch.full((1, 4, 4), 3.0))
    assert (shown.low[0], shown.high[0], shown.levels.max()) == (3, 3, 0)


def test_signed_heatmap_of_zeros_is_neutral() -> None:
    shown = tiles.signed_grey(torch.zeros(1, 4, 4))
    assert (shown.low[0], shown.high[0]) == (0, 0)
    assert (shown.levels == 128).all()


def test_signed_scale_is_symmetric_and_keeps_the_sign() -> None:
    shown = tiles.signed_grey(torch.tensor([[[-1.0, 0.0, 4.0]]]).repeat(1, 300, 1))
    assert (shown.low[0], shown.high[0]) == (-4, 4)
    assert shown.levels[0, 0].tolist() == [96, 128, 255]


@pytest.mark.parametrize(
    ("shape", "reduced"), [((2, 8, 8), (2, 4, 4)), ((2, 3, 8, 4), (2, 3, 4, 2)), ((2, 3, 3), (2, 3, 3))]
)
def test_images_are_averaged_to_the_longest_side_and_never_enlarged(
    shape: tuple[int, ...], reduced: tuple[int, ...]
) -> None:
    values = torch.rand(shape)
    small = tiles.reduce(values, 4)
    assert small.shape == reduced
    assert small.mean((-2, -1)) == pytest.approx(values.mean((-2, -1)), abs=1e-6)


def test_sheet_places_tiles_in_rows() -> None:
    numbered = np.arange(1, 20, dtype=np.uint8)[:, None, None].repeat(2, 1).repeat(3, 2)
    whole = tiles.sheet(numbered)
    assert whole.shape == (2 * 2, 16 * 3)
    assert whole[0, ::3].tolist() == list(range(1, 17))
    assert whole[2, ::3].tolist() == [17, 18, 19, *[0] * 13]
    assert tiles.sheet(numbered[:2]).shape == (2, 6)


def test_long_sheets_fit_into_a_webp() -> None:
    many = np.zeros((300, 112, 112), np.uint8)
    assert max(tiles.sheet(many).shape) < 16383


def test_digits_and_masks_are_stored_without_loss() -> None:
    levels = tiles.grey(torch.stack([heatmap(number, 1.0) for number in range(3)])).levels
    assert (decoded(tiles.encode(levels))[..., 0] == tiles.sheet(levels)).all()
    pictures = torch.stack([image(number) for number in range(3)]).permute(0, 2, 3, 1).numpy()
    assert (decoded(tiles.encode(pictures)) == tiles.sheet(pictures)).all()


def smooth(count: int, side: int = 112) -> Tensor:
    noise = torch.randn(count, 1, 7, 7, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(noise, size=(side, side), mode="bicubic")[:, 0]


def test_smooth_heatmaps_lose_little_and_are_small() -> None:
    levels = tiles.grey(smooth(8)).levels
    content = tiles.encode(levels)
    assert len(content) < 8 * 1000
    assert np.abs(decoded(content)[..., 0] - tiles.sheet(levels)).mean() < 2.5


def test_equal_tiles_share_a_file_and_the_same_tiles_give_the_same_bytes() -> None:
    files: dict[str, bytes] = {}
    levels = tiles.grey(smooth(2, 32)).levels
    names = [tiles.add(files, levels), tiles.add(files, levels.copy()), tiles.add(files, 255 - levels)]
    assert names[0] == names[1] != names[2]
    assert set(files) == set(names)
    assert files[names[0]] == tiles.encode(levels)


def test_outline_of_a_rectangle_is_its_border() -> None:
    mask = np.zeros((10, 20), bool)
    mask[2:5, 4:8] = True
    path = tiles.outline(mask, (10, 20))
    points = np.array([[float(value) for value in point.split()] for point in path[1:-1].split("L")])
    assert path[0] == "M"
    assert path[-1] == "Z"
    assert points.min(0) == pytest.approx([4, 2])
    assert points.max(0) == pytest.approx([8, 5])
    doubled = tiles.outline(mask, (20, 40))
    assert max(float(point.split()[0]) for point in doubled[1:-1].split("L")) == pytest.approx(16)


def test_outline_closes_at_the_border_and_around_holes() -> None:
    mask = np.ones((8, 8), bool)
    mask[3:5, 3:5] = False
    assert tiles.outline(mask, (8, 8)).count("M") == 2
    for empty in (np.zeros((4, 4), bool), np.ones((4, 4), bool)):
        assert tiles.outline(empty, (4, 4)) == ""


def test_correlations_are_those_of_scipy_and_undefined_for_constant_maps() -> None:
    generator = np.random.default_rng(0)
    maps = [generator.integers(0, 256, (2, 5, 6)).astype(np.uint8) for _ in range(3)]
    maps.append(np.full((2, 5, 6), 9, np.uint8))
    found = tiles.correlations(maps)
    assert found.shape == (2, 6)
    assert np.isnan(found[:, [2, 4, 5]]).all()  # the pairs of the last one
    for column, (one, other) in {0: (0, 1), 1: (0, 2), 3: (1, 2)}.items():
        for number in range(2):
            expected = pearsonr(maps[one][number].ravel(), maps[other][number].ravel()).statistic
            assert found[number, column] == pytest.approx(expected)
