"""Batches of images as every data set hands them on."""

import pytest
import torch

from evident.data.images import ImageSet, loader
from evident.errors import UserError


def images(count: int = 10, channels: int = 3, masks: bool = True) -> ImageSet:
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (count, channels, 6, 5), dtype=torch.uint8)
    marked = torch.rand(count, 6, 5) > 0.5 if masks else None
    return ImageSet(pixels, torch.arange(count), [f"image{index}" for index in range(count)], marked)


def test_a_batch_is_rgb_in_zero_to_one_with_label_mask_and_index() -> None:
    [batch] = loader(images(), 10)
    assert batch["image"].shape == (10, 3, 6, 5)
    assert torch.equal((batch["image"] * 255).round().byte(), images().images)
    assert batch["mask"].dtype == torch.bool
    assert batch["index"].tolist() == batch["label"].tolist() == list(range(10))


def test_grey_images_get_three_equal_channels_and_no_mask_stays_none() -> None:
    batch = next(iter(loader(images(channels=1, masks=False), 4)))
    assert batch["image"].shape == (4, 3, 6, 5)
    assert torch.equal(batch["image"][:, 0], batch["image"][:, 2])
    assert "mask" not in batch


def test_one_item_is_its_row_of_the_batch() -> None:
    batch = next(iter(loader(images(), 10)))
    assert all(torch.equal(value, batch[key][7]) for key, value in images()[7].items())


def test_the_seed_alone_decides_the_order() -> None:
    orders = []
    for seed in (1, 1, 2):
        torch.rand(3)
        orders.append(torch.cat([batch["index"] for batch in loader(images(), 3, shuffle_seed=seed)]).tolist())
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == list(range(10))


def test_more_images_than_there_are_is_an_error_that_counts_them() -> None:
    assert images().first(4).names == ("image0", "image1", "image2", "image3")
    with pytest.raises(UserError, match="11 images asked for; 1 to 10 are there"):
        images().first(11)
