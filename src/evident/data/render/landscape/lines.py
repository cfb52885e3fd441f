"""Power lines and fences: straight on the ground, so straight in the image, and smaller with distance."""

import math

import numpy as np

from evident.data.render.landscape.canvas import SAMPLES, Canvas, rgb
from evident.data.render.landscape.item import UPRIGHT, Item
from evident.data.render.landscape.noise import between, stream
from evident.data.render.landscape.outline import Point, line
from evident.data.render.landscape.view import View

LATTICE = (  # bars of a pylon, in shares of its height: from (across, up) to (across, up)
    *((((-0.13, 0.0), (-0.035, 0.62))), ((0.13, 0.0), (0.035, 0.62)), ((-0.035, 0.62), (-0.02, 1.0))),
    *(((0.035, 0.62), (0.02, 1.0)), ((-0.02, 1.0), (0.02, 1.0)), ((-0.13, 0.0), (0.086, 0.29))),
    *(((0.13, 0.0), (-0.086, 0.29)), ((-0.086, 0.29), (0.056, 0.48)), ((0.086, 0.29), (-0.056, 0.48))),
    *(((-0.056, 0.48), (0.035, 0.62)), ((0.056, 0.48), (-0.035, 0.62)), ((-0.086, 0.29), (0.086, 0.29))),
    *(((-0.035, 0.66), (0.032, 0.78)), ((0.035, 0.66), (-0.032, 0.78)), ((-0.03, 0.8), (0.026, 0.95))),
    *(((-0.22, 0.66), (0.22, 0.66)), ((-0.19, 0.8), (0.19, 0.8)), ((-0.15, 0.93), (0.15, 0.93))),
    *(((-0.22, 0.66), (0.0, 0.71)), ((0.22, 0.66), (0.0, 0.71)), ((-0.19, 0.8), (0.0, 0.85))),
    ((0.19, 0.8), (0.0, 0.85)),
)
HANGS = ((-0.22, 0.64), (0.22, 0.64), (-0.15, 0.91), (0.15, 0.91))
POLE = (((0.0, 0.0), (0.0, 1.0)), ((-0.1, 0.93), (0.1, 0.93)), ((-0.08, 0.85), (0.08, 0.85)))
POLE_HANGS = ((-0.1, 0.95), (0.1, 0.95))


def power_line(view: View, *name: object) -> list[Item]:
    """Return steel pylons or wooden poles in a straight line, with wires that continue beyond the image."""
    rng = stream(*name, "power")
    steel = rng.random() < 0.6
    tall, span = (between(rng, 22, 30), between(rng, 45, 75)) if steel else (between(rng, 9, 12), between(rng, 20, 30))
    near = between(rng, 50, 80) if steel else between(rng, 18, 28)
    side = 1 if rng.random() < 0.5 else -1
    x, turn = side * between(rng, 0.0, 0.45) * near, -side * between(rng, -0.1, 1.1)
    length = math.sqrt(1 + turn * turn)
    feet = [(x + turn * span / length * k, near + span / length * k) for k in range(-1, 5)]
    feet = [(a, b) for a, b in feet if b > 6]
    frame, hangs = (LATTICE, HANGS) if steel else (POLE, POLE_HANGS)
    items = [_pylon(view, a, b, tall, frame, steel) for a, b in feet]
    return [*items, *(_wires(view, feet[k], feet[k + 1], tall, hangs, steel) for k in range(len(feet) - 1))]


def _pylon(view: View, x: float, z: float, tall: float, frame: tuple, steel: bool) -> Item:
    middle, base, high = view.column(x, z), view.row(z), tall / z
    material, tone = ("pylon", rgb(0.44, 0.45, 0.48)) if steel else ("pole", rgb(0.4, 0.31, 0.24))

    def render(canvas: Canvas) -> None:
        least = 1.1 / canvas.side * SAMPLES / 2
        thick = max(least, (0.3 if steel else 0.34) / z)
        patch = canvas.patch(middle - 0.25 * high - thick, base - high - thick, middle + 0.25 * high + thick, base)
        if patch is None:
            return
        where = np.zeros((patch.v.size, patch.u.size), bool)
        for start, end in frame:
            ends = [(middle + a * high, base - b * high) for a, b in (start, end)]
            where |= line(patch, ends[0], ends[1], thick)
        patch.fill(where, view.lit(tone, 0.35, z), material)

    return Item(UPRIGHT, z, (material,), render)


