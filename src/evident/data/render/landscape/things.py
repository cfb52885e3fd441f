"""Objects that lie, stand or move on the ground or on water: cars, boats, hikers, tents, heaps of scrap, boulders."""

import numpy as np

from evident.data.render.landscape.canvas import Canvas, Patch, rgb
from evident.data.render.landscape.item import UPRIGHT, Item
from evident.data.render.landscape.noise import Array, Noise, between, step, stream
from evident.data.render.landscape.outline import disc, line, polygon, within
from evident.data.render.landscape.shadow import shadow
from evident.data.render.landscape.view import View

BRIGHT = (
    *(rgb(0.8, 0.12, 0.1), rgb(0.12, 0.3, 0.7), rgb(0.93, 0.93, 0.95), rgb(0.95, 0.7, 0.1)),
    *(rgb(0.15, 0.16, 0.18), rgb(0.75, 0.77, 0.8), rgb(0.95, 0.45, 0.1), rgb(0.15, 0.5, 0.3)),
)


def bright(rng: np.random.Generator) -> Array:
    """Return a colour of painted or dyed objects."""
    return BRIGHT[int(rng.random() * len(BRIGHT))]


class Frame:
    """Convert metres around a point on the ground to the image: `at(a, b)` is a to the right and b up."""

    def __init__(self, view: View, x: float, z: float) -> None:
        self.u, self.v, self.one = view.column(x, z), view.row(z), 1 / z

    def at(self, a: float, b: float) -> tuple[float, float]:
        return self.u + a * self.one, self.v - b * self.one

    def patch(self, canvas: Canvas, half: float, tall: float) -> Patch | None:
        return canvas.patch(self.u - half * self.one, self.v - tall * self.one, self.u + half * self.one, self.v)

    def box(self, patch: Patch, left: float, low: float, right: float, high: float) -> np.ndarray:
        return within(patch, *self.at(left, high), *self.at(right, low))


def car(view: View, x: float, z: float, sideways: bool, *name: object) -> Item:
    """Return a car or a truck, seen from the side or from behind."""
    rng = stream(*name)
    truck, paintwork, frame = rng.random() < 0.3, bright(rng), Frame(view, x, z)
    half, tall = (3.4, 3.1) if truck else (2.2, 1.55)
    box = rgb(0.88, 0.87, 0.84) if rng.random() < 0.5 else bright(rng)

    def render(canvas: Canvas) -> None:
        wide = half if sideways else (1.25 if truck else 0.95)
        shadow(view, canvas, frame.u, frame.v, wide * frame.one, frame.one)
        patch = frame.patch(canvas, half + 0.2, tall + 0.3)
        if patch is None:
            return
        up = (np.float32(frame.v) - patch.v) / np.float32(frame.one)
        lit = np.float32(0.45) + up * np.float32(0.35 / tall)
        glass = view.zenith * np.float32(0.35) + rgb(0.12, 0.14, 0.18)
        black = view.lit(rgb(0.1, 0.1, 0.11), 0.4, z)
        body = view.lit(paintwork, lit, z)

        def fill(points: list[tuple[float, float]], colour: Array, material: str = "vehicle") -> None:
            patch.fill(polygon(patch, [frame.at(*point) for point in points]), colour, material)

        if not sideways:
            fill([(-wide, 0.3), (-wide, 0.9), (wide, 0.9), (wide, 0.3)], body)
            top = tall if truck else 0.9 + 0.65
            fill(
                [(-wide, 0.9), (-0.8 * wide, top), (0.8 * wide, top), (wide, 0.9)],
                view.lit(box if truck else paintwork, lit, z),
            )
            if not truck:
                fill(
                    [(-0.8 * wide, 0.95), (-0.68 * wide, 1.42), (0.68 * wide, 1.42), (0.8 * wide, 0.95)],
                    glass,
                    "vehicle_pane",
                )
            for sense in (-1, 1):
                patch.fill(
                    frame.box(patch, sense * 0.8 * wide - 0.15, 0, sense * 0.8 * wide + 0.15, 0.4), black, "vehicle"
                )
                lamp = frame.box(patch, sense * 0.75 * wide - 0.14, 0.6, sense * 0.75 * wide + 0.14, 0.8)
                patch.fill(lamp, rgb(0.95, 0.2, 0.15), "vehicle")
            return
        if truck:
            fill([(-half, 0.6), (-half, tall), (1.5, tall), (1.5, 0.6)], view.lit(box, lit, z))
            fill([(1.6, 0.5), (1.6, 2.4), (2.7, 2.4), (half, 1.5), (half, 0.5)], body)
            fill([(2.0, 1.5), (2.0, 2.2), (2.6, 2.2), (3.1, 1.5)], glass, "vehicle_pane")
        else:
            fill([(-half, 0.3), (-half, 0.85), (-half * 0.9, 0.95), (half * 0.95, 0.9), (half, 0.3)], body)
            fill([(-1.7, 0.9), (-1.1, tall), (0.6, tall), (1.3, 0.9)], body)
            fill([(-1.35, 0.95), (-0.95, 1.42), (-0.25, 1.42), (-0.25, 0.95)], glass, "vehicle_pane")
            fill([(-0.1, 0.95), (-0.1, 1.42), (0.5, 1.42), (1.0, 0.95)], glass, "vehicle_pane")
        for wheel in (-0.62 * half, 0.62 * half):
            radius = (0.48 if truck else 0.36) * frame.one
            where, _ = disc(patch, *frame.at(wheel, 0.36), radius, radius)
            patch.fill(where, black, "vehicle")

    return Item(UPRIGHT, z, ("vehicle",), render)


