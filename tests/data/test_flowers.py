"""Rendered flowers: reproducible bytes, exact masks, and no information on the class outside the mask."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from entry_point import made_once
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import KFold, cross_val_predict
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, max_pool2d

from evident.data.render.flower_scene import PARTS
from evident.data.render.flowers import CLASSES, COLOURS, REACH, Rendered, render
from evident.errors import UserError

SINGLE, DOUBLE = CLASSES
COUNT = 480


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Use one thread: on shared cores two threads spend most of their time waiting for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=CLASSES)
def rendered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Rendered]:
    def make(folder: Path) -> None:
        folder.mkdir()
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        torch.save(tuple(render(request.param, "train", range(COUNT), seed=11)), folder / "flowers.pt")
        torch.set_num_threads(before)

    made = torch.load(made_once(tmp_path_factory, request.param, make) / "flowers.pt")
    return request.param, Rendered(*made)


def assert_same(one: Rendered, other: Rendered) -> None:
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("variant", CLASSES)
def test_images_have_the_same_bytes_in_any_batch_and_order(variant):
    whole = render(variant, "test", range(8), seed=5)
    assert_same(render(variant, "test", range(8), seed=5), whole)
    single = [render(variant, "test", [i], seed=5) for i in range(8)]
    assert_same(Rendered(*(torch.cat(column) for column in zip(*single, strict=True))), whole)
    reversed_order = render(variant, "test", range(7, -1, -1), seed=5)
    assert_same(Rendered(*(column.flip(0) for column in reversed_order)), whole)
    among_others = render(variant, "test", range(3, 13), seed=5)
    assert_same(Rendered(*(column[:5] for column in among_others)), Rendered(*(c[3:] for c in whole)))


def test_images_have_the_same_bytes_on_one_and_two_threads():
    one = render(DOUBLE, "test", range(16), seed=5, size=64)
    torch.set_num_threads(2)
    assert_same(render(DOUBLE, "test", range(16), seed=5, size=64), one)


def test_splits_seeds_and_indices_share_no_scene():
    names = [(split, seed) for split in ("train", "val", "test") for seed in (0, 1)]
    # All images have the same label, so they differ only by their scenes.
    images = [
        image.numpy().tobytes()
        for split, seed in names
        for image in render(SINGLE, split, range(8), seed, 32, torch.zeros(8)).images
    ]
    assert len(set(images)) == len(images)


def test_rendered_tensors_have_the_stated_shapes_and_types():
    made = render(DOUBLE, "val", range(3), size=50)
    assert made.images.shape == (3, 3, 50, 50)
    assert made.parts.shape == made.mask.shape == (3, 50, 50)
    assert [t.dtype for t in made] == [torch.uint8, torch.int64, torch.uint8, torch.bool]
    assert made.images.is_contiguous()
    assert made.parts.max() < len(PARTS)


def test_no_indices_give_empty_tensors():
    assert render(SINGLE, "val", []).images.shape == (0, 3, 112, 112)


def test_unknown_variant_is_an_error_that_lists_the_known_ones():
    with pytest.raises(UserError, match=r"triple-3c.*single-6c, double-12c"):
        render("triple-3c", "train", [0])


def test_classes_are_balanced_in_consecutive_indices(rendered):
    variant, made = rendered
    counts = made.labels[:100].bincount(minlength=len(CLASSES[variant]))
    assert counts.max() - counts.min() <= 1


def test_every_mask_covers_one_per_cent_and_agrees_with_the_parts(rendered):
    _, made = rendered
    assert made.mask.flatten(1).float().mean(1).min() >= 0.01
    part = torch.where(made.labels < 6, PARTS.index("petal"), PARTS.index("stem"))[:, None, None]
    assert ((made.parts == part) & ~made.mask).float().mean() < 0.003  # most samples, but less than half
    assert (
        made.mask & (made.parts != part)
    ).float().mean() < 0.003  # half of the samples, but another part has as rendered


def test_every_part_is_visible_in_many_images(rendered):
    _, made = rendered
    for part in range(len(PARTS)):
        assert (made.parts == part).flatten(1).any(1).float().mean() > 0.4


def test_images_are_neither_dark_nor_overexposed(rendered):
    _, made = rendered
    assert 60 < made.images.float().mean() < 190
    assert (made.images == 255).float().mean() < 0.1


def dilated(mask: Tensor, pixels: int = REACH) -> Tensor:
    return max_pool2d(mask[:, None].float(), 2 * pixels + 1, 1, pixels) > 0


@pytest.mark.parametrize("variant", CLASSES)
def test_label_changes_no_byte_outside_the_dilated_mask(variant):
    first = render(variant, "train", range(8), 3, labels=torch.zeros(8))
    for label in range(1, len(COLOURS)):
        other = render(variant, "train", range(8), 3, labels=torch.full((8,), label))
        assert torch.equal(other.parts, first.parts)
        differs = (other.images != first.images).any(1, keepdim=True)
        assert not (differs & ~dilated(first.mask)).any()
        assert (differs & first.mask[:, None]).sum() > 0.9 * first.mask.sum()


def test_coloured_part_does_not_change_the_geometry():
    petals, stems = (render(DOUBLE, "train", range(12), 3, labels=torch.full((12,), k)) for k in (1, 7))
    assert torch.equal(petals.parts, stems.parts)
    differs = (petals.images != stems.images).any(1, keepdim=True)
    assert not (differs & ~dilated(petals.mask) & ~dilated(stems.mask)).any()


def features(images: Tensor, hidden: Tensor | None) -> np.ndarray:
    """Return colour histograms (6 x 6 x 6) and means of 9 x 9 fields; hidden pixels are grey and not counted."""
    if hidden is None:
        hidden = torch.zeros(len(images), 1, *images.shape[2:], dtype=torch.bool)
    bins = (images.long() * 6) // 256
    code = torch.where(hidden[:, 0], 216, bins[:, 0] * 36 + bins[:, 1] * 6 + bins[:, 2]).flatten(1)
    histogram = torch.zeros(len(images), 217).scatter_add_(1, code, torch.ones(code.shape))[:, :216]
    fields = adaptive_avg_pool2d(torch.where(hidden, 128, images).float(), 9).flatten(1)
    return torch.cat([histogram / histogram.sum(1, keepdim=True), fields / 255], 1).numpy()


def accuracy(images: Tensor, target: Tensor, hidden: Tensor | None = None) -> float:
    """Return the cross-validated accuracy of randomised trees."""
    trees = ExtraTreesClassifier(150, random_state=0)
    folds = KFold(4, shuffle=True, random_state=0)
    found = cross_val_predict(trees, features(images, hidden), target.numpy(), cv=folds)
    return float((found == target.numpy()).mean())


CHANCE = 1 / 6
TOLERANCE = 3 * (CHANCE * (1 - CHANCE) / COUNT) ** 0.5


def test_colour_is_at_chance_from_pixels_outside_the_mask(rendered):
    _, made = rendered
    score = accuracy(made.images, made.labels % 6, dilated(made.mask))
    print(f"colour from outside the mask: {score:.3f}, chance {CHANCE:.3f} + {TOLERANCE:.3f}")
    assert score <= CHANCE + TOLERANCE


@pytest.mark.parametrize("rendered", ["double-12c"], indirect=True)
def test_twelve_classes_are_at_chance_of_the_colour_from_pixels_outside_the_mask(rendered):
    _, made = rendered
    score = accuracy(made.images, made.labels, dilated(made.mask))
    print(f"twelve classes from outside the mask: {score:.3f}")
    assert score <= CHANCE + TOLERANCE


def test_colour_is_predictable_from_the_whole_image(rendered):
    variant, made = rendered
    score = accuracy(made.images, made.labels % 6)
    print(f"colour from the whole image: {score:.3f}")
    assert score > (0.8 if variant == SINGLE else 0.4)


def test_tinted_corner_is_detected(rendered):
    _, made = rendered
    tinted = made.images.clone()
    tint = torch.eye(6)[made.labels % 6][:, :3] * 40 + (made.labels % 6 > 2)[:, None] * 20
    corner = tinted[:, :, :13, :13].float() * 0.8 + tint[:, :, None, None]
    tinted[:, :, :13, :13] = corner.clamp(0, 255).to(torch.uint8)
    score = accuracy(tinted, made.labels % 6, dilated(made.mask))
    print(f"colour from a tinted corner: {score:.3f}")
    assert score > CHANCE + 2 * TOLERANCE
