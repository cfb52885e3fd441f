"""Named random streams, and smooth noise in one and two dimensions.

Value noise: random numbers on a periodic lattice, interpolated by a smooth step. It uses only operations that IEEE 754
rounds exactly, so that an image has the same bits on any machine; `numpy.sin` or powers may differ between machines.
"""

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]  # float32 on pixels
CELLS = 32  # period of the lattice; must be a power of two
SHIFT = (7.31, 11.87)  # between octaves, whose lattices would otherwise share their origin


def stream(*name: object) -> np.random.Generator:
    """Return a random generator that depends only on the name."""
    key = np.frombuffer(hashlib.sha256("/".join(map(str, name)).encode()).digest()[:16], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Return a number that is uniform from `low` to `high`."""
    return low + (high - low) * float(rng.random())


def smooth(x: Array) -> Array:
    """Return a smooth step from 0 (x <= 0) to 1 (x >= 1)."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def step(x: Array, low: float, high: float) -> Array:
    """Return a smooth step from 0 at `low` to 1 at `high`, which may be smaller than `low`."""
    return smooth((x - low) / (high - low))


def _step(x: Array) -> Array:
    """Return `smooth` of numbers in [0, 1]."""
    return x * x * (3 - 2 * x)


def wave(x: Array) -> Array:
    """Return a smooth wave in [0, 1] with period one, zero at whole numbers."""
    return smooth(2 * np.abs(x - np.floor(x + 0.5)))


class Noise:
    """Compute smooth noise in [-1, 1] over the plane, with period `CELLS`."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.lattice = (2 * rng.random((CELLS, CELLS)) - 1).astype(np.float32)

    def at(self, x: Array, y: Array) -> Array:
        """Return the noise at points (x, y), arrays that broadcast."""
        column, row = np.floor(x), np.floor(y)
        right, down = _step(x - column), _step(y - row)
        left, top = column.astype(np.intp) & (CELLS - 1), row.astype(np.intp) & (CELLS - 1)
        beside, below = (left + 1) & (CELLS - 1), ((top + 1) & (CELLS - 1)) * CELLS
        top *= CELLS
        flat = self.lattice.reshape(-1)
        a, b, c, d = (flat.take(line + place) for line in (top, below) for place in (left, beside))
        b -= a
        d -= c
        b *= right
        d *= right
        a += b
        c += d
        c -= a
        c *= down
        return a + c

    def over(self, x: Array, y: Array) -> Array:
        """Return the noise (h, w) on the grid of columns x (w,) and rows y (h,), faster than by `at`."""
        column, row = np.floor(x), np.floor(y)
        right, down = _step(x - column), _step(y - row)[:, None]
        left, top = column.astype(np.intp) & (CELLS - 1), row.astype(np.intp) & (CELLS - 1)
        here, beside = self.lattice.take(left, 1), self.lattice.take((left + 1) & (CELLS - 1), 1)
        lines = here + right * (beside - here)
        upper, lower = lines.take(top, 0), lines.take((top + 1) & (CELLS - 1), 0)
        return upper + down * (lower - upper)

    def fractal(self, x: Array, y: Array, octaves: int, gain: float = 0.5) -> Array:
        """Return a sum of octaves at points (x, y), in [-1, 1].

        Each octave has twice the frequency and `gain` times the amplitude of the one before.
        """
        return _octaves(self.at, x, y, octaves, gain)

    def fractal_over(self, x: Array, y: Array, octaves: int, gain: float = 0.5) -> Array:
        """Return `fractal` on a grid, as `over` does."""
        return _octaves(self.over, x, y, octaves, gain)

    def line(self, x: Array, octaves: int, gain: float = 0.5, ridged: bool = False) -> Array:
        """Return a profile in [-1, 1] along x (w,); a ridged profile has sharp crests."""
        total, weight, strength = np.zeros_like(x), 0.0, 1.0
        for octave in range(octaves):
            layer = self.over(x * np.float32(2**octave), np.full(1, octave * SHIFT[0], np.float32))[0]
            total += strength * ((1 - 2 * np.abs(layer)) if ridged else layer)
            weight, strength = weight + strength, strength * gain
        return total / np.float32(weight)


def _octaves(noise: Callable[[Array, Array], Array], x: Array, y: Array, octaves: int, gain: float) -> Array:
    total, weight, strength = np.zeros(1, np.float32), 0.0, 1.0
    for octave in range(octaves):
        scale = np.float32(2**octave)
        shifted = x * scale + np.float32(octave * SHIFT[0]), y * scale + np.float32(octave * SHIFT[1])
        total = total + np.float32(strength) * noise(*shifted)
        weight, strength = weight + strength, strength * gain
    return total / np.float32(weight)
