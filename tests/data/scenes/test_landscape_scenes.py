"""Rendered landscapes: a function of their name, with exact masks; removing an attribute changes nothing else."""

import hashlib
from functools import cache

import numpy as np
import pytest
import torch

from evident.data.render.landscape.attributes import ATTRIBUTES, HAS_ATTRIBUTE, IDS, MATERIALS, materials_of
from evident.data.render.landscape.canvas import SAMPLES, Canvas, boxes, rgb
from evident.data.render.landscape.composition import compose
from evident.data.render.landscape.noise import CELLS, Noise, smooth, stream, wave
from evident.data.render.landscape.outline import disc, line, polygon, within
from evident.data.render.landscape.scene import RENDER_FORMAT, STRIP, Scene, landscape
from evident.data.render.landscape.shapes import Plot, Pond, Way
from evident.data.render.landscape.view import view
from evident.data.scenes.sun_attributes import ATTRIBUTES as PAPER_ATTRIBUTES
from evident.errors import UserError

SIZE, COUNT = 32, 150
SETS = ("scenicness/test", "attributes/train")


@cache
def scene(index: int, without: str | None = None) -> Scene:
    return landscape(SETS[0], index, SIZE, without)


@cache
def showing(attribute: str) -> int:
    """Return the first landscape that shows the attribute in more than five pixels."""
    k = ATTRIBUTES.index(attribute)
    return next(index for index in range(COUNT) if scene(index).masks[k].sum() > 5)


def assert_same(one: Scene, other: Scene) -> None:
    assert torch.equal(one.image, other.image)
    assert torch.equal(one.masks, other.masks)
    assert torch.equal(one.indirect, other.indirect)


def touched(index: int, attribute: str) -> np.ndarray:
    """Return the pixels that show, at least partly, objects that disappear with the attribute."""
    removed = materials_of(attribute)
    view_, items = compose("landscape", SETS[0], 0, index)
    whole, alone = Canvas(SIZE), Canvas(SIZE)
    alone.material[:] = 255
    for item in items:
        item.render(whole)
        if removed.intersection(item.body):
            item.render(alone)
    seen = (alone.material != 255) | np.isin(whole.material, [IDS[name] for name in removed])
    if attribute == "horizon":
        seen |= np.abs(whole.places[:, None] - view_.horizon) < STRIP
    return boxes(seen.astype(np.uint8)) > 0


def test_landscape_is_the_same_in_any_order():
    scenes = [(name, index) for name in SETS for index in range(4)]
    first = [landscape(name, index, SIZE) for name, index in scenes]
    again = [landscape(name, index, SIZE) for name, index in reversed(scenes)]
    for one, other in zip(first, reversed(again), strict=True):
        assert_same(one, other)


def test_images_change_only_with_the_format():
    # If this fails, images have changed: increase RENDER_FORMAT and replace the digest.
    scenes = [landscape(SETS[0], index, SIZE) for index in range(40)]
    pixels = b"".join(scene.image.numpy().tobytes() + scene.masks.numpy().tobytes() for scene in scenes)
    assert (RENDER_FORMAT, hashlib.sha256(pixels).hexdigest()[:16]) == (1, "f470ad87050fd75f")


def test_name_index_and_seed_each_change_the_landscape():
    images = [
        landscape(name, index, SIZE, seed=seed).image.numpy().tobytes()
        for name in SETS
        for index in (0, 1)
        for seed in (0, 1)
    ]
    assert len(set(images)) == len(images)


def test_images_and_masks_have_the_requested_size():
    for size in (16, 45):
        rendered = landscape(SETS[0], 3, size)
        assert rendered.image.shape == (3, size, size)
        assert rendered.image.dtype == torch.uint8
        assert rendered.masks.shape == (len(ATTRIBUTES), size, size)
        assert rendered.masks.dtype == torch.bool
        assert rendered.indirect.shape == (size, size)


def test_larger_image_shows_the_same_landscape():
    for index in range(4):
        small, large = (landscape(SETS[0], index, size) for size in (32, 96))
        shrunk = torch.nn.functional.avg_pool2d(large.image.float()[None], 3)[0]
        assert (shrunk - small.image.float()).abs().mean() < 12
        assert torch.allclose(small.masks.float().mean((1, 2)), large.masks.float().mean((1, 2)), atol=0.08)


