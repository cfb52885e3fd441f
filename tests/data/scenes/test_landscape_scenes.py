"""Rendered landscapes: pure functions of their names, exact masks, nothing else changed when a thing is left out."""

import hashlib
from functools import cache

import numpy as np
import pytest
import torch

from evident.data.render.landscape.attributes import ATTRIBUTES, BEARS, IDS, MATERIALS, bearers
from evident.data.render.landscape.canvas import SAMPLES, Canvas, boxes, rgb
from evident.data.render.landscape.composition import compose
from evident.data.render.landscape.noise import CELLS, Noise, smooth, stream, wave
from evident.data.render.landscape.outline import disc, line, polygon, within
from evident.data.render.landscape.scene import RENDER_FORMAT, STRIP, Scene, landscape
from evident.data.render.landscape.shapes import Plot, Pond, Way
from evident.data.render.landscape.view import view
from evident.data.scenes.sun_attributes import ATTRIBUTES as OF_THE_PAPER
from evident.errors import UserError

SIZE, COUNT = 32, 150
SETS = ("scenicness/test", "attributes/train")


@cache
def scene(index: int, without: str | None = None) -> Scene:
    return landscape(SETS[0], index, SIZE, without)


@cache
def showing(attribute: str) -> int:
    """The first landscape that shows more than a trace of the attribute."""
    k = ATTRIBUTES.index(attribute)
    return next(index for index in range(COUNT) if scene(index).masks[k].sum() > 5)


def assert_same(one: Scene, other: Scene) -> None:
    assert torch.equal(one.image, other.image)
    assert torch.equal(one.masks, other.masks)
    assert torch.equal(one.indirect, other.indirect)


def touched(index: int, attribute: str) -> np.ndarray:
    """Pixels that show, in part at least, what goes with the attribute, or light that it may have changed."""
    gone = bearers(attribute)
    view_, items = compose("landscape", SETS[0], 0, index)
    whole, alone = Canvas(SIZE), Canvas(SIZE)
    alone.material[:] = 255
    for item in items:
        item.paint(whole)
        if gone.intersection(item.body):
            item.paint(alone)
    seen = (alone.material != 255) | np.isin(whole.material, [IDS[name] for name in gone])
    if attribute == "horizon":
        seen |= np.abs(whole.places[:, None] - view_.horizon) < STRIP
    return boxes(seen.astype(np.uint8)) > 0


def test_a_landscape_is_the_same_whenever_it_is_asked_for():
    asked = [(name, index) for name in SETS for index in range(4)]
    first = [landscape(name, index, SIZE) for name, index in asked]
    again = [landscape(name, index, SIZE) for name, index in reversed(asked)]
    for one, other in zip(first, reversed(again), strict=True):
        assert_same(one, other)


def test_pictures_change_with_the_format_alone():
    # Where this fails, pictures have changed: raise RENDER_FORMAT and put their digest here.
    scenes = [landscape(SETS[0], index, SIZE) for index in range(40)]
    pixels = b"".join(scene.image.numpy().tobytes() + scene.masks.numpy().tobytes() for scene in scenes)
    assert (RENDER_FORMAT, hashlib.sha256(pixels).hexdigest()[:16]) == (1, "f470ad87050fd75f")


def test_name_index_and_seed_each_make_another_landscape():
    pictures = [
        landscape(name, index, SIZE, seed=seed).image.numpy().tobytes()
        for name in SETS
        for index in (0, 1)
        for seed in (0, 1)
    ]
    assert len(set(pictures)) == len(pictures)


def test_pictures_and_masks_have_the_size_asked_for():
    for size in (16, 45):
        made = landscape(SETS[0], 3, size)
        assert made.image.shape == (3, size, size)
        assert made.image.dtype == torch.uint8
        assert made.masks.shape == (len(ATTRIBUTES), size, size)
        assert made.masks.dtype == torch.bool
        assert made.indirect.shape == (size, size)


def test_a_larger_picture_shows_the_same_landscape():
    for index in range(4):
        small, large = (landscape(SETS[0], index, size) for size in (32, 96))
        shrunk = torch.nn.functional.avg_pool2d(large.image.float()[None], 3)[0]
        assert (shrunk - small.image.float()).abs().mean() < 12
        assert torch.allclose(small.masks.float().mean((1, 2)), large.masks.float().mean((1, 2)), atol=0.08)


def test_attributes_are_the_papers_by_name_and_order():
    assert [name for name in OF_THE_PAPER if name in ATTRIBUTES] == list(ATTRIBUTES)
    borne = {attribute for of in MATERIALS.values() for attribute in of} | {"horizon"}
    assert borne == set(ATTRIBUTES)


def test_every_attribute_is_seen_often_but_not_always():
    seen = torch.stack([scene(index).masks.any(2).any(1) for index in range(COUNT)]).float().mean(0)
    assert (seen > 0.05).all()
    assert (seen < 0.75).all()


