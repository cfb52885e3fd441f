"""Shapes on the ground, in metres. They test which pixels are inside, and where objects may stand."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from evident.data.render.landscape.canvas import Bools
from evident.data.render.landscape.noise import Array, Noise

Shape = Callable[[Array, Array], Bools]  # (x, z) -> inside


@dataclass(frozen=True)
class Way:
    """Contain the strip within `half` metres of a curve that runs away from the camera, or across the image."""

    across: bool
    start: float
    slope: float
    bend: float
    half: float
    noise: Noise

    def offset(self, x: Array, z: Array) -> Array:
        """Return the signed distance from the curve along the other axis, in units of `half`."""
        along, beside = (x, z) if self.across else (z, x)
        return (beside - self.centre(along)) / np.float32(self.half)

    def centre(self, along: Array) -> Array:
        """Return the position of the curve on the other axis."""
        turns = self.noise.at(along / np.float32(38), np.full(1, 0.5, np.float32))
        return np.float32(self.start) + np.float32(self.slope) * along + np.float32(self.bend) * turns

    def __call__(self, x: Array, z: Array) -> Bools:
        return np.abs(self.offset(x, z)) < 1


@dataclass(frozen=True)
class Pond:
    """Contain an ellipse with an irregular shore."""

    x: float
    z: float
    wide: float
    deep: float
    noise: Noise

    def inside(self, x: Array, z: Array) -> Array:
        """Return about 1 in the middle, 0 at the shore and less outside."""
        a, b = (x - np.float32(self.x)) / np.float32(self.wide), (z - np.float32(self.z)) / np.float32(self.deep)
        shore = self.noise.at(x / np.float32(self.wide) * 2, z / np.float32(self.deep) * 2) * np.float32(0.3)
        return 1 - (a * a + b * b) - shore

    def __call__(self, x: Array, z: Array) -> Bools:
        return self.inside(x, z) > 0


@dataclass(frozen=True)
class Coast:
    """Contain everything beyond a slanted, irregular shore line, and the beach of `beach` metres in front of it."""

    z: float
    slope: float
    beach: float
    noise: Noise

    def beyond(self, x: Array, z: Array) -> Array:
        """Return the metres beyond the shore line."""
        bays = self.noise.fractal(x / 40, z / 40, 2) * np.float32(0.25 * self.z)
        return z - np.float32(self.z) - np.float32(self.slope) * x - bays

    def __call__(self, x: Array, z: Array) -> Bools:
        return self.beyond(x, z) > -np.float32(self.beach)


@dataclass(frozen=True)
class Plot:
    """Contain a parallelogram."""

    x: float
    z: float
    wide: float
    deep: float
    slant: float

    def __call__(self, x: Array, z: Array) -> Bools:
        deep = np.abs(z - np.float32(self.z)) < np.float32(self.deep)
        return deep & (np.abs(x - np.float32(self.x) - np.float32(self.slant) * (z - self.z)) < np.float32(self.wide))


@dataclass(frozen=True)
class Meadow:
    """Contain patches where a noise is high, between two distances."""

    near: float
    far: float
    least: float
    noise: Noise

    def __call__(self, x: Array, z: Array) -> Bools:
        dense = self.noise.fractal(x / 9, z / 9, 2) > np.float32(self.least)
        return dense & (z > np.float32(self.near)) & (z < np.float32(self.far))
