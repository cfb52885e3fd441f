"""Brick houses with shingles, wooden barns and temples, seen at a corner with the gable on one side."""

import numpy as np

from evident.data.render.landscape.canvas import Canvas, Patch, rgb
from evident.data.render.landscape.item import UPRIGHT, Item
from evident.data.render.landscape.noise import Array, Noise, between, stream
from evident.data.render.landscape.outline import Point, polygon, within
from evident.data.render.landscape.shadow import shadow
from evident.data.render.landscape.view import View


class Block:
    """Compute the faces of a block with a gable roof as polygons in the image.

    The gable is `gable` metres wide and the wall `long` metres, on the left (turned = -1) or right (turned = 1).
    """

    def __init__(self, view: View, x: float, z: float, gable: float, long: float, eaves: float, turned: int) -> None:
        one = 1 / z
        corner = (view.column(x, z), view.row(z))
        rise = 0.35 * (view.height / z) * one  # the far corners are higher in the image

        def beside(metres: float, sense: int, up: float) -> Point:
            return corner[0] + sense * metres * one, corner[1] - up * one - rise * metres

        self.one, self.corner, self.turned = one, corner, turned
        self.ridge = eaves + 0.42 * gable
        far = turned * long * 0.9 * one, -rise * long
        top = beside(gable / 2, -turned, self.ridge)
        self.gable = [corner, beside(gable, -turned, 0), beside(gable, -turned, eaves), top, beside(0, 1, eaves)]
        self.wall = [corner, beside(long * 0.9, turned, 0), beside(long * 0.9, turned, eaves), beside(0, 1, eaves)]
        over = 0.35 * one
        low = (corner[0] - turned * over, corner[1] - (eaves - 0.35) * one)
        self.roof = [
            top,
            low,
            (low[0] + far[0] + 2 * turned * over, low[1] + far[1]),
            (top[0] + far[0], top[1] + far[1]),
        ]
        columns = [point[0] for point in [*self.gable, *self.wall, *self.roof]]
        self.left, self.right = min(columns), max(columns)
        self.top = top[1] + min(far[1], 0)

    def patch(self, canvas: Canvas) -> Patch | None:
        """Return the samples that the block may cover, or None outside the image."""
        return canvas.patch(self.left, self.top - 1.2 * self.one, self.right, self.corner[1])

    def metres(self, patch: Patch) -> tuple[Array, Array]:
        """Return the metres to the right of the corner (1, w) and above it (h, 1)."""
        across, up = patch.u - np.float32(self.corner[0]), np.float32(self.corner[1]) - patch.v
        return across / np.float32(self.one), up / np.float32(self.one)


def courses(a: Array, b: Array, wide: float, high: float, sharp: float) -> Array:
    """Return the joints between staggered bricks or shingles: -`sharp` in joints, 0 elsewhere; `sharp` in [0, 1]."""
    line = b / np.float32(high)
    row = np.floor(line)
    place = a / np.float32(wide) + np.float32(0.5) * (row - 2 * np.floor(row / 2))
    joint = (line - row < np.float32(0.2)) | (place - np.floor(place) < np.float32(0.12))
    return joint * np.float32(-sharp)


def house(view: View, x: float, z: float, *name: object) -> Item:
    """Return a brick house with shingles, panes, a door and a chimney."""
    rng = stream(*name)
    turned, eaves = 1 if rng.random() < 0.5 else -1, between(rng, 3.2, 5.8)
    gable, long = between(rng, 5, 7), between(rng, 6, 10)
    bricks = rgb(between(rng, 0.55, 0.72), between(rng, 0.3, 0.42), between(rng, 0.24, 0.34))
    tiles = (rgb(0.5, 0.27, 0.22), rgb(0.33, 0.33, 0.37), rgb(0.42, 0.32, 0.27))[int(rng.random() * 3)]
    noise, block = Noise(rng), Block(view, x, z, gable, long, eaves, turned)

    def render(canvas: Canvas) -> None:
        shadow(view, canvas, (block.left + block.right) / 2, block.corner[1], (block.right - block.left) / 2, block.one)
        patch = block.patch(canvas)
        if patch is None:
            return
        a, b = block.metres(patch)
        sharp = min(1.0, canvas.side * block.one * 0.12) * 0.4
        grain = noise.at(a * 3, b * 6) * np.float32(0.12) + courses(a, b, 0.8, 0.4, sharp)
        light = 0.5 + 0.38 * turned * view.side, 0.5 - 0.38 * turned * view.side
        stack, half = block.corner[0] + turned * 0.45 * long * block.one, 0.45 * block.one
        chimney = within(patch, stack - half, block.top - 0.8 * block.one, stack + half, block.top + 2 * block.one)
        patch.fill(chimney, view.lit(bricks * np.float32(0.8), 0.5, z), "brick")
        patch.fill(polygon(patch, block.wall), view.lit(bricks * (1 + grain), light[0], z), "brick")
        patch.fill(polygon(patch, block.gable), view.lit(bricks * (1 + grain), light[1], z), "brick")
        slates = noise.at(a * 2, b * 5) * np.float32(0.16) + courses(a, b, 0.9, 0.55, sharp)
        patch.fill(polygon(patch, block.roof), view.lit(tiles * (1 + slates), light[0] * 0.7 + 0.3, z), "tiles")
        _openings(view, block, patch, long, gable, eaves, z)

    return Item(UPRIGHT, z, ("brick", "tiles"), render)


