"""Rays and quadrics compared with known answers, in float64."""

import math

import pytest
import torch
from torch import Tensor

from evident.data.render.casting import Camera, Grid, nearest, shadowed, swept
from evident.data.render.quadrics import (
    HITS,
    MISS,
    NORMALS,
    Shapes,
    dot,
    ellipsoid,
    frustum,
    frustum_normal,
    plane,
    shapes,
    sheet,
    sheet_normal,
    sine,
    unit,
)


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def form(*values: float) -> Tensor:
    return vector(*values, *([0.0] * (5 - len(values))))


ROUND = form(0, 0, 1)  # a flat sheet with an elliptic outline


@pytest.mark.parametrize(
    ("hit", "origin", "direction", "shape", "distance"),
    [
        (ellipsoid, (-3, 0, 0), (1, 0, 0), form(), 2),
        (ellipsoid, (-3, 0.6, 0), (2, 0, 0), form(), (3 - 0.8) / 2),
        (ellipsoid, (0, 0, 0), (0, 0, 0.5), form(), 2),
        (ellipsoid, (-3, 1.001, 0), (1, 0, 0), form(), MISS),
        (ellipsoid, (3, 0, 0), (1, 0, 0), form(), MISS),
        (frustum, (-3, 0, 0.5), (1, 0, 0), form(), 2),
        (frustum, (0.5, 0, 4), (0, 0, -1), form(), 3),
        (frustum, (0.5, 0, -4), (0, 0, 1), form(), 3),
        (frustum, (-3, 0, 1.01), (1, 0, 0), form(), MISS),
        (frustum, (1.01, 0, 4), (0, 0, -1), form(), MISS),
        (frustum, (-2, 0, -3), (1, 0, 1), form(), 2),
        (frustum, (-3, 0, 0.5), (1, 0, 0), form(0.4), 1.8),
        (frustum, (-3, 0, -0.5), (1, 0, 0), form(0.4), 2.2),
        (frustum, (1.3, 0, 4), (0, 0, -1), form(0.4), 3),
        (frustum, (1.3, 0, -4), (0, 0, 1), form(0.4), 4.75),
        (frustum, (1.5, 0, 4), (0, 0, -1), form(0.4), MISS),
        (frustum, (0.5, 0, -4), (0, 0, 1), form(-1), 3),
        (frustum, (0.5, 0, 4), (0, 0, -1), form(-1), 3.5),
        (sheet, (0.5, 0, 2), (0, 0, -1), ROUND, 2),
        (sheet, (0.5, 0.99, 2), (0, 0, -1), ROUND, 2),
        (sheet, (0.5, 1.01, 2), (0, 0, -1), ROUND, MISS),
        (sheet, (-0.01, 0, 2), (0, 0, -1), ROUND, MISS),
        (sheet, (1.01, 0, 2), (0, 0, -1), form(0, 0, 1, -2), MISS),
        (sheet, (0.5, 0.2, 2), (0, 0, -1), form(0.4, 0.5, 1), 2 - 0.1 - 0.02),
        (sheet, (-1, 0, 0.16), (1, 0, 0), form(1, 0, 1), 1.4),
        (sheet, (0.5, 0, -1), (0, 0, -1), ROUND, MISS),
    ],
)
def test_rays_hit_shapes_at_the_expected_distance(hit, origin, direction, shape, distance):
    found = hit(vector(*origin), vector(*direction), shape)
    torch.testing.assert_close(found, torch.tensor([distance], dtype=torch.float64), rtol=0, atol=1e-12)


def test_hits_closer_than_near_are_ignored():
    assert ellipsoid(vector(-3, 0, 0), vector(1, 0, 0), form(), 2.5).item() == pytest.approx(4)
    assert ellipsoid(vector(-3, 0, 0), vector(1, 0, 0), form(), 4.5).item() == MISS


def test_plane_is_hit_only_in_front_of_the_eye():
    origin = vector(0, 3, 0).expand(3, 3)
    direction = torch.tensor([[0.0, 0, 1], [-2.0, 1, 0], [0, 0, 0]], dtype=torch.float64)
    assert plane(origin, direction).tolist() == [1.5, MISS, MISS]


@pytest.mark.parametrize("kind", HITS)
def test_hits_lie_on_the_surface_and_normals_are_its_gradient(kind):
    generator = torch.Generator().manual_seed(3)
    shape = {"ellipsoid": form(), "frustum": form(0.3), "sheet": form(0.4, -0.3, 1, 0.5, -0.7)}[kind]
    implicit = {
        "ellipsoid": lambda p: dot(p, p) - 1,
        "frustum": lambda p: p[0] ** 2 + p[1] ** 2 - (1 + 0.3 * p[2]) ** 2,
        "sheet": lambda p: p[2] - 0.4 * p[0] ** 2 + 0.3 * p[1] ** 2,
    }[kind]
    origin = 4 * unit(torch.randn(3, 4000, generator=generator, dtype=torch.float64))
    aim = torch.rand(3, 4000, generator=generator, dtype=torch.float64) - 0.5
    t = HITS[kind](origin, aim - origin, shape, 0.0)
    point = (origin + t * (aim - origin))[:, t < MISS]
    assert point.shape[1] > 500
    if kind == "frustum":
        assert (point[2].abs() < 1 + 1e-9).all()
        point = point[:, point[2].abs() < 0.999]  # caps are tested separately
    assert implicit(point).abs().max() < 1e-9
    normal = unit(NORMALS[kind](point, shape))
    moved = point.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(implicit(moved).sum(), moved)
    torch.testing.assert_close(normal, unit(gradient))


