"""Trees, woods and flowers."""

import numpy as np

from evident.data.render.landscape.canvas import Canvas, rgb
from evident.data.render.landscape.item import FLAT, UPRIGHT, Item
from evident.data.render.landscape.noise import Array, Noise, between, stream
from evident.data.render.landscape.shadow import shadow
from evident.data.render.landscape.shapes import Meadow
from evident.data.render.landscape.view import View

PETALS = (
    rgb(0.93, 0.25, 0.25),
    rgb(0.97, 0.85, 0.2),
    rgb(0.75, 0.35, 0.85),
    rgb(0.97, 0.96, 0.95),
    rgb(0.95, 0.5, 0.7),
)


def greens(rng: np.random.Generator, conifers: bool) -> Array:
    """Return a colour of leaves or needles; leaves have autumn colours in 15 % of cases."""
    if conifers:
        return rgb(between(rng, 0.16, 0.26), between(rng, 0.3, 0.38), between(rng, 0.2, 0.26))
    if rng.random() < 0.15:
        return rgb(between(rng, 0.6, 0.75), between(rng, 0.4, 0.5), 0.18)
    return rgb(between(rng, 0.25, 0.38), between(rng, 0.4, 0.5), between(rng, 0.14, 0.22))


def tree(view: View, x: float, z: float, tall: float, conifer: bool, colour: Array, noise: Noise, seed: float) -> Item:
    """Return a conifer with tiers or a round tree on a trunk; `seed` selects a position in the noise."""
    base, one = view.row(z), 1 / z
    middle, high = view.column(x, z), tall / z
    wide = high * (0.24 if conifer else 0.42)
    trunk = 0.07 if conifer else 0.24

    def render(canvas: Canvas) -> None:
        shadow(view, canvas, middle, base, wide * 0.9, one)
        patch = canvas.patch(middle - 1.35 * wide, base - 1.05 * high, middle + 1.35 * wide, base)
        if patch is None:
            return
        a = (patch.u - np.float32(middle)) / np.float32(wide)
        b = (np.float32(base) - patch.v) / np.float32(high)
        shift = np.float32(seed)
        stem = (np.abs(a) < np.float32(0.07 if conifer else 0.085)) & (b > 0) & (b < np.float32(0.45))
        dark = 1 + np.float32(0.4 if view.side > 0 else -0.4) * np.clip(a * 8, -1, 1)
        patch.fill(stem, view.lit(rgb(0.34, 0.26, 0.2) * dark, 0.5, z), "tree")
        rough = noise.fractal_over(a[0] * np.float32(3.2) + shift, b[:, 0] * np.float32(5.2) + shift, 4, 0.8)
        up = (b - np.float32(trunk)) / np.float32(1 - trunk)
        if conifer:
            tier = up * np.float32(7)
            jag = np.float32(0.72) + np.float32(0.4) * (1 - (tier - np.floor(tier)))
            edge = np.abs(a) - (1 - up) * jag * np.float32(0.95) + rough * np.float32(0.22)
            lit = np.float32(0.45) + a * np.float32(0.5 * view.side) + rough * np.float32(0.8)
            lit = lit + np.float32(0.25) * ((tier - np.floor(tier)) - np.float32(0.5))
        else:
            c = (up - np.float32(0.5)) * 2
            edge = a * a + c * c - 1 + rough * np.float32(0.75)
            lit = np.float32(0.5) + (a * np.float32(0.38 * view.side) + c * np.float32(0.3)) + rough * np.float32(1.1)
        where = (edge < 0) & (up > 0) & (up < np.float32(1.05))
        patch.fill(where, view.lit(colour * (1 + rough * np.float32(0.35)), np.clip(lit, 0.03, 1.1), z), "tree")

    return Item(UPRIGHT, z, ("tree",), render)