def _openings(view: View, block: Block, patch: Patch, long: float, gable: float, eaves: float, z: float) -> None:
    """Draw windows with white frames in both walls, and a door."""
    floors = (1.7,) if eaves < 4.4 else (1.5, 4.0)
    for length, sense, count in ((long * 0.9, block.turned, 3), (gable, -block.turned, 2)):
        for k in range(count):
            for floor in floors:
                aside = sense * length * (k + 0.5) / count
                climb = 0.35 * view.height / z * abs(aside)
                u = block.corner[0] + aside * block.one
                v = block.corner[1] - (floor + 0.1 + climb) * block.one
                half, tall = 0.55 * block.one, 0.75 * block.one
                if sense == block.turned and k == 1 and floor == floors[0]:
                    door = within(patch, u - half, v - tall, u + half, v + (floor + 0.05) * block.one)
                    patch.fill(door, view.lit(rgb(0.3, 0.2, 0.16), 0.6, z), "brick")
                    continue
                frame = within(patch, u - half * 1.25, v - tall * 1.2, u + half * 1.25, v + tall * 1.2)
                patch.fill(frame, view.lit(rgb(0.9, 0.88, 0.84), 0.7, z), "brick")
                pane = within(patch, u - half, v - tall, u + half, v + tall)
                mirror = np.clip((np.float32(v) - patch.v) / np.float32(2 * tall) + np.float32(0.5), 0, 1)
                patch.fill(pane, rgb(0.18, 0.22, 0.28) + mirror * (view.zenith * np.float32(0.6)), "pane")


def barn(view: View, x: float, z: float, *name: object) -> Item:
    """Return a wooden barn with upright planks, a big door and a plain roof."""
    rng = stream(*name)
    turned, eaves = 1 if rng.random() < 0.5 else -1, between(rng, 2.6, 4.2)
    gable, long = between(rng, 5.5, 8), between(rng, 7, 12)
    planks = (rgb(0.56, 0.2, 0.16), rgb(0.42, 0.3, 0.21), rgb(0.5, 0.45, 0.4))[int(rng.random() * 3)]
    noise, block = Noise(rng), Block(view, x, z, gable, long, eaves, turned)

    def render(canvas: Canvas) -> None:
        shadow(view, canvas, (block.left + block.right) / 2, block.corner[1], (block.right - block.left) / 2, block.one)
        patch = block.patch(canvas)
        if patch is None:
            return
        a, b = block.metres(patch)
        sharp = min(1.0, canvas.side * block.one * 0.12)
        board = a / np.float32(0.5)
        gap = (board - np.floor(board) < np.float32(0.22)) * np.float32(-0.4 * sharp)
        grain = gap + noise.at(np.floor(board) * np.float32(0.61), b * np.float32(0.4)) * np.float32(0.22)
        light = 0.5 + 0.38 * turned * view.side, 0.5 - 0.38 * turned * view.side
        patch.fill(polygon(patch, block.wall), view.lit(planks * (1 + grain), light[0], z), "planks")
        patch.fill(polygon(patch, block.gable), view.lit(planks * (1 + grain), light[1], z), "planks")
        worn = noise.at(a, b * 2) * np.float32(0.2)
        patch.fill(
            polygon(patch, block.roof), view.lit(rgb(0.46, 0.42, 0.39) * (1 + worn), light[0] * 0.7 + 0.3, z), "planks"
        )
        gate = block.corner[0] - turned * gable / 2 * block.one
        lift = 0.35 * view.height / z * gable / 2 * block.one
        foot = block.corner[1] - lift
        door = within(patch, gate - 1.2 * block.one, foot - 2.6 * block.one, gate + 1.2 * block.one, foot)
        patch.fill(door, view.lit(planks * np.float32(0.3) * (1 + grain), 0.3, z), "planks")

    return Item(UPRIGHT, z, ("planks",), render)


