"""Sky, sun and clouds. Clouds are a plane of fractal noise overhead that gets thinner towards the horizon."""

import numpy as np

from evident.data.render.landscape.canvas import Canvas, rgb
from evident.data.render.landscape.item import SKY, Item
from evident.data.render.landscape.noise import Noise, between, smooth, step, stream
from evident.data.render.landscape.view import View

SEEN = 0.35  # share of a cloud's full opacity; thinner clouds count as sky


def sky(view: View, *name: object) -> Item:
    """Return the gradient from the horizon to the zenith, with the sun's glow and, if the sun is low, its disc."""
    rng = stream(*name, "sky")
    aside, above = 0.5 + 0.42 * view.side, view.horizon * between(rng, 0.15, 0.75)

    def render(canvas: Canvas) -> None:
        patch = canvas.patch(bottom=view.horizon + 0.02)
        assert patch is not None
        up = np.clip(1 - patch.v / np.float32(view.horizon), 0, 1)
        rise = np.sqrt(up) * np.float32(0.55) + up * np.float32(0.45)
        patch.fill(np.ones((patch.v.size, patch.u.size), bool), view.air + rise * (view.zenith - view.air), "sky")
        across, along = patch.u - np.float32(aside), patch.v - np.float32(above)
        square = across * across + along * along
        patch.tint(np.float32(0.7 * view.low + 0.1) / (1 + square * 30), view.sun)
        if view.low > 0.3:
            patch.tint(step(np.sqrt(square), 0.034, 0.028), np.minimum(view.sun * np.float32(1.6), 1.6))

    return Item(SKY, 2, (), render)


def clouds(view: View, *name: object) -> Item:
    """Return clouds; parts thicker than SEEN are opaque, thinner parts only tint the sky."""
    rng = stream(*name, "clouds")
    noise, much, size = Noise(rng), between(rng, -0.08, 0.3), between(rng, 1.0, 2.2)
    drift, flat = between(rng, 0, 30), between(rng, 0.8, 2.0)

    def render(canvas: Canvas) -> None:
        patch = canvas.patch(bottom=view.horizon + 0.02)
        assert patch is not None
        above = np.maximum(np.float32(view.horizon + 0.10) - patch.v, np.float32(0.02))
        far = np.float32(0.45) / above
        x = (patch.u - np.float32(0.5)) * far * np.float32(2.4 * size) + np.float32(drift)
        y = far * np.float32(flat * size)
        dense = noise.fractal(x, y, 5, 0.55) + np.float32(much)
        toward = noise.fractal(x + np.float32(0.25 * view.side), y + np.float32(0.2), 3, 0.55) + np.float32(much)
        thick = smooth(dense * np.float32(2.6))
        bright = np.clip(np.float32(0.82) + (dense - toward) * np.float32(0.7) - dense * np.float32(0.18), 0.45, 1.15)
        white = (view.sun * np.float32(0.62) + view.around * np.float32(0.5)) * bright
        veil = step(above, 0.34, 0.1) * np.float32(0.5)
        white = white + veil * (view.air * np.float32(1.05) - white)
        seen = thick >= np.float32(SEEN)
        mixed = patch.colour + thick * (white - patch.colour)
        patch.tint(thick * ~seen, white)
        canvas.indirect[patch.rows, patch.columns] |= (thick > 0) & ~seen
        patch.fill(seen, mixed, "cloud")

    return Item(SKY, 1, ("cloud",), render)


def mist(view: View, canvas: Canvas, where: np.ndarray) -> None:
    """Hide the horizon `where` (S, S) it was visible by mist, since it cannot be omitted like an object."""
    patch = canvas.whole()
    down = np.abs(patch.v - np.float32(view.horizon))
    patch.tint(where * step(down, 0.03, 0.0), view.air * rgb(0.99, 0.99, 1.0))
