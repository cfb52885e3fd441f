"""Sea and lake: the sea has waves and foam on its beach, the lake reflects."""

import numpy as np

from evident.data.render.landscape.canvas import Canvas, rgb
from evident.data.render.landscape.item import FLAT, UPRIGHT, Item
from evident.data.render.landscape.noise import Noise, between, smooth, step, stream, wave
from evident.data.render.landscape.shapes import Coast, Pond
from evident.data.render.landscape.view import View


def sea(view: View, coast: Coast, *name: object) -> list[Item]:
    """Return the sea up to the horizon, and the sand in front of it."""
    rng = stream(*name, "sea")
    noise, green = Noise(rng), between(rng, 0, 1)
    deep = rgb(0.1, 0.3, 0.48) * np.float32(1 - green) + rgb(0.1, 0.4, 0.46) * np.float32(green)
    choppy = between(rng, 0.3, 1.0)

    def water(canvas: Canvas) -> None:
        patch = canvas.patch(top=view.horizon)
        assert patch is not None
        x, z = view.ground(patch)
        beyond = coast.beyond(x, z)
        out = smooth(beyond / np.float32(70))
        calm = np.float32(30) / (np.float32(30) + z)
        swell = noise.fractal(x / np.float32(22) + z / 60, z / np.float32(7), 3, 0.6)
        # Far waves look like streaks because of perspective.
        streaks = noise.over(patch.u[0] * np.float32(5), patch.v[:, 0] * np.float32(130))
        waves = np.float32(choppy) * (swell * calm + streaks * (1 - calm) * np.float32(0.6))
        colour = rgb(0.3, 0.56, 0.58) * (1 - out) + deep * out
        sky = (view.air * np.float32(0.45) + view.zenith * np.float32(0.25)) * (
            np.float32(0.6) + np.float32(0.5) * waves
        )
        glare = np.float32(0.35 * view.low) / (1 + 90 * (patch.u - np.float32(0.5 + 0.42 * view.side)) ** 2)
        seen = colour * np.float32(0.62) + sky * np.float32(0.5) + view.sun * glare * (np.float32(0.5) + waves)
        where = beyond > 0
        patch.fill(where, view.lit(np.maximum(seen, 0), 0.75, np.minimum(z, 500)), "sea")
        surf = wave(beyond / np.float32(17) + swell * np.float32(0.4)) * step(beyond, 45, 4)
        foam = np.maximum(step(beyond, 3.2, 0.5), step(surf, 0.72, 0.95)) * where
        patch.tint(foam * np.float32(0.8), view.lit(rgb(0.95, 0.97, 0.98), 0.8, z))

    def sand(canvas: Canvas) -> None:
        patch = canvas.patch(top=view.horizon)
        assert patch is not None
        x, z = view.ground(patch)
        beyond = coast.beyond(x, z)
        wet = step(beyond, -5, -1) * np.float32(0.35)
        shade = np.float32(0.97) + noise.fractal(x / 2, z / 2, 2) * np.float32(0.12) - wet
        where = beyond > -np.float32(coast.beach)
        patch.fill(where, view.lit(rgb(0.88, 0.78, 0.6) * shade, 0.8, z), "sand")

    beach = [Item(FLAT, 9600, ("sand",), sand)] if coast.beach > 0 else []
    return [*beach, Item(FLAT, 9500, ("sea",), water)]


def lake(view: View, pond: Pond, *name: object) -> Item:
    """Return still water that reflects what is behind it.

    An object is reflected at the row of its foot: the sky at the horizon, a tree on the shore at the shore. We use one
    axis per column, between the two.
    """
    rng = stream(*name, "lake")
    noise, rough = Noise(rng), between(rng, 0.0, 1.0)
    tone = rgb(0.16, 0.33, 0.42) if rng.random() < 0.7 else rgb(0.18, 0.32, 0.28)

    def render(canvas: Canvas) -> None:
        patch = canvas.patch(top=view.horizon)
        assert patch is not None
        x, z = view.ground(patch)
        inside = pond.inside(x, z)
        where = (inside > 0) & ~patch.shows("road", "ballast", "rail")
        first = patch.rows.start
        shore = first + np.argmax(inside > 0, axis=0)
        axis = np.rint(view.horizon * canvas.side * 0.7 + shore * 0.3).astype(np.int64)
        row = np.arange(first, canvas.side)[:, None]
        ripple = noise.over(patch.u[0] * np.float32(8), patch.v[:, 0] * np.float32(110))
        sway = ripple * np.float32(0.012 * rough * canvas.side)
        mirrored = np.clip(2 * axis - row - 1 + np.rint(sway).astype(np.int64), 0, canvas.side - 1)
        column = np.clip(
            np.arange(canvas.side)[None] + np.rint(sway * np.float32(0.7)).astype(np.int64), 0, canvas.side - 1
        )
        image = canvas.colour[:, mirrored, column]
        # At a steeper angle more of the water itself is visible.
        own = np.float32(0.3) + np.float32(0.3) * smooth(np.float32(25) / z)
        glint = view.air * np.float32(0.12 * rough) * np.maximum(ripple, 0)
        seen = image * (1 - own) * np.float32(0.92) + view.lit(tone, 0.7, z) * own + glint
        edge = step(inside, 0.07, 0.0) * np.float32(0.35)
        patch.fill(where, seen * (1 - edge), "lake")
        canvas.indirect[patch.rows] |= where

    return Item(UPRIGHT, pond.z + pond.deep * 1.15, ("lake",), render)