def test_attributes_have_the_papers_names_and_order():
    assert [name for name in PAPER_ATTRIBUTES if name in ATTRIBUTES] == list(ATTRIBUTES)
    known = {attribute for of in MATERIALS.values() for attribute in of} | {"horizon"}
    assert known == set(ATTRIBUTES)


def test_every_attribute_is_visible_often_but_not_always():
    seen = torch.stack([scene(index).masks.any(2).any(1) for index in range(COUNT)]).float().mean(0)
    assert (seen > 0.05).all()
    assert (seen < 0.75).all()


def test_scores_are_spread_over_the_scale():
    # At the size of the experiments: a wire is one pixel thick at any size, so its share is larger in a small image.
    scores = np.array([landscape(SETS[0], index, 96).score for index in range(100)])
    assert 1.4 < scores.std() < 2.1
    assert 5 < scores.mean() < 6
    assert ((scores > 1) & (scores < 10)).mean() > 0.95


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_removing_an_attribute_removes_all_of_it_and_changes_nothing_else(attribute):
    index, k = showing(attribute), ATTRIBUTES.index(attribute)
    whole, rest = scene(index), scene(index, attribute)
    assert not rest.masks[k].any()
    assert rest.contributions[k] == 0
    changed = (whole.image != rest.image).any(0)
    assert changed[whole.masks[k]].float().mean() > 0.5
    may_change = torch.from_numpy(touched(index, attribute)) | whole.indirect | rest.indirect
    assert not (changed & ~may_change).any()


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_removing_an_absent_attribute_changes_nothing(attribute):
    k = ATTRIBUTES.index(attribute)
    for index in range(COUNT):
        shown = scene(index).masks[k].any() or (attribute != "horizon" and touched(index, attribute).any())
        if not shown:
            assert_same(scene(index), scene(index, attribute))
            return
    raise AssertionError(f"{attribute} is in every landscape")


def test_removing_an_object_shows_what_is_behind_it():
    k, sky = ATTRIBUTES.index("trees"), ATTRIBUTES.index("clouds")
    grown = sum(
        int((scene(i, "trees").masks[sky] & scene(i).masks[k]).sum()) for i in range(40) if scene(i).masks[k].any()
    )
    assert grown > 0
    for index in range(10):
        whole, rest = scene(index), scene(index, "trees")
        others = torch.arange(len(ATTRIBUTES)) != k
        assert not (whole.masks & ~rest.masks)[others].any()


def test_unknown_attribute_and_small_size_are_user_errors():
    with pytest.raises(UserError, match="landscapes have no attribute 'beauty'; use one of trees, grass"):
        landscape(SETS[0], 0, SIZE, without="beauty")
    with pytest.raises(UserError, match="use 16 or more"):
        landscape(SETS[0], 0, 15)


def test_masks_need_at_least_half_of_a_pixels_samples():
    canvas = Canvas(4)
    patch = canvas.whole()
    where = np.zeros((8, 8), bool)
    where[0, 0] = True  # one sample of the first pixel
    where[2:4, 2] = True  # two of the pixel diagonally below
    patch.fill(where, rgb(1, 1, 1), "snow")
    masks = canvas.masks(np.zeros((8, 8), bool))
    for name in ("ice_snow", "rugged_scene"):
        assert np.argwhere(masks[ATTRIBUTES.index(name)]).tolist() == [[1, 1]]
    assert masks.sum() == 2
    assert SAMPLES == 2


def test_last_fill_is_visible_and_sets_the_attributes():
    canvas = Canvas(4)
    patch = canvas.whole()
    everywhere = np.ones((8, 8), bool)
    patch.fill(everywhere, rgb(0, 1, 0), "grass")
    patch.fill(within(patch, 0, 0, 1, 0.5), rgb(1, 0, 0), "rail")
    masks = canvas.masks(~everywhere)
    assert masks[ATTRIBUTES.index("grass")].sum() == 8
    assert masks[ATTRIBUTES.index("railroad")][:2].all()
    assert masks[ATTRIBUTES.index("metal")][:2].all()
    assert masks.sum() == 8 * 3
    assert canvas.image()[:, 0, 0].tolist() == [255, 0, 0]
    assert HAS_ATTRIBUTE[IDS["sky"]].sum() == 0


