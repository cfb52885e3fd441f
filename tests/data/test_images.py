"""Image sets, their splits and the batches that they give."""

import pytest
import torch

from evident.contracts import Splits
from evident.data.images import ImageSet, ImageSplits, loader
from evident.errors import UserError


def images(count: int = 10, channels: int = 3, masks: bool = True) -> ImageSet:
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (count, channels, 6, 5), dtype=torch.uint8)
    mask = torch.rand(count, 6, 5) > 0.5 if masks else None
    return ImageSet(pixels, torch.arange(count), [f"image{index}" for index in range(count)], mask)


def test_batch_has_rgb_in_zero_to_one_with_label_mask_and_index() -> None:
    [batch] = loader(images(), 10)
    assert batch["image"].shape == (10, 3, 6, 5)
    assert torch.equal((batch["image"] * 255).round().byte(), torch.as_tensor(images().images))
    assert batch["mask"].dtype == torch.bool
    assert batch["index"].tolist() == batch["label"].tolist() == list(range(10))


def test_batch_repeats_grey_channel_and_omits_missing_mask() -> None:
    batch = next(iter(loader(images(channels=1, masks=False), 4)))
    assert batch["image"].shape == (4, 3, 6, 5)
    assert torch.equal(batch["image"][:, 0], batch["image"][:, 2])
    assert "mask" not in batch


def test_item_equals_its_row_of_the_batch() -> None:
    batch = next(iter(loader(images(), 10)))
    assert all(torch.equal(value, batch[key][7]) for key, value in images()[7].items())


def test_order_depends_only_on_shuffle_seed() -> None:
    orders = []
    for seed in (1, 1, 2):
        torch.rand(3)
        orders.append(torch.cat([batch["index"] for batch in loader(images(), 3, shuffle_seed=seed)]).tolist())
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == list(range(10))


def test_blocks_are_disjoint_until_the_set_is_used_up_and_reject_more_than_exist() -> None:
    for number, first in enumerate((0, 4, 0, 4)):  # the third block would have two images only
        assert images().block(4, number).names == tuple(f"image{first + place}" for place in range(4))
    assert images().block(4).names == images().block(4, 0).names
    assert len(images().block(10, 7)) == 10
    for count in (0, 11):
        with pytest.raises(UserError, match=f"{count} images requested, but the set has 10; request 1 to 10"):
            images().block(count)


def test_image_splits_give_each_split_by_name_and_the_class_names() -> None:
    splits = ImageSplits(images(1), images(2), images(3), ("a", "b"))
    assert isinstance(splits, Splits)
    assert [len(splits.split(name)) for name in ("train", "val", "test")] == [1, 2, 3]
    assert splits.class_names() == ("a", "b")
    with pytest.raises(UserError, match="unknown split 'validation'; use one of train, val, test"):
        splits.split("validation")
