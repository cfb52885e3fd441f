"""Rendered flowers: pure functions of their names, with honest masks and colour nowhere else."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
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
    """One thread: on shared cores two wait for each other longer than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=CLASSES)
def many(request: pytest.FixtureRequest) -> tuple[str, Rendered]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    made = render(request.param, "train", range(COUNT), seed=11)
    torch.set_num_threads(before)
    return request.param, made


def assert_same(one: Rendered, other: Rendered) -> None:
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("variant", CLASSES)
def test_rendering_in_any_batch_and_order_gives_the_same_bytes(variant):
    whole = render(variant, "test", range(16), seed=5)
    assert_same(render(variant, "test", range(16), seed=5), whole)
    single = [render(variant, "test", [i], seed=5) for i in range(16)]
    assert_same(Rendered(*(torch.cat(column) for column in zip(*single, strict=True))), whole)
    turned = render(variant, "test", range(15, -1, -1), seed=5)
    assert_same(Rendered(*(column.flip(0) for column in turned)), whole)
    among_others = render(variant, "test", range(3, 23), seed=5)
    assert_same(Rendered(*(column[:13] for column in among_others)), Rendered(*(c[3:] for c in whole)))


def test_rendering_on_two_threads_gives_the_bytes_of_one():
    one = render(DOUBLE, "test", range(16), seed=5, size=64)
    torch.set_num_threads(2)
    assert_same(render(DOUBLE, "test", range(16), seed=5, size=64), one)


def test_splits_seeds_and_indices_share_no_scene():
    names = [(split, seed) for split in ("train", "val", "test") for seed in (0, 1)]
    # One label for all, so that pictures differ by their scenes or not at all.
    pictures = [
        picture.numpy().tobytes()
        for split, seed in names
        for picture in render(SINGLE, split, range(8), seed, 32, torch.zeros(8)).images
    ]
    assert len(set(pictures)) == len(pictures)


def test_shapes_types_and_ranges():
    made = render(DOUBLE, "val", range(3), size=50)
    assert made.images.shape == (3, 3, 50, 50)
    assert made.parts.shape == made.mask.shape == (3, 50, 50)
    assert [t.dtype for t in made] == [torch.uint8, torch.int64, torch.uint8, torch.bool]
    assert made.images.is_contiguous()
    assert made.parts.max() < len(PARTS)


def test_no_images_are_an_empty_set():
    assert render(SINGLE, "val", []).images.shape == (0, 3, 112, 112)


def test_an_unknown_variant_is_named_beside_the_known_ones():
    with pytest.raises(UserError, match=r"triple-3c.*single-6c, double-12c"):
        render("triple-3c", "train", [0])


def test_classes_are_even_in_any_stretch_of_indices(many):
    variant, made = many
    counts = made.labels[:100].bincount(minlength=len(CLASSES[variant]))
    assert counts.max() - counts.min() <= 1


def test_every_mask_covers_one_per_cent_and_agrees_with_the_parts(many):
    _, made = many
    assert made.mask.flatten(1).float().mean(1).min() >= 0.01
    part = torch.where(made.labels < 6, PARTS.index("petal"), PARTS.index("stem"))[:, None, None]
    assert ((made.parts == part) & ~made.mask).float().mean() < 0.003  # most samples, yet less than half
    assert (made.mask & (made.parts != part)).float().mean() < 0.003  # half, and so has another part


def test_every_part_is_seen_in_most_pictures(many):
    _, made = many
    for part in range(len(PARTS)):
        assert (made.parts == part).flatten(1).any(1).float().mean() > 0.4


def test_pictures_are_neither_dark_nor_burnt(many):
    _, made = many
    assert 60 < made.images.float().mean() < 190
    assert (made.images == 255).float().mean() < 0.1


def grown(mask: Tensor, pixels: int = REACH) -> Tensor:
    return max_pool2d(mask[:, None].float(), 2 * pixels + 1, 1, pixels) > 0


