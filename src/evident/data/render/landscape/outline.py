"""Outlines in the image: convex polygons, thick lines, rectangles and ellipses, as tests on the samples of a patch."""

from collections.abc import Sequence

import numpy as np

from evident.data.render.landscape.canvas import Bools, Patch
from evident.data.render.landscape.noise import Array

Point = tuple[float, float]


def polygon(patch: Patch, points: Sequence[Point]) -> Bools:
    """Return the inside (h, w) of a convex polygon with corners (u, v) in either direction of rotation."""
    left = right = np.ones((patch.v.size, patch.u.size), bool)
    for (u0, v0), (u1, v1) in zip(points, [*points[1:], points[0]], strict=True):
        cross = (patch.u - np.float32(u0)) * np.float32(v1 - v0) - (patch.v - np.float32(v0)) * np.float32(u1 - u0)
        left, right = left & (cross <= 0), right & (cross >= 0)
    return left | right


def line(patch: Patch, start: Point, end: Point, thick: float) -> Bools:
    """Return the samples (h, w) within `thick` / 2 of the segment from `start` to `end`."""
    (u0, v0), (u1, v1) = start, end
    du, dv = u1 - u0, v1 - v0
    length = max(du * du + dv * dv, 1e-12)
    a, b = patch.u - np.float32(u0), patch.v - np.float32(v0)
    along = np.clip((a * np.float32(du) + b * np.float32(dv)) / np.float32(length), 0, 1)
    return (a - along * np.float32(du)) ** 2 + (b - along * np.float32(dv)) ** 2 < np.float32(thick * thick / 4)


def within(patch: Patch, left: float, top: float, right: float, bottom: float) -> Bools:
    """Return the inside (h, w) of a rectangle."""
    columns = (patch.u >= np.float32(left)) & (patch.u <= np.float32(right))
    return columns & (patch.v >= np.float32(top)) & (patch.v <= np.float32(bottom))


def disc(patch: Patch, u: float, v: float, wide: float, high: float) -> tuple[Bools, Array]:
    """Return the inside (h, w) of an axis-aligned ellipse, and the squared relative distance (h, w) from its centre."""
    out = ((patch.u - np.float32(u)) / np.float32(wide)) ** 2 + ((patch.v - np.float32(v)) / np.float32(high)) ** 2
    return out < 1, out