def test_normal_of_a_cap_is_the_axis():
    assert frustum_normal(vector(0.5, 0.1, 1), form(0.2)).flatten().tolist() == [0, 0, 1]
    assert frustum_normal(vector(0.5, 0.1, -1), form(0.2)).flatten().tolist() == [0, 0, -1]


def test_normal_of_a_flat_sheet_is_the_z_axis():
    assert sheet_normal(vector(0.5, 0.1, 0), form()).flatten().abs().tolist() == [0, 0, 1]


def test_sine_agrees_with_torch():
    turns = torch.linspace(-3, 3, 4001, dtype=torch.float64)
    torch.testing.assert_close(sine(turns), torch.sin(2 * math.pi * turns), rtol=0, atol=2e-7)


def camera(distance: float, half_width: float) -> Camera:
    return Camera(*(vector(*v) for v in ((0, 0, distance), (0, 0, -1), (half_width, 0, 0), (0, half_width, 0))))


def scene_of(kind: str, centre: tuple[float, ...], lengths: tuple[float, ...], shape: Tensor) -> Shapes:
    axes = torch.diag(torch.tensor(lengths, dtype=torch.float64))[..., None, None]
    return shapes((kind,), vector(*centre)[..., None], axes, shape[..., None], torch.ones(1, 1, dtype=torch.bool))


def coverage(scene: Shapes, view: Camera, tile: int = 16) -> Tensor:
    depth, slot = nearest(scene, view, Grid(240, tile))
    assert ((slot == 0) == (depth < MISS)).all()
    return (depth < MISS).double().mean()


def test_silhouette_of_a_sphere_has_the_area_of_its_circle():
    # From a distance D, a unit sphere fills the cone with tangent 1 / sqrt(D² - 1).
    expected = math.pi / (5**2 - 1) / (2 * 0.4) ** 2
    assert coverage(scene_of("ellipsoid", (0, 0, 0), (1, 1, 1), form()), camera(5, 0.4)) == pytest.approx(
        expected, rel=5e-3
    )


def test_silhouette_of_a_flat_ellipsoid_has_the_area_of_its_ellipse():
    # The ellipsoid has almost no thickness, so its silhouette is the ellipse at depth 5.
    expected = math.pi * 1.2 * 0.5 / 5**2 / (2 * 0.4) ** 2
    flat = scene_of("ellipsoid", (0, 0, 0), (1.2, 0.5, 1e-4), form())
    assert coverage(flat, camera(5, 0.4)) == pytest.approx(expected, rel=5e-3)


@pytest.mark.parametrize("kind", HITS)
def test_testing_only_tiles_that_a_box_touches_misses_no_hit(kind):
    shape = {"ellipsoid": form(), "frustum": form(0.5), "sheet": form(-0.6, 0.5, 0.6, 2.5, -2.7)}[kind]
    scene = scene_of(kind, (0.3, 0.4, 0.2), (0.9, 0.7, 1.3), shape)
    assert coverage(scene, camera(4, 0.5), tile=8) == coverage(scene, camera(4, 0.5), tile=240) > 0.01


def test_box_that_reaches_behind_the_eye_is_tested_in_all_tiles():
    assert coverage(scene_of("ellipsoid", (0, 0, 0), (6, 6, 6), form()), camera(5, 0.4)) == 1


def test_nearer_of_two_shapes_is_visible():
    front, back = (scene_of("ellipsoid", (0, 0, z), (1, 1, 1), form()) for z in (1.0, -4.0))
    fields = ("origin", "rows", "corners", "form", "shown")
    join = [torch.cat([getattr(back, name), getattr(front, name)], -1) for name in fields]
    depth, slot = nearest(Shapes(("ellipsoid", "ellipsoid"), *join), camera(5, 0.4), Grid(33, 33))
    assert slot[0, 16, 16] == 1
    assert depth[0, 16, 16] == pytest.approx(3)


def test_shadow_of_a_sphere_below_a_vertical_light_has_the_area_of_its_circle():
    scene = scene_of("ellipsoid", (0, 2, 0), (1, 1, 1), form())
    view = Camera(*(vector(*v) for v in ((0, 9, 0), (0, -1, 0), (0.5, 0, 0), (0, 0, -0.5))))
    grid = Grid(240, 16)
    tiles = grid.all(1)
    points = view.eye[:, :, None, None] + 9 * grid.rays(view, tiles)
    light = vector(0, 1, 0)
    reach = grid.touched(view, swept(scene, light))
    dark = shadowed(scene, points, tiles, (light, light * 0, light * 0), reach, torch.zeros(16))
    assert dark.double().mean().item() == pytest.approx(math.pi / 9**2, rel=5e-3)
