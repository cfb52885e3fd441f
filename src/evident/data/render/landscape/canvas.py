"""The canvas: a colour and a material for every sample, rendered from back to front.

A pixel is the mean of SAMPLES x SAMPLES samples, in linear light. It shows an attribute if at least half of its samples
are of a material that has the attribute. So masks contain what is *visible*, and are exact. Positions are u from left
to right and v from top to bottom, both in [0, 1].
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evident.data.render.landscape.attributes import ATTRIBUTES, HAS_ATTRIBUTE, IDS
from evident.data.render.landscape.noise import Array

SAMPLES = 2
Bools = NDArray[np.bool_]


def rgb(red: float, green: float, blue: float) -> Array:
    """Return the linear light (3, 1, 1) of a displayed colour; a display shows the square root of linear light."""
    shown = np.array([red, green, blue], np.float32)[:, None, None]
    return shown * shown


class Canvas:
    """Hold colours (3, S, S), materials (S, S) and the indirect light (S, S) of S = size x SAMPLES samples a side.

    `indirect` marks samples whose light depends on other places. Filling with a material in `gone` has no effect.
    """

    def __init__(self, size: int, gone: frozenset[str] = frozenset()) -> None:
        self.size, self.side, self.gone = size, size * SAMPLES, gone
        self.colour = np.zeros((3, self.side, self.side), np.float32)
        self.material = np.zeros((self.side, self.side), np.uint8)
        self.indirect = np.zeros((self.side, self.side), bool)
        self.places = (np.arange(self.side, dtype=np.float32) + np.float32(0.5)) / np.float32(self.side)

    def patch(self, left: float = 0, top: float = 0, right: float = 1, bottom: float = 1) -> "Patch | None":
        """Return the samples in a rectangle, or None if it lies outside the image."""
        edges = [min(max(int(edge * self.side), 0), self.side) for edge in (left, top, right + 1 / self.side, bottom)]
        rows, columns = slice(edges[1], edges[3] + 1), slice(edges[0], edges[2])
        u, v = self.places[None, columns], self.places[rows, None]
        return Patch(self, rows, columns, u, v) if u.size and v.size else None

    def whole(self) -> "Patch":
        """Return all samples."""
        return Patch(self, slice(None), slice(None), self.places[None], self.places[:, None])

    def image(self) -> NDArray[np.uint8]:
        """Return the image, uint8 (3, size, size)."""
        light = boxes(self.colour) / np.float32(SAMPLES**2)
        light = light * (np.float32(1.15) / (1 + np.float32(0.15) * light))  # bright places saturate softly
        return (np.sqrt(np.clip(light, 0, 1)) * 255 + np.float32(0.5)).astype(np.uint8)

    def masks(self, horizon: Bools) -> Bools:
        """Return where each attribute is visible, bool (K, size, size); `horizon` (S, S) are the horizon's samples."""
        material = self.material.astype(np.intp)
        shown = [of.take(material) for of in HAS_ATTRIBUTE.T]
        shown[ATTRIBUTES.index("horizon")] = horizon
        return np.stack([boxes(samples.astype(np.uint8)) * 2 >= SAMPLES**2 for samples in shown])


def boxes(samples: NDArray) -> NDArray:
    """Return sums (..., S / SAMPLES, S / SAMPLES) over the samples of each pixel, added in a fixed order."""
    parts = [samples[..., i::SAMPLES, j::SAMPLES] for i in range(SAMPLES) for j in range(SAMPLES)]
    total = parts[0].copy()
    for part in parts[1:]:
        total += part
    return total


@dataclass(frozen=True)
class Patch:
    """Give access to a rectangle of samples and their positions u (1, w) and v (h, 1)."""

    canvas: Canvas
    rows: slice
    columns: slice
    u: Array
    v: Array

    @property
    def colour(self) -> Array:
        """The colours (3, h, w), a view that can be changed."""
        return self.canvas.colour[:, self.rows, self.columns]

    def shows(self, *materials: str) -> Bools:
        """Return where (h, w) one of the materials is visible."""
        return np.isin(self.canvas.material[self.rows, self.columns], [IDS[name] for name in materials])

    def fill(self, where: Bools, colour: Array, material: str) -> None:
        """Fill the samples `where` (h, w) with `material`, opaque, in a colour (3, h, w) or (3, 1, 1)."""
        if material not in self.canvas.gone:
            np.copyto(self.colour, colour, where=where)
            np.copyto(self.canvas.material[self.rows, self.columns], np.uint8(IDS[material]), where=where)
            np.copyto(self.canvas.indirect[self.rows, self.columns], False, where=where)

    def tint(self, strength: Array, colour: Array) -> None:
        """Blend a colour over the present one, by a strength (h, w) in [0, 1]."""
        view = self.colour
        view += strength * (colour - view)

    def shade(self, strength: Array) -> None:
        """Remove a share (h, w) of the light, for the shadow of an object elsewhere."""
        self.colour[...] *= 1 - strength
        self.canvas.indirect[self.rows, self.columns] |= strength > 0
