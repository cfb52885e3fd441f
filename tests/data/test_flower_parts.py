"""Flowers with one part drawn anew: only that part changes, and the store keeps what was rendered."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import evident.data.flower_set as module
from evident.data.an8flower import an8flower
from evident.data.flower_set import FlowerSet
from evident.data.images import ImageSplits
from evident.data.render import flowers
from evident.data.render.flower_parts import CHANGES, masks_of
from evident.data.render.flower_scene import PARTS, build
from evident.errors import UserError
from evident.values import PartChanges

SIZE, COUNT, DRAWS = 48, 6, 2
NAMES = list(CHANGES)
LIGHT = NAMES.index("light")


def flower_splits(store: Path, variant: str = "single-6c") -> ImageSplits:
    return an8flower(variant, 2, COUNT, COUNT, 3, "rendered", SIZE, root=store / "none", store=store)


@pytest.fixture(scope="module", params=["single-6c", "double-12c"])
def drawn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[FlowerSet, PartChanges]:
    """Return test flowers, the last six of which have coloured stems in double-12c, and all their changes."""
    store = tmp_path_factory.mktemp(request.param)
    given: Any = an8flower(request.param, 1, 1, 12, 3, "rendered", SIZE, root=store / "none", store=store).test
    given = given.rows(slice(3, 9))
    return given, given.changed_parts(torch.arange(COUNT), DRAWS)


def bytes_of(images: Tensor) -> Tensor:
    return (images * 255).round().byte()


def samples_of(given: FlowerSet) -> Tensor:
    """Return whether a pixel has a sample of each part of CHANGES (N, 7, S, S); every pixel can have any light."""
    source = given._renderer
    found = flowers.valid_draws(source.variant, source.split, given.scenes.tolist(), source.seed, SIZE)
    counts = flowers._visible(build(found), SIZE)[2].transpose(0, 1)
    touched = torch.zeros(len(given), len(CHANGES), SIZE, SIZE, dtype=torch.bool)
    for number in range(len(PARTS)):
        [[owner]] = masks_of(torch.tensor([[[number]]]))[:, :, 0, 0].nonzero()[:, 1:].tolist()
        touched[:, owner] |= counts[:, number] > 0
    touched[:, LIGHT] = True
    return touched


def test_every_pixel_belongs_to_one_part_and_none_to_the_light(drawn):
    given, changes = drawn
    assert changes.masks.shape == (COUNT, 7, SIZE, SIZE)
    assert torch.equal(changes.masks.sum(1), torch.ones(COUNT, SIZE, SIZE, dtype=torch.long))
    assert not changes.masks[:, LIGHT].any()
    petals = given.labels < 6
    assert (changes.masks[petals, 0] ^ given.masks[petals]).float().mean() < 0.003


def test_each_visible_part_and_the_light_are_drawn_several_times(drawn):
    _, changes = drawn
    shown = changes.masks.flatten(2).any(2)
    shown[:, LIGHT] = True
    table = torch.zeros(COUNT, 7, dtype=torch.long)
    table.index_put_((changes.row, changes.part), torch.ones_like(changes.row), accumulate=True)
    assert torch.equal(table, shown * DRAWS)
    assert changes.images.min() >= 0
    assert changes.images.max() <= 1


def test_only_pixels_with_samples_of_the_part_change(drawn):
    given, changes = drawn
    differs = (bytes_of(changes.images) != given.images[changes.row]).any(1)
    touched = samples_of(given)[changes.row, changes.part]
    assert not (differs & ~touched).any()
    inside = changes.masks[changes.row, changes.part]
    share = (differs & inside).sum((1, 2)) / inside.sum((1, 2))
    # Dark soil is not painted, so not every pixel of a pot changes.
    assert share[changes.part != LIGHT].mean() > 0.85
    assert differs[changes.part == LIGHT].float().mean() > 0.9


def test_draws_differ_from_each_other(drawn):
    _, changes = drawn
    for row, part in {(n, k) for n, k in zip(changes.row.tolist(), changes.part.tolist(), strict=True)}:
        same = bytes_of(changes.images[(changes.row == row) & (changes.part == part)])
        assert all(not torch.equal(same[i], same[j]) for i in range(DRAWS) for j in range(i))


def hue(image: Tensor, mask: Tensor) -> float:
    """Return the mean hue in turns of the colours inside a mask, as an angle."""
    red, green, blue = image[:, mask].mean(1).tolist()
    return float(torch.atan2(torch.tensor(3**0.5 * (green - blue)), torch.tensor(2 * red - green - blue)) / 6.2832)


def test_the_part_whose_colour_is_the_class_gets_colours_of_other_classes(drawn):
    given, changes = drawn
    for row, part, image in zip(changes.row.tolist(), changes.part.tolist(), changes.images, strict=True):
        label = int(given.labels[row])
        if part == NAMES.index("stem" if label >= 6 else "petals"):
            found = hue(image, given.masks[row])
            apart = (flowers.HUES - found + 0.5) % 1 - 0.5
            assert apart.abs().argmin() != label % 6


def test_other_classes_take_turns_and_are_of_the_same_part():
    from evident.data.render.flower_parts import _other_class

    labels = torch.arange(12)
    others = torch.stack([_other_class(labels, torch.full((12,), turn)) for turn in range(5)])
    for label in range(12):
        first = label // 6 * 6
        assert sorted(others[:, label].tolist()) == [k for k in range(first, first + 6) if k != label]


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return flower_splits(tmp_path_factory.mktemp("flowers"))


def assert_same(one: PartChanges, other: PartChanges) -> None:
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", ["val", "test"])
def test_images_of_a_split_have_its_own_scenes(splits, name):
    changes = splits.split(name).changed_parts(torch.tensor([1]), draws=1)
    pot = changes.images[changes.part == NAMES.index("pot")]
    outside = ~changes.masks[0, NAMES.index("pot")]
    same = (bytes_of(pot[0]) == splits.split(name).images[1]).all(0)
    assert (same & outside).sum() > 0.9 * outside.sum()


def test_images_depend_neither_on_order_nor_on_the_other_images(splits):
    whole = splits.test.changed_parts(torch.tensor([4, 0, 2, 0]), draws=1)
    for position, index in enumerate([4, 0, 2, 0]):
        alone, own = splits.test.changed_parts(torch.tensor([index]), draws=1), whole.row == position
        assert torch.equal(alone.part, whole.part[own])
        assert torch.equal(alone.images, whole.images[own])
        assert torch.equal(alone.masks[0], whole.masks[position])


def test_blocks_keep_their_scenes(splits):
    block, one = splits.test.block(2, number=1), torch.tensor([0])
    assert_same(block.changed_parts(one + 1, draws=1), splits.test.changed_parts(one + 3, draws=1))
    assert_same(block.rows(slice(1, 2)).changed_parts(one, draws=1), splits.test.changed_parts(one + 3, draws=1))


def test_first_draws_do_not_depend_on_their_number(splits):
    one, two = (splits.val.changed_parts(torch.tensor([0]), draws=draws) for draws in (1, 2))
    for part in range(len(CHANGES)):
        assert torch.equal(two.images[two.part == part][:1], one.images[one.part == part])


def test_rendered_changes_are_stored_and_reused(splits, monkeypatch):
    before = splits.test.changed_parts(torch.tensor([5, 1]), draws=1)
    monkeypatch.setattr(module, "render_changes", None)
    again = splits.test.changed_parts(torch.tensor([1, 5]), draws=1)
    assert torch.equal(again.images[again.row == 0], before.images[before.row == 1])


def test_draws_below_one_are_an_error(splits):
    with pytest.raises(UserError, match="draws=0 must be 1 or more"):
        splits.test.changed_parts(torch.tensor([0]), draws=0)