def boat(view: View, x: float, z: float, water: str, *name: object) -> Item:
    """Return a sailing boat on the sea or on a lake; it is removed together with the material `water`."""
    rng = stream(*name)
    frame, large = Frame(view, x, z), between(rng, 0.8, 1.25)
    hull, cloth = bright(rng), (rgb(0.97, 0.96, 0.93) if rng.random() < 0.7 else bright(rng))
    sense = 1 if rng.random() < 0.5 else -1

    def render(canvas: Canvas) -> None:
        patch = frame.patch(canvas, 4.2 * large, 9.5 * large)
        if patch is None:
            return

        def fill(points: list[tuple[float, float]], colour: Array, material: str) -> None:
            corners = [frame.at(sense * large * a, large * b) for a, b in points]
            patch.fill(polygon(patch, corners), colour, material)

        fill([(-2.7, 0), (-3.2, 1.1), (3.6, 1.25), (2.4, 0)], view.lit(hull, 0.6, z), "hull")
        mast = line(patch, frame.at(0, large), frame.at(0, 9 * large), max(0.14 * frame.one, 0.8 / canvas.side))
        patch.fill(mast, view.lit(rgb(0.5, 0.4, 0.3), 0.6, z), "hull")
        fill([(-0.2, 1.7), (-0.2, 8.8), (-3.0, 1.7)], view.lit(cloth, 0.85, z), "sail")
        fill([(0.2, 1.7), (0.2, 7.8), (3.1, 1.6)], view.lit(cloth, 0.7, z), "sail")

    return Item(UPRIGHT, z, ("hull", water), render)


def hiker(view: View, x: float, z: float, *name: object) -> Item:
    """Return a person on foot with a rucksack."""
    rng = stream(*name)
    frame, jacket, sack = Frame(view, x, z), bright(rng), bright(rng)
    tall, stride = between(rng, 1.7, 2.1), between(rng, 0.1, 0.28)
    sense = 1 if rng.random() < 0.5 else -1
    skin = rgb(0.87, 0.68, 0.55) if rng.random() < 0.6 else rgb(0.5, 0.34, 0.26)

    def render(canvas: Canvas) -> None:
        shadow(view, canvas, frame.u, frame.v, 0.5 * frame.one, 0.5 * frame.one)
        patch = frame.patch(canvas, 0.8, tall + 0.2)
        if patch is None:
            return
        thick = max(0.2 * frame.one, 1.1 / canvas.side)
        dark = view.lit(rgb(0.22, 0.22, 0.28), 0.5, z)
        for foot in (-stride, stride):
            patch.fill(line(patch, frame.at(0, 0.5 * tall), frame.at(foot, 0.05), thick), dark, "hiker")
        torso = line(patch, frame.at(0, 0.5 * tall), frame.at(0.03 * sense, 0.78 * tall), 2.0 * thick)
        patch.fill(torso, view.lit(jacket, 0.75, z), "hiker")
        pack = line(patch, frame.at(-0.24 * sense, 0.55 * tall), frame.at(-0.22 * sense, 0.78 * tall), 1.3 * thick)
        patch.fill(pack, view.lit(sack, 0.6, z), "hiker")
        head = max(0.13 * frame.one, 0.9 / canvas.side)
        where, _ = disc(patch, *frame.at(0.05 * sense, 0.93 * tall), head, head)
        patch.fill(where, view.lit(skin, 0.7, z), "hiker")

    return Item(UPRIGHT, z, ("hiker",), render)


