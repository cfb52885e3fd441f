"""One thing in a landscape: where it stands in the order of painting, what it is made of, and how it is painted."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from evident.data.render.landscape.canvas import Canvas

SKY, DISTANCE, LAND, FLAT, UPRIGHT = range(5)  # painted one after the other, within each from far to near


class Key(NamedTuple):
    """Sorted ascending, this is the order of painting."""

    layer: int
    nearness: float


@dataclass(frozen=True)
class Item:
    """Painted by `paint`; it is gone as a whole with any of the materials that are the `body` of it."""

    layer: int
    far: float
    body: tuple[str, ...]
    paint: Callable[[Canvas], None]

    @property
    def key(self) -> Key:
        return Key(self.layer, -self.far)