def _wires(view: View, near: Point, far: Point, tall: float, hangs: tuple, steel: bool) -> Item:
    """Return the wires of one span, with a parabolic sag."""

    def render(canvas: Canvas) -> None:
        for a, b in hangs:
            ends = [(view.column(x, z) + a * tall / z, view.row(z) - b * tall / z, 1 / z) for x, z in (near, far)]
            (u0, v0, s0), (u1, v1, s1) = sorted(ends)
            patch = canvas.patch(u0, min(v0, v1) - 0.02, u1, max(v0, v1) + 0.2)
            if patch is None or u1 - u0 < 1 / canvas.side:
                continue
            along = (patch.u - np.float32(u0)) / np.float32(u1 - u0)
            # Along a straight line in space, 1/Z is linear in the image, and the distance along it is a ratio of linear
            # functions.
            scale = np.float32(s0) + along * np.float32(s1 - s0)
            way = along * np.float32(s1) / scale
            sag = 4 * way * (1 - way) * np.float32(0.07 * tall) * scale
            curve = np.float32(v0) + along * np.float32(v1 - v0) + sag
            steep = np.gradient(np.broadcast_to(curve, (1, patch.u.size)), axis=1) if patch.u.size > 1 else 0 * curve
            thick = np.maximum(np.float32(0.8 / canvas.side), np.float32(0.05) * scale) + np.abs(steep) / 2
            where = (np.abs(patch.v - curve) < thick) & (along >= 0) & (along <= 1)
            patch.fill(where, view.lit(rgb(0.24, 0.24, 0.27), 0.4, np.float32(1) / scale * np.float32(0.5)), "wire")

    return Item(UPRIGHT, (near[1] + far[1]) / 2, ("wire", "pylon" if steel else "pole"), render)


def fence(view: View, start: Point, end: Point, *name: object) -> Item:
    """Return a wooden fence with two rails or a metal railing, from one position (x, z) on the ground to another."""
    rng = stream(*name, "fence")
    wooden = rng.random() < 0.6
    material = "wooden_fence" if wooden else "railing"
    tone = ((rgb(0.45, 0.34, 0.25), rgb(0.9, 0.88, 0.83)) if wooden else (rgb(0.3, 0.32, 0.34), rgb(0.6, 0.62, 0.65)))[
        int(rng.random() * 2)
    ]
    tall, gap = between(rng, 1.2, 1.6), between(rng, 1.8, 2.4) if wooden else 0.55
    length = math.sqrt((end[0] - start[0]) ** 2 + (end[1] - start[1]) ** 2)

    def render(canvas: Canvas) -> None:
        (u0, s0, w0), (u1, s1, w1) = sorted(
            (view.column(x, z), 1 / z, way) for (x, z), way in ((start, 0.0), (end, length))
        )
        patch = canvas.patch(u0, view.horizon - 0.2, u1, 1)
        if patch is None or u1 - u0 < 2 / canvas.side:
            return
        along = (patch.u - np.float32(u0)) / np.float32(u1 - u0)
        scale = np.float32(s0) + along * np.float32(s1 - s0)
        way = (np.float32(w0 * s0) * (1 - along) + np.float32(w1 * s1) * along) / scale
        up = (np.float32(view.horizon) + np.float32(view.height) * scale - patch.v) / scale
        post = way / np.float32(gap)
        wide = np.float32(0.08) + np.float32(0.5 / canvas.side) / scale if wooden else np.float32(0.03) + 0 * scale
        posts = (np.abs(post - np.rint(post)) * np.float32(gap) < wide) & (up > 0) & (up < np.float32(tall))
        thick = np.maximum(np.float32(0.07), np.float32(0.62 / canvas.side) / scale)
        rails = np.zeros(posts.shape, bool)
        for share in (0.45, 0.85) if wooden else (0.12, 0.97):
            rails |= np.abs(up - np.float32(share * tall)) < thick
        ends = (along >= 0) & (along <= 1)
        patch.shade(
            np.broadcast_to((np.abs(up + np.float32(0.1)) < np.float32(0.25)) & ends, posts.shape) * np.float32(0.3)
        )
        patch.fill((posts | rails) & ends, view.lit(tone, 0.6, np.float32(1) / scale), material)

    return Item(UPRIGHT, max(start[1], end[1]) * 0.5 + min(start[1], end[1]) * 0.5, (material,), render)
