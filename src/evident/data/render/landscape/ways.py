"""Strips over the ground: roads, railroads, streams."""

import numpy as np

from evident.data.render.landscape.canvas import Canvas, rgb
from evident.data.render.landscape.item import FLAT, Item
from evident.data.render.landscape.land import texture
from evident.data.render.landscape.noise import Noise, between, smooth, step, stream, wave
from evident.data.render.landscape.shapes import Way
from evident.data.render.landscape.view import View

FARTHEST = 380.0  # metres; strips end there


def road(view: View, way: Way, *name: object) -> Item:
    """Return a road of asphalt with lines, or of gravel with wheel tracks."""
    rng = stream(*name, "road")
    noise, paved = Noise(rng), rng.random() < 0.7
    tone = rgb(0.42, 0.42, 0.44) * np.float32(between(rng, 0.7, 1.25)) if paved else rgb(0.72, 0.64, 0.52)
    dashed = rng.random() < 0.7

    def render(canvas: Canvas) -> None:
        patch = canvas.patch(top=view.horizon)
        assert patch is not None
        x, z = view.ground(patch)
        aside = way.offset(x, z)
        along = x if way.across else z
        wide = np.abs(aside)
        where = (wide < 1) & (z < np.float32(FARTHEST))
        shade = np.float32(0.95) + texture(view, noise, x, z, canvas.side) * np.float32(0.16 if paved else 0.3)
        if not paved:
            shade = shade - np.float32(0.16) * step(np.abs(wide - np.float32(0.5)), 0.25, 0.1)
        patch.fill(where, view.lit(tone * shade, 0.75, z), "road")
        if paved:
            thick = np.float32(0.035) + z / np.float32(way.half * canvas.side) * np.float32(0.35)
            dash = (wave(along / np.float32(9)) > np.float32(0.4)) if dashed else np.True_
            line = where & (((wide < thick) & dash) | (np.abs(wide - np.float32(0.88)) < thick))
            strength = np.clip(np.float32(0.07) / thick, 0, 1) * np.float32(0.85)
            patch.tint(line * strength, view.lit(rgb(0.92, 0.91, 0.86), 0.75, z))

    return Item(FLAT, 8000, ("road",), render)


def railroad(view: View, way: Way, *name: object) -> Item:
    """Return a railroad: ballast, sleepers and two shiny rails."""
    rng = stream(*name, "railroad")
    noise = Noise(rng)
    gravel = rgb(0.5, 0.46, 0.43) * np.float32(between(rng, 0.75, 1.15))

    def render(canvas: Canvas) -> None:
        patch = canvas.patch(top=view.horizon)
        assert patch is not None
        x, z = view.ground(patch)
        aside = way.offset(x, z)
        along = x if way.across else z
        wide = np.abs(aside)
        where = (wide < 1) & (z < np.float32(FARTHEST))
        shade = np.float32(0.95) + texture(view, noise, x, z, canvas.side) * np.float32(0.5)
        patch.fill(where, view.lit(gravel * shade, 0.75, z), "ballast")
        pitch = np.float32(1.1)
        clear = np.clip(pitch * np.float32(view.height * canvas.side) / (3 * z * z), 0, 1) if not way.across else 1.0
        sleeper = where & (wide < np.float32(0.72)) & (wave(along / pitch) > np.float32(0.5))
        patch.tint(sleeper * np.float32(0.75) * clear, view.lit(rgb(0.3, 0.23, 0.19), 0.75, z))
        depth = z * z / np.float32(view.height) if way.across else z
        thick = np.float32(0.045) + depth / np.float32(way.half * canvas.side) * np.float32(0.6)
        rail = where & (np.abs(wide - np.float32(0.42)) < thick)
        patch.fill(rail, view.lit(rgb(0.72, 0.7, 0.7), 0.85, z), "rail")

    return Item(FLAT, 7000, ("ballast", "rail"), render)


def brook(view: View, way: Way, *name: object) -> Item:
    """Return running water: blue-green, with white streaks along the current."""
    rng = stream(*name, "stream")
    noise, rush = Noise(rng), between(rng, 0.0, 0.35)

    def render(canvas: Canvas) -> None:
        patch = canvas.patch(top=view.horizon)
        assert patch is not None
        x, z = view.ground(patch)
        aside = way.offset(x, z)
        along = x if way.across else z
        wide = np.abs(aside)
        bank = (np.abs(aside) < np.float32(1.16)) & (z < np.float32(FARTHEST))
        where = (wide < 1) & bank
        clear = np.float32(1) / (1 + z / np.float32(60))
        streak = noise.fractal(aside * 3, along / np.float32(3.5), 4, 0.75)
        patch.shade(bank * np.float32(0.3))
        depth = smooth(np.float32(1.25) - wide)
        blue = rgb(0.33, 0.5, 0.56) * (1 - depth) + rgb(0.16, 0.36, 0.46) * depth
        mirrored = blue * np.float32(0.75) + view.air * np.float32(0.16) * (np.float32(0.6) + streak)
        patch.fill(where, view.lit(mirrored, 0.7, z), "stream")
        foam = step(streak, 0.5 - rush, 0.75 - rush) * where * (np.float32(0.3) + np.float32(0.55) * clear)
        patch.tint(foam, view.lit(rgb(0.95, 0.97, 0.98), 0.75, z))

    return Item(FLAT, 8500, ("stream",), render)