def tent(view: View, x: float, z: float, *name: object) -> Item:
    """Return a ridge tent with its opening on one side."""
    rng = stream(*name)
    frame, cloth = Frame(view, x, z), bright(rng)
    half, tall, long = between(rng, 1.5, 2.2), between(rng, 1.9, 2.6), between(rng, 2.0, 3.4)
    sense = 1 if rng.random() < 0.5 else -1

    def render(canvas: Canvas) -> None:
        shadow(view, canvas, frame.u, frame.v, (half + long / 2) * frame.one, frame.one)
        patch = frame.patch(canvas, half + long + 0.3, tall + 0.6)
        if patch is None:
            return
        lift = 0.25

        def fill(points: list[tuple[float, float]], colour: Array) -> None:
            patch.fill(polygon(patch, [frame.at(sense * a, b) for a, b in points]), colour, "tent")

        flank = 0.55 - 0.3 * sense * -view.side
        fill([(half, 0), (0, tall), (long, tall + lift), (half + long, lift)], view.lit(cloth, flank, z))
        fill([(-half, 0), (0, tall), (half, 0)], view.lit(cloth, 0.85, z))
        fill([(-0.35 * half, 0), (0, 0.75 * tall), (0.35 * half, 0)], view.lit(cloth * np.float32(0.2), 0.3, z))

    return Item(UPRIGHT, z, ("tent",), render)


def scrap(view: View, x: float, z: float, *name: object) -> Item:
    """Return a heap of scrap: sheets of metal, rust and rubbish."""
    rng = stream(*name)
    frame, half, tall = Frame(view, x, z), between(rng, 3.5, 6.0), between(rng, 1.8, 3.2)
    noise, pieces = Noise(rng), rng.random((46, 6))

    def render(canvas: Canvas) -> None:
        shadow(view, canvas, frame.u, frame.v, half * frame.one, frame.one)
        patch = frame.patch(canvas, 1.15 * half, 1.3 * tall)
        if patch is None:
            return
        a = (patch.u - np.float32(frame.u)) / np.float32(half * frame.one)
        b = (np.float32(frame.v) - patch.v) / np.float32(tall * frame.one)
        crest = (1 - a * a) * (np.float32(0.75) + noise.over(a[0] * 5, np.zeros(1, np.float32)) * np.float32(0.3))
        grain = noise.over(a[0] * 14, b[:, 0] * 9)
        patch.fill(
            (b > 0) & (b < crest), view.lit(rgb(0.34, 0.29, 0.26) * (1 + grain * np.float32(0.5)), 0.5, z), "junk"
        )
        for place, height, turn, wide, kind, tone in pieces.tolist():
            aside = (2 * place - 1) * 0.92
            foot = height * 0.8 * (1 - aside * aside) * tall
            da, db = (0.25 + wide) * (turn - 0.5) * 2, (0.25 + wide) * (1 - abs(turn - 0.5) * 1.4)
            start = frame.at(aside * half - da / 2, foot)
            end = frame.at(aside * half + da / 2, foot + db * 0.8)
            where = line(patch, start, end, (0.22 + 0.5 * wide * tone) * frame.one) & (b > 0)
            name_, colour = (
                ("rust", rgb(0.62, 0.32, 0.16)) if kind < 0.5
                else ("scrap", rgb(0.66, 0.68, 0.7)) if kind < 0.85
                else ("junk", rgb(0.2, 0.35, 0.5))
            )  # fmt: skip
            patch.fill(where, view.lit(colour * np.float32(0.65 + 0.6 * tone), 0.55, z), name_)

    return Item(UPRIGHT, z, ("junk",), render)


def boulder(view: View, x: float, z: float, wide: float, *name: object) -> Item:
    """Return a block of stone, with a rough edge and lit from above."""
    rng = stream(*name)
    frame, noise, tall = Frame(view, x, z), Noise(rng), wide * between(rng, 0.7, 1.3)
    tone = rgb(0.56, 0.54, 0.51) * np.float32(between(rng, 0.75, 1.2))

    def render(canvas: Canvas) -> None:
        shadow(view, canvas, frame.u, frame.v, wide * frame.one, frame.one)
        patch = frame.patch(canvas, 1.3 * wide, 1.3 * tall)
        if patch is None:
            return
        a = (patch.u - np.float32(frame.u)) / np.float32(wide * frame.one)
        b = (np.float32(frame.v) - patch.v) / np.float32(tall * frame.one)
        rough = noise.fractal_over(a[0] * np.float32(1.7), b[:, 0] * np.float32(2.3), 4, 0.65)
        where = (
            a * a + (b - np.float32(0.35)) ** 2 * np.float32(1.7) + rough * np.float32(0.45) < np.float32(0.85)
        ) & (b > 0)
        lit = np.float32(0.4) + a * np.float32(0.4 * view.side) + (b - np.float32(0.4)) * np.float32(0.5)
        lit = np.clip(lit + rough * np.float32(0.4), 0.05, 1)
        patch.fill(where, view.lit(tone * (1 + rough * np.float32(0.3)), lit * step(b, -0.1, 0.25), z), "boulder")

    return Item(UPRIGHT, z, ("boulder",), render)
