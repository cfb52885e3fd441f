"""The canvas: a colour and a material for every sample, painted from the back to the front.

A pixel is the mean of SAMPLES x SAMPLES samples, in linear light. It shows an attribute where at least half of its
samples are of a material that bears it; so masks are what is *visible*, and exact. Places are u from left to right
and v from top to bottom, both in [0, 1].
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evident.data.render.landscape.attributes import ATTRIBUTES, BEARS, IDS
from evident.data.render.landscape.noise import Array

SAMPLES = 2
Bools = NDArray[np.bool_]


def rgb(red: float, green: float, blue: float) -> Array:
    """Linear light (3, 1, 1) of a colour as it is displayed; display is the square root."""
    shown = np.array([red, green, blue], np.float32)[:, None, None]
    return shown * shown


class Canvas:
    """Colours (3, S, S), materials (S, S) and where light from elsewhere falls, of S = size x SAMPLES samples a side.

    What is filled with one of the `gone` materials stays as it is.
    """

    def __init__(self, size: int, gone: frozenset[str] = frozenset()) -> None:
        self.size, self.side, self.gone = size, size * SAMPLES, gone
        self.colour = np.zeros((3, self.side, self.side), np.float32)
        self.material = np.zeros((self.side, self.side), np.uint8)
        self.indirect = np.zeros((self.side, self.side), bool)
        self.places = (np.arange(self.side, dtype=np.float32) + np.float32(0.5)) / np.float32(self.side)

    def patch(self, left: float = 0, top: float = 0, right: float = 1, bottom: float = 1) -> "Patch | None":
        """The samples in a rectangle, or none where it lies outside."""
        edges = [min(max(int(edge * self.side), 0), self.side) for edge in (left, top, right + 1 / self.side, bottom)]
        rows, columns = slice(edges[1], edges[3] + 1), slice(edges[0], edges[2])
        u, v = self.places[None, columns], self.places[rows, None]
        return Patch(self, rows, columns, u, v) if u.size and v.size else None

    def whole(self) -> "Patch":
        """All samples."""
        return Patch(self, slice(None), slice(None), self.places[None], self.places[:, None])

    def image(self) -> NDArray[np.uint8]:
        """The picture, uint8 (3, size, size)."""
        light = boxes(self.colour) / np.float32(SAMPLES**2)
        light = light * (np.float32(1.15) / (1 + np.float32(0.15) * light))  # bright places saturate softly
        return (np.sqrt(np.clip(light, 0, 1)) * 255 + np.float32(0.5)).astype(np.uint8)

    def masks(self, horizon: Bools) -> Bools:
        """What is visible of each attribute, bool (K, size, size); `horizon` (S, S) marks the samples of that one."""
        material = self.material.astype(np.intp)
        borne = [of.take(material) for of in BEARS.T]
        borne[ATTRIBUTES.index("horizon")] = horizon
        return np.stack([boxes(samples.astype(np.uint8)) * 2 >= SAMPLES**2 for samples in borne])


def boxes(samples: NDArray) -> NDArray:
    """Sums (..., S / SAMPLES, S / SAMPLES) over the samples of each pixel, added in a fixed order."""
    parts = [samples[..., i::SAMPLES, j::SAMPLES] for i in range(SAMPLES) for j in range(SAMPLES)]
    total = parts[0].copy()
    for part in parts[1:]:
        total += part
    return total


@dataclass(frozen=True)
class Patch:
    """A rectangle of samples, with their places u (1, w) and v (h, 1)."""

    canvas: Canvas
    rows: slice
    columns: slice
    u: Array
    v: Array

    @property
    def colour(self) -> Array:
        """Its colours (3, h, w), to be looked at or changed."""
        return self.canvas.colour[:, self.rows, self.columns]

    def shows(self, *materials: str) -> Bools:
        """Where (h, w) one of the materials is to be seen."""
        return np.isin(self.canvas.material[self.rows, self.columns], [IDS[name] for name in materials])

    def fill(self, where: Bools, colour: Array, material: str) -> None:
        """Paint the samples `where` (h, w), opaque, in a colour (3, h, w) or (3, 1, 1)."""
        if material not in self.canvas.gone:
            np.copyto(self.colour, colour, where=where)
            np.copyto(self.canvas.material[self.rows, self.columns], np.uint8(IDS[material]), where=where)
            np.copyto(self.canvas.indirect[self.rows, self.columns], False, where=where)

    def tint(self, strength: Array, colour: Array) -> None:
        """Blend a colour over what is there, by a strength (h, w) in [0, 1]."""
        view = self.colour
        view += strength * (colour - view)

    def shade(self, strength: Array) -> None:
        """Take away a share (h, w) of the light: the shadow of what stands elsewhere."""
        self.colour[...] *= 1 - strength
        self.canvas.indirect[self.rows, self.columns] |= strength > 0