def test_removed_material_is_not_filled():
    canvas = Canvas(4, frozenset({"pane"}))
    canvas.whole().fill(np.ones((8, 8), bool), rgb(1, 1, 1), "pane")
    assert not canvas.colour.any()
    assert not canvas.material.any()


def test_shade_removes_light_and_is_marked_as_indirect():
    canvas = Canvas(4)
    patch = canvas.whole()
    patch.fill(np.ones((8, 8), bool), rgb(0.5, 0.5, 0.5), "grass")
    patch.shade(np.eye(8, dtype=np.float32) * np.float32(0.5))
    assert canvas.indirect.sum() == 8
    assert np.allclose(np.diagonal(canvas.colour[0]), 0.125)


def test_noise_on_a_grid_equals_noise_at_points():
    noise = Noise(stream("test"))
    x, y = np.linspace(-40, 40, 37, dtype=np.float32), np.linspace(3, 99, 23, dtype=np.float32)
    grid = np.meshgrid(x, y)
    assert np.allclose(noise.over(x, y), noise.at(*grid), atol=1e-5)
    assert np.allclose(noise.fractal_over(x, y, 4), noise.fractal(*grid, 4), atol=1e-4)


def test_noise_equals_the_lattice_at_integers_and_the_mean_halfway():
    noise = Noise(stream("test"))
    whole = np.arange(CELLS, dtype=np.float32)
    assert np.array_equal(noise.over(whole, whole), noise.lattice)
    assert np.array_equal(noise.over(whole + CELLS, whole - CELLS), noise.lattice)
    middle = noise.over(whole[:-1] + np.float32(0.5), whole)
    assert np.allclose(middle, (noise.lattice[:, 1:] + noise.lattice[:, :-1]) / 2, atol=1e-6)


def test_streams_depend_only_on_the_name():
    assert stream("a", 1).random() == stream("a", 1).random()
    assert stream("a", 1).random() != stream("a", 2).random()


def test_steps_and_waves_range_from_zero_to_one():
    x = np.array([-1, 0, 0.5, 1, 2], np.float32)
    assert smooth(x).tolist() == [0, 0, 0.5, 1, 1]
    assert wave(x).tolist() == [0, 0, 1, 0, 0]


def test_outlines_have_the_areas_of_their_shapes():
    patch = Canvas(128).whole()
    triangle = [(0.1, 0.1), (0.9, 0.1), (0.1, 0.7)]
    assert polygon(patch, triangle).mean() == pytest.approx(0.24, abs=0.003)
    assert np.array_equal(polygon(patch, triangle), polygon(patch, triangle[::-1]))
    assert within(patch, 0.25, 0.25, 0.75, 0.5).mean() == pytest.approx(0.125, abs=0.003)
    assert disc(patch, 0.5, 0.5, 0.4, 0.2)[0].mean() == pytest.approx(np.pi * 0.08, abs=0.003)
    round_ends = 0.5 * 0.1 + np.pi * 0.05**2
    assert line(patch, (0.25, 0.5), (0.75, 0.5), 0.1).mean() == pytest.approx(round_ends, abs=0.003)


def test_ground_positions_follow_perspective():
    seen = view("landscape", "test", 0, 1)
    patch = Canvas(64).patch(top=seen.horizon + 0.05)
    assert patch is not None
    x, z = seen.ground(patch)
    for row, column in ((3, 5), (20, 60)):
        far = float(z[row, 0])
        assert seen.row(far) == pytest.approx(float(patch.v[row, 0]), abs=1e-5)
        assert seen.column(float(x[row, column]), far) == pytest.approx(float(patch.u[0, column]), abs=1e-5)
        assert seen.far(seen.row(far)) == pytest.approx(far, rel=1e-4)


def test_ground_shapes_contain_their_inside():
    still = Noise(stream("still"))
    still.lattice[:] = 0

    def at(*numbers: float) -> np.ndarray:
        return np.array(numbers, np.float32)

    way = Way(False, start=2, slope=0.1, bend=5, half=1.5, noise=still)
    assert way(at(3, 1.6, 4.6, 6), at(10, 10, 10, 10)).tolist() == [True, True, False, False]
    assert Pond(0, 20, 5, 10, still)(at(0, 4.9, 5.1, 0), at(20, 20, 20, 31)).tolist() == [True, True, False, False]
    assert Plot(0, 20, 5, 10, 1)(at(9, 9, -9), at(20, 29, 29)).tolist() == [False, True, False]