@pytest.mark.parametrize("variant", CLASSES)
def test_outside_the_grown_mask_another_label_changes_no_byte(variant):
    first = render(variant, "train", range(24), 3, labels=torch.zeros(24))
    for label in range(1, len(COLOURS)):
        other = render(variant, "train", range(24), 3, labels=torch.full((24,), label))
        assert torch.equal(other.parts, first.parts)
        differs = (other.images != first.images).any(1, keepdim=True)
        assert not (differs & ~grown(first.mask)).any()
        assert (differs & first.mask[:, None]).sum() > 0.9 * first.mask.sum()


def test_which_part_is_coloured_changes_no_geometry():
    petals, stems = (render(DOUBLE, "train", range(12), 3, labels=torch.full((12,), k)) for k in (1, 7))
    assert torch.equal(petals.parts, stems.parts)
    differs = (petals.images != stems.images).any(1, keepdim=True)
    assert not (differs & ~grown(petals.mask) & ~grown(stems.mask)).any()


def features(images: Tensor, hidden: Tensor | None) -> np.ndarray:
    """Colour histograms (6 x 6 x 6) and means of 9 x 9 fields; what is hidden is grey and not counted."""
    if hidden is None:
        hidden = torch.zeros(len(images), 1, *images.shape[2:], dtype=torch.bool)
    bins = (images.long() * 6) // 256
    code = torch.where(hidden[:, 0], 216, bins[:, 0] * 36 + bins[:, 1] * 6 + bins[:, 2]).flatten(1)
    histogram = torch.zeros(len(images), 217).scatter_add_(1, code, torch.ones(code.shape))[:, :216]
    fields = adaptive_avg_pool2d(torch.where(hidden, 128, images).float(), 9).flatten(1)
    return torch.cat([histogram / histogram.sum(1, keepdim=True), fields / 255], 1).numpy()


def accuracy(images: Tensor, target: Tensor, hidden: Tensor | None = None) -> float:
    """Share of images that trees grown on the other folds put in their class."""
    trees = ExtraTreesClassifier(150, random_state=0)
    folds = KFold(4, shuffle=True, random_state=0)
    found = cross_val_predict(trees, features(images, hidden), target.numpy(), cv=folds)
    return float((found == target.numpy()).mean())


CHANCE = 1 / 6
TOLERANCE = 3 * (CHANCE * (1 - CHANCE) / COUNT) ** 0.5


def test_pixels_outside_the_mask_tell_nothing_of_the_colour(many):
    _, made = many
    score = accuracy(made.images, made.labels % 6, grown(made.mask))
    print(f"colour from outside the mask: {score:.3f}, chance {CHANCE:.3f} + {TOLERANCE:.3f}")
    assert score <= CHANCE + TOLERANCE


@pytest.mark.parametrize("many", ["double-12c"], indirect=True)
def test_knowing_the_part_outside_pixels_tell_no_more_of_the_twelve_classes(many):
    _, made = many
    score = accuracy(made.images, made.labels, grown(made.mask))
    print(f"twelve classes from outside the mask: {score:.3f}")
    assert score <= CHANCE + TOLERANCE


def test_the_whole_picture_tells_the_colour(many):
    variant, made = many
    score = accuracy(made.images, made.labels % 6)
    print(f"colour from the whole picture: {score:.3f}")
    assert score > (0.8 if variant == SINGLE else 0.4)


def test_a_tint_in_a_corner_would_be_found_out(many):
    _, made = many
    rigged = made.images.clone()
    tint = torch.eye(6)[made.labels % 6][:, :3] * 40 + (made.labels % 6 > 2)[:, None] * 20
    corner = rigged[:, :, :13, :13].float() * 0.8 + tint[:, :, None, None]
    rigged[:, :, :13, :13] = corner.clamp(0, 255).to(torch.uint8)
    score = accuracy(rigged, made.labels % 6, grown(made.mask))
    print(f"colour from a tinted corner: {score:.3f}")
    assert score > CHANCE + 2 * TOLERANCE
