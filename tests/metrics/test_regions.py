"""Regions: squares that the border cuts off, super-pixels of each image, and sums over them."""

import pytest
import torch
from samples import smooth_noise

from evident.errors import UserError
from evident.explainers.shared.super_pixels import super_pixels
from evident.metrics.regions import region_labels, region_sums, squares


def test_squares_are_numbered_row_by_row_and_cut_off_by_the_border() -> None:
    assert squares(3, 5, 2).tolist() == [[0, 0, 1, 1, 2], [0, 0, 1, 1, 2], [3, 3, 4, 4, 5]]
    assert squares(2, 2, 9).unique().tolist() == [0]


def test_labels_are_pixels_or_squares_or_super_pixels() -> None:
    images = smooth_noise(2, (6, 10))
    assert region_labels(images, "pixels", 8, 100).tolist() == [list(range(60))] * 2
    assert region_labels(images, "squares", 4, 100).tolist() == [squares(6, 10, 4).flatten().tolist()] * 2
    labels = region_labels(images, "super_pixels", 8, 5)
    for image, row in zip(images, labels, strict=True):
        assert torch.equal(row, super_pixels(image, 5).flatten())


def test_sums_have_one_column_per_pixel_and_zeros_where_there_is_no_region() -> None:
    values, labels = torch.tensor([[1.0, 2, 4], [1, 2, 4]]), torch.tensor([[0, 1, 0], [0, 0, 0]])
    assert region_sums(values, labels).tolist() == [[5, 2, 0], [7, 0, 0]]
    assert region_sums(values, labels).dtype == torch.float64


def test_invalid_arguments_are_named() -> None:
    images = smooth_noise(1)
    with pytest.raises(UserError, match="regions='circles' is unknown"):
        region_labels(images, "circles", 8, 100)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="side=0"):
        region_labels(images, "squares", 0, 100)
    with pytest.raises(UserError, match="segments=0"):
        region_labels(images, "super_pixels", 8, 0)
