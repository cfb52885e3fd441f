"""One object of a landscape: its position in the order of rendering, its materials and how it is rendered."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from evident.data.render.landscape.canvas import Canvas

SKY, DISTANCE, LAND, FLAT, UPRIGHT = range(5)  # rendered in this order, each layer from far to near


class Key(NamedTuple):
    """Sort items in ascending order to render them."""

    layer: int
    nearness: float


@dataclass(frozen=True)
class Item:
    """Hold an object that `render` draws; it is omitted completely if a material of its `body` is removed."""

    layer: int
    far: float
    body: tuple[str, ...]
    render: Callable[[Canvas], None]

    @property
    def key(self) -> Key:
        return Key(self.layer, -self.far)
