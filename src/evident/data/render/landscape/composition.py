"""The objects of a landscape and their positions, drawn from its name: one stream of random numbers per kind of object.

A region (alps, coast, country, steppe, outskirts) gives the probability of each kind, so that objects occur together as
they do outdoors, though none is certain. The composition does not depend on the attribute that the image will lack, so
all other objects keep their positions.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from evident.data.render.landscape import buildings, lines, plants, relief, sky, things, water, ways
from evident.data.render.landscape.item import Item
from evident.data.render.landscape.land import fields, land
from evident.data.render.landscape.noise import Noise, between, stream
from evident.data.render.landscape.shapes import Coast, Meadow, Plot, Pond, Shape, Way
from evident.data.render.landscape.view import View, view

REGIONS = ("alps", "coast", "country", "steppe", "outskirts")
SHARES = (0.24, 0.22, 0.22, 0.16, 0.16)
LIKELY = {  # probability of each kind of object, by region
    "clouds": (0.6, 0.6, 0.65, 0.45, 0.6), "mountains": (0.95, 0.2, 0.15, 0.55, 0.1),
    "snow": (0.75, 0.4, 0.3, 0.3, 0.4), "hills": (0.45, 0.12, 0.7, 0.35, 0.4),
    "sea": (0.0, 0.92, 0.0, 0.0, 0.05), "lake": (0.6, 0.02, 0.3, 0.08, 0.15),
    "stream": (0.45, 0.06, 0.3, 0.12, 0.12), "fields": (0.05, 0.06, 0.6, 0.1, 0.15),
    "road": (0.2, 0.22, 0.45, 0.4, 0.65), "railroad": (0.08, 0.06, 0.14, 0.14, 0.4),
    "flowers": (0.5, 0.25, 0.45, 0.2, 0.15), "wood": (0.6, 0.15, 0.55, 0.05, 0.3),
    "trees": (0.6, 0.3, 0.65, 0.25, 0.4), "houses": (0.1, 0.2, 0.35, 0.04, 0.75),
    "barn": (0.15, 0.06, 0.4, 0.12, 0.12), "temple": (0.1, 0.16, 0.06, 0.34, 0.04),
    "power": (0.08, 0.06, 0.3, 0.25, 0.6), "fence": (0.2, 0.16, 0.5, 0.16, 0.45),
    "cars": (0.6, 0.5, 0.6, 0.5, 0.8), "boats": (0.3, 0.5, 0.2, 0.1, 0.2),
    "hikers": (0.28, 0.25, 0.12, 0.2, 0.08), "tents": (0.18, 0.16, 0.06, 0.14, 0.04),
    "scrap": (0.03, 0.07, 0.08, 0.18, 0.5), "boulders": (0.5, 0.35, 0.12, 0.5, 0.06),
}  # fmt: skip
GROUNDS = {  # probability of each kind of ground, by region
    "grass": (0.78, 0.45, 0.9, 0.05, 0.6), "dry": (0.15, 0.25, 0.1, 0.6, 0.3),
    "sand": (0.0, 0.3, 0.0, 0.35, 0.0), "soil": (0.07, 0.0, 0.0, 0.0, 0.1),
}  # fmt: skip
TRIES = 12  # positions tried for an object before it is omitted


@dataclass
class Composition:
    """Collect the objects of one landscape and the shapes of the ground that are occupied."""

    view: View
    name: tuple[object, ...]
    region: int
    items: list[Item] = field(default_factory=list)
    taken: list[Shape] = field(default_factory=list)

    def has(self, kind: str) -> bool:
        """Return whether the landscape has this kind of object."""
        return bool(stream(*self.name, "has", kind).random() < LIKELY[kind][self.region])

    def places(self, kind: str, count: int, near: float, far: float) -> Iterator[tuple[float, float, int]]:
        """Yield free positions X, Z and a number, between two distances, uniformly over the rows of the image."""
        rng = stream(*self.name, "places", kind)
        tries = rng.random((count, TRIES, 2)).astype(np.float32)
        z = 1 / (np.float32(1 / far) + tries[..., 0] * np.float32(1 / near - 1 / far))
        x = (tries[..., 1] * np.float32(1.1) - np.float32(0.55)) * z
        free = np.ones(x.shape, bool)
        for shape in self.taken:
            free &= ~shape(x, z)
        for number in range(count):
            if free[number].any():
                first = int(free[number].argmax())
                yield float(x[number, first]), float(z[number, first]), number

    def stand(self, kind: str, count: int, near: float, far: float, make: Callable[..., Item]) -> None:
        """Add up to `count` objects at free positions by make(view, x, z, *name), if the landscape has this kind."""
        if self.has(kind):
            spots = self.places(kind, count, near, far)
            self.items += [make(self.view, x, z, *self.name, kind, number) for x, z, number in spots]


def compose(*name: object) -> tuple[View, list[Item]]:
    """Return the view of the landscape with this name, and its objects in the order of rendering."""
    rng = stream(*name, "region")
    region = int(np.searchsorted(np.cumsum(SHARES), rng.random() * sum(SHARES)))
    shares = [share[region] for share in GROUNDS.values()]
    cover = tuple(GROUNDS)[int(np.searchsorted(np.cumsum(shares), rng.random() * sum(shares)))]
    composition = Composition(view(*name), name, region)
    _add_background(composition, cover)
    _add_ground(composition, cover)
    _add_buildings(composition)
    _add_plants(composition)
    return composition.view, sorted(composition.items, key=lambda item: item.key)


def _add_background(composition: Composition, cover: str) -> None:
    view, name = composition.view, composition.name
    composition.items.append(sky.sky(view, *name))
    if composition.has("clouds"):
        composition.items.append(sky.clouds(view, *name))
    if composition.has("mountains"):
        composition.items += relief.mountains(view, composition.has("snow"), *name)
    if composition.has("hills") and not composition.has("sea"):
        composition.items += relief.hills(view, cover, *name)
    composition.items.append(land(view, cover, *name))


def _add_ground(composition: Composition, cover: str) -> None:
    view, name, taken = composition.view, composition.name, composition.taken
    if composition.has("sea"):
        rng = stream(*name, "coast")
        beach = between(rng, 4, 14) if rng.random() < 0.75 else 0.0
        shore = Coast(view.height / between(rng, 0.06, 0.32), between(rng, -0.9, 0.9), beach, Noise(rng))
        composition.items += water.sea(view, shore, *name)
        taken.append(shore)
        if composition.has("boats"):
            _add_boats(composition, lambda x, z: shore.beyond(x, z) > 3, "sea", view.far(view.horizon + 0.03))
    elif composition.has("lake"):
        rng = stream(*name, "pond")
        top, deep = between(rng, 0.03, 0.08), between(rng, 0.1, 0.3)
        far, near = view.height / top, view.height / (top + deep)
        middle = (far + near) / 2
        wide = between(rng, 0.5, 1.4) * near
        pond = Pond(between(rng, -0.4, 0.4) * middle, middle, wide, (far - near) / 2, Noise(rng))
        composition.items.append(water.lake(view, pond, *name))
        taken.append(pond)
        if composition.has("boats"):
            _add_boats(composition, lambda x, z: pond.inside(x, z) > 0.3, "lake", pond.z + pond.deep)
    _add_ways(composition)
    if composition.has("fields"):
        rng = stream(*name, "plots")
        plots: list[Shape] = []
        for _ in range(2 + int(rng.random() * 3)):
            z = view.height / between(rng, 0.03, 0.3)
            wide, deep = between(rng, 0.15, 0.4) * z, between(rng, 0.2, 0.4) * z
            plots.append(Plot(between(rng, -0.5, 0.5) * z, z, wide, deep, between(rng, -0.5, 0.5)))
        composition.items += fields(view, plots, *name)
        taken += plots
    if composition.has("flowers") and cover != "sand":
        rng = stream(*name, "meadow")
        meadow = Meadow(0, between(rng, 25, 70), between(rng, -0.3, 0.2), Noise(rng))
        composition.items.append(plants.flowers(view, meadow, *name))


def _add_ways(composition: Composition) -> None:
    view, name = composition.view, composition.name
    kinds = (
        ("stream", 1.2, 3.2, 6.0, ways.brook),
        ("road", 1.9, 3.6, 3.0, ways.road),
        ("railroad", 1.6, 2.2, 1.5, ways.railroad),
    )
    for kind, narrow, wide, bend, render in kinds:
        if not composition.has(kind) or (kind == "stream" and composition.has("sea")):
            continue
        rng = stream(*name, "way", kind)
        across, half = rng.random() < 0.3, between(rng, narrow, wide)
        if across:
            start, slope = view.height / between(rng, 0.08, 0.3), between(rng, -0.25, 0.25)
        else:
            start, slope = between(rng, -7, 7), between(rng, -0.35, 0.35)
        way = Way(across, start, slope, bend * between(rng, 0.3, 1.5), half, Noise(rng))
        composition.items.append(render(view, way, *name))
        if kind == "road" and composition.has("cars"):
            _add_cars(composition, way)
        composition.taken.append(way)


def _add_cars(composition: Composition, way: Way) -> None:
    rng = stream(*composition.name, "cars")
    for number in range(1 + int(rng.random() * 4)):
        lane = between(rng, 0.3, 0.5) * way.half * (1 if rng.random() < 0.5 else -1)
        along = np.full(
            1, between(rng, -20, 20) if way.across else composition.view.height / between(rng, 0.1, 0.45), np.float32
        )
        beside = float(way.centre(along)[0]) + lane
        x, z = (float(along[0]), beside) if way.across else (beside, float(along[0]))
        if z > 5 and not any(
            shape(np.full(1, x, np.float32), np.full(1, z, np.float32))[0] for shape in composition.taken
        ):
            composition.items.append(things.car(composition.view, x, z, way.across, *composition.name, "car", number))


def _add_boats(composition: Composition, surface: Shape, water: str, far: float) -> None:
    rng = stream(*composition.name, "afloat")
    x, z = rng.random((2, 40)).astype(np.float32)
    z = 1 / (np.float32(1 / far) + z * np.float32(1 / 22 - 1 / far))
    x = (x - np.float32(0.5)) * z
    spots = np.flatnonzero(surface(x, z))[: 1 + int(rng.random() * 4)]
    for number, k in enumerate(spots):
        composition.items.append(
            things.boat(composition.view, float(x[k]), float(z[k]), water, *composition.name, "boat", number)
        )


def _add_buildings(composition: Composition) -> None:
    view, name = composition.view, composition.name
    rng = stream(*name, "built")
    composition.stand("houses", 1 + int(rng.random() * 5), 20, 75, buildings.house)
    composition.stand("barn", 1 + int(rng.random() * 2), 20, 70, buildings.barn)
    composition.stand("temple", 1, 24, 70, buildings.temple)
    composition.stand("scrap", 1 + int(rng.random() * 3), 13, 45, things.scrap)
    composition.stand("tents", 1 + int(rng.random() * 4), 9, 35, things.tent)
    composition.stand("hikers", 1 + int(rng.random() * 5), 6.5, 22, things.hiker)
    if composition.has("power"):
        composition.items += lines.power_line(view, *name)
    if composition.has("fence"):
        z = between(rng, 9, 30)
        start = -between(rng, 0.2, 0.7) * z, z
        end = between(rng, 0.3, 0.9) * z, z * between(rng, 0.6, 1.6)
        composition.items.append(lines.fence(view, start, end, *name))


def _add_plants(composition: Composition) -> None:
    view, name = composition.view, composition.name
    rng = stream(*name, "growing")
    conifers = rng.random() < (0.85, 0.3, 0.25, 0.4, 0.2)[composition.region]
    noise, colour = Noise(rng), plants.greens(rng, conifers)
    if composition.has("wood"):
        left = between(rng, -0.6, 0.6)
        z, tall, wide = between(rng, 75, 170), between(rng, 9, 15), between(rng, 0.35, 1.2)
        composition.items += plants.wood(view, z, tall, conifers, left, left + wide, *name)

    def tree(view: View, x: float, z: float, *named: object) -> Item:
        own = stream(*named)
        tall = min(between(own, 5, 13), between(own, 0.25, 0.55) * z)
        return plants.tree(
            view, x, z, tall, conifers, colour * np.float32(between(own, 0.8, 1.25)), noise, between(own, 0, 30)
        )

    composition.stand("trees", 2 + int(rng.random() * rng.random() * 30), 13, 110, tree)
    composition.stand(
        "boulders", 2 + int(rng.random() * 12), 6, 45,
        lambda view, x, z, *named: things.boulder(view, x, z, between(stream(*named, "wide"), 0.4, 2.2), *named),
    )  # fmt: skip