def temple(view: View, x: float, z: float, *name: object) -> Item:
    """Return a temple: columns under a pediment, or a pagoda with three roofs."""
    rng = stream(*name)
    pagoda, columns = rng.random() < 0.4, 5 + int(rng.random() * 3)
    wide, tall = (4.2, between(rng, 10, 13)) if pagoda else (between(rng, 6, 8), between(rng, 7.5, 9.5))
    stone = rgb(0.93, 0.87, 0.76) if rng.random() < 0.7 else rgb(0.86, 0.84, 0.82)
    one, middle, base = 1 / z, view.column(x, z), view.row(z)
    lacquer = rgb(0.62, 0.16, 0.13)

    def render(canvas: Canvas) -> None:
        shadow(view, canvas, middle, base, wide * one, one)
        patch = canvas.patch(middle - 1.5 * wide * one, base - 1.3 * tall * one, middle + 1.5 * wide * one, base)
        if patch is None:
            return
        a = (patch.u - np.float32(middle)) / np.float32(one)
        b = (np.float32(base) - patch.v) / np.float32(one)
        round_ = np.float32(0.55) + a / np.float32(wide) * np.float32(0.4 * view.side)

        def box(half: float, low: float, high: float) -> np.ndarray:
            return (np.abs(a) < np.float32(half)) & (b >= np.float32(low)) & (b < np.float32(high))

        if pagoda:
            patch.fill(box(wide * 1.1, 0, 0.7), view.lit(stone, round_, z), "temple")
            for k in range(3):
                low, half = 0.7 + k * 0.3 * tall, wide * (0.72 - 0.17 * k)
                patch.fill(box(half, low, low + 0.3 * tall), view.lit(lacquer, round_, z), "temple")
                patch.fill(box(half * 0.3, low, low + 0.17 * tall), view.lit(rgb(0.2, 0.1, 0.08), 0.4, z), "temple")
                over = (b - np.float32(low + 0.17 * tall)) / np.float32(0.16 * tall)
                eave = half * (np.float32(1.75) - np.float32(1.0) * np.sqrt(np.clip(over, 0, 1)))
                roof = (np.abs(a) < eave) & (over > 0) & (over < 1)
                patch.fill(roof, view.lit(rgb(0.24, 0.33, 0.3), round_ + over * np.float32(0.2), z), "temple")
            patch.fill(box(0.18, 0.7 + 0.9 * tall, 1.15 * tall), view.lit(rgb(0.8, 0.65, 0.25), 0.8, z), "temple")
            return
        for k in range(3):
            half, low = wide * (1.12 - 0.05 * k), 0.4 * k
            patch.fill(box(half, low, low + 0.4), view.lit(stone * np.float32(1 - 0.08 * k), round_ - 0.1, z), "temple")
        shaft = 0.68 * tall
        patch.fill(box(wide * 0.93, 1.2, shaft), view.lit(rgb(0.3, 0.26, 0.23), 0.25, z), "temple")
        place = (a / np.float32(wide * 0.95) + 1) / 2 * np.float32(columns)
        off = np.abs(place - np.floor(place) - np.float32(0.5)) * 2
        lit = np.float32(0.65) + (place - np.floor(place) - np.float32(0.5)) * np.float32(0.9 * view.side)
        patch.fill(box(wide * 0.95, 1.2, shaft) & (off < np.float32(0.56)), view.lit(stone, lit, z), "temple")
        patch.fill(
            box(wide * 1.02, shaft, shaft + 0.13 * tall), view.lit(stone * np.float32(0.95), round_, z), "temple"
        )
        up = (b - np.float32(shaft + 0.13 * tall)) / np.float32(0.26 * tall)
        gable = (up > 0) & (np.abs(a) < np.float32(wide * 1.08) * (1 - up))
        inner = (up > np.float32(0.14)) & (np.abs(a) < np.float32(wide * 0.95) * (1 - up * np.float32(1.15)))
        patch.fill(gable, view.lit(stone, round_ + 0.1, z), "temple")
        patch.fill(inner, view.lit(stone * np.float32(0.72), round_, z), "temple")

    return Item(UPRIGHT, z, ("temple",), render)