def wood(view: View, z: float, tall: float, conifer: bool, left: float, right: float, *name: object) -> list[Item]:
    """Return a wood seen from outside: three rows of crowns between two columns of the image."""
    rng = stream(*name, "wood")
    colour = greens(rng, conifer)
    return [_row(view, z * (1.3, 1.14, 1.0)[k], tall, conifer, left, right, colour, Noise(rng)) for k in range(3)]


def _row(
    view: View, z: float, tall: float, conifer: bool, left: float, right: float, colour: Array, noise: Noise
) -> Item:
    base, high = view.row(z), tall / z
    crown = high * (0.36 if conifer else 0.75)

    def render(canvas: Canvas) -> None:
        patch = canvas.patch(left, base - 1.35 * high, right, base)
        if patch is None:
            return
        place = patch.u / np.float32(crown)
        number = np.floor(place)
        off = np.abs(place - number - np.float32(0.5)) * 2
        size = np.float32(1) + np.float32(0.3) * noise.at(number * np.float32(0.37) + 5, number * np.float32(0.71))
        ends = np.minimum(patch.u - np.float32(left), np.float32(right) - patch.u) / np.float32(1.5 * high)
        size = size * np.sqrt(np.clip(ends, 0, 1))
        b = (np.float32(base) - patch.v) / np.float32(high)
        scale = np.float32(1 / crown)
        rough = noise.fractal_over(patch.u[0] * scale * 2, patch.v[:, 0] * scale * np.float32(2.2), 3, 0.75)
        profile = size * (
            (1 - off * np.float32(0.75)) if conifer else (np.float32(0.55) + np.float32(0.4) * np.sqrt(1 - off * off))
        )
        where = (b < profile + rough * np.float32(0.16)) & (b > 0) & (size > np.float32(0.1))
        up = np.clip(b / np.maximum(size, np.float32(0.1)), 0, 1)
        side = (place - number - np.float32(0.5)) * np.float32(0.5 * view.side)
        lit = np.clip(np.float32(0.12) + up * np.float32(0.5) + side + rough * np.float32(0.55), 0.02, 1)
        patch.fill(where, view.lit(colour * (1 + rough * np.float32(0.35)), lit, z), "tree")

    return Item(UPRIGHT, z, ("tree",), render)


def flowers(view: View, meadow: Meadow, *name: object) -> Item:
    """Return patches of blossoms in one or two colours; each near blossom is a dot."""
    rng = stream(*name, "flowers")
    noise = Noise(rng)
    first, second = (PETALS[int(rng.random() * len(PETALS))] for _ in range(2))

    def render(canvas: Canvas) -> None:
        patch = canvas.patch(top=view.horizon)
        assert patch is not None
        x, z = view.ground(patch)
        inside = meadow(x, z) & patch.shows("grass", "dry_grass", "soil", "sand")
        # Blossoms are on two lattices, which are coarser at a distance, each at random and shifted within its cell.
        coarse = z * np.float32(0.07)
        cell = np.float32(0.17) * (1 + sum((coarse > limit) * np.float32(limit) for limit in (1, 2, 4, 8)))
        thick = noise.at(x / np.float32(1.4), z / np.float32(2.1)) * np.float32(0.12)
        for k in (0, 9):
            a, b = x / cell + np.float32(0.41 * k), z / (cell * np.float32(1.7)) + np.float32(0.23 * k)
            column, row = np.floor(a), np.floor(b)
            aside, along, chance = (noise.at(column + d + k, row + 3 * d) * np.float32(0.28) for d in (0, 5, 11))
            out = (a - column - np.float32(0.5) - aside) ** 2 + (b - row - np.float32(0.5) - along) ** 2
            blossom = inside & (out < np.float32(0.08) + chance * np.float32(0.3) + thick)
            mixed = np.where(aside + along > 0, first, second)
            patch.fill(blossom, view.lit(mixed * (1 - out), 0.9, z), "flower")

    return Item(FLAT, 6000, ("flower",), render)