def test_scores_spread_over_the_scale():
    # At the size of the experiments: a wire is a pixel thick at any size, and so a larger share of a small picture.
    scores = np.array([landscape(SETS[0], index, 96).score for index in range(100)])
    assert 1.4 < scores.std() < 2.1
    assert 5 < scores.mean() < 6
    assert ((scores > 1) & (scores < 10)).mean() > 0.95


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_leaving_an_attribute_out_takes_all_of_it_and_changes_nothing_elsewhere(attribute):
    index, k = showing(attribute), ATTRIBUTES.index(attribute)
    whole, rest = scene(index), scene(index, attribute)
    assert not rest.masks[k].any()
    assert rest.contributions[k] == 0
    changed = (whole.image != rest.image).any(0)
    assert changed[whole.masks[k]].float().mean() > 0.5
    may = torch.from_numpy(touched(index, attribute)) | whole.indirect | rest.indirect
    assert not (changed & ~may).any()


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_leaving_out_what_is_not_there_changes_nothing(attribute):
    k = ATTRIBUTES.index(attribute)
    for index in range(COUNT):
        shown = scene(index).masks[k].any() or (attribute != "horizon" and touched(index, attribute).any())
        if not shown:
            assert_same(scene(index), scene(index, attribute))
            return
    raise AssertionError(f"{attribute} is in every landscape")


def test_a_thing_that_is_left_out_lets_be_seen_what_is_behind():
    k, sky = ATTRIBUTES.index("trees"), ATTRIBUTES.index("clouds")
    grown = sum(
        int((scene(i, "trees").masks[sky] & scene(i).masks[k]).sum()) for i in range(40) if scene(i).masks[k].any()
    )
    assert grown > 0
    for index in range(10):
        whole, rest = scene(index), scene(index, "trees")
        others = torch.arange(len(ATTRIBUTES)) != k
        assert not (whole.masks & ~rest.masks)[others].any()


def test_an_unknown_attribute_is_named_beside_the_known_ones():
    with pytest.raises(UserError, match="no attribute 'beauty' in landscapes; there are trees, grass"):
        landscape(SETS[0], 0, SIZE, without="beauty")
    with pytest.raises(UserError, match="16 or more"):
        landscape(SETS[0], 0, 15)


def test_masks_are_what_at_least_half_of_a_pixels_samples_show():
    canvas = Canvas(4)
    patch = canvas.whole()
    where = np.zeros((8, 8), bool)
    where[0, 0] = True  # one sample of the first pixel
    where[2:4, 2] = True  # two of the one below and beside
    patch.fill(where, rgb(1, 1, 1), "snow")
    masks = canvas.masks(np.zeros((8, 8), bool))
    for name in ("ice_snow", "rugged_scene"):
        assert np.argwhere(masks[ATTRIBUTES.index(name)]).tolist() == [[1, 1]]
    assert masks.sum() == 2
    assert SAMPLES == 2


def test_what_is_painted_last_is_seen_and_bears_its_attributes():
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
    assert BEARS[IDS["sky"]].sum() == 0


def test_what_is_gone_is_not_painted():
    canvas = Canvas(4, frozenset({"pane"}))
    canvas.whole().fill(np.ones((8, 8), bool), rgb(1, 1, 1), "pane")
    assert not canvas.colour.any()
    assert not canvas.material.any()


def test_shade_takes_light_and_is_remembered():
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


def test_noise_equals_the_lattice_at_whole_numbers_and_the_mean_between_two():
    noise = Noise(stream("test"))
    whole = np.arange(CELLS, dtype=np.float32)
    assert np.array_equal(noise.over(whole, whole), noise.lattice)
    assert np.array_equal(noise.over(whole + CELLS, whole - CELLS), noise.lattice)
    middle = noise.over(whole[:-1] + np.float32(0.5), whole)
    assert np.allclose(middle, (noise.lattice[:, 1:] + noise.lattice[:, :-1]) / 2, atol=1e-6)


def test_streams_differ_by_name_alone():
    assert stream("a", 1).random() == stream("a", 1).random()
    assert stream("a", 1).random() != stream("a", 2).random()


def test_steps_and_waves_go_from_zero_to_one():
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


def test_the_ground_is_where_perspective_puts_it():
    seen = view("landscape", "test", 0, 1)
    patch = Canvas(64).patch(top=seen.horizon + 0.05)
    assert patch is not None
    x, z = seen.ground(patch)
    for row, column in ((3, 5), (20, 60)):
        far = float(z[row, 0])
        assert seen.row(far) == pytest.approx(float(patch.v[row, 0]), abs=1e-5)
        assert seen.column(float(x[row, column]), far) == pytest.approx(float(patch.u[0, column]), abs=1e-5)
        assert seen.far(seen.row(far)) == pytest.approx(far, rel=1e-4)


def test_shapes_on_the_ground_contain_what_lies_in_them():
    still = Noise(stream("still"))
    still.lattice[:] = 0

    def at(*numbers: float) -> np.ndarray:
        return np.array(numbers, np.float32)

    way = Way(False, start=2, slope=0.1, bend=5, half=1.5, noise=still)
    assert way(at(3, 1.6, 4.6, 6), at(10, 10, 10, 10)).tolist() == [True, True, False, False]
    assert Pond(0, 20, 5, 10, still)(at(0, 4.9, 5.1, 0), at(20, 20, 20, 31)).tolist() == [True, True, False, False]
    assert Plot(0, 20, 5, 10, 1)(at(9, 9, -9), at(20, 29, 29)).tolist() == [False, True, False]
