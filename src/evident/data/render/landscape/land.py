"""The land: soil with its cover, and fields."""

import numpy as np

from evident.data.render.landscape.canvas import Canvas, rgb
from evident.data.render.landscape.item import FLAT, LAND, Item
from evident.data.render.landscape.noise import Array, Noise, between, step, stream, wave
from evident.data.render.landscape.shapes import Shape
from evident.data.render.landscape.view import View

COVERS = {
    "soil": ("soil", rgb(0.44, 0.36, 0.29)),
    "grass": ("grass", rgb(0.38, 0.52, 0.22)),
    "dry": ("dry_grass", rgb(0.72, 0.6, 0.36)),
    "sand": ("sand", rgb(0.86, 0.75, 0.56)),
}
GRAINS = (0.35, 1.6, 7.0, 30.0)  # metres


def texture(view: View, noise: Noise, x: Array, z: Array, side: int) -> Array:
    """Return noise in about [-1, 1] over the ground; each scale fades where the pixels cannot resolve it."""
    footprint = z * z / np.float32(view.height * side)
    total = np.zeros(x.shape, np.float32)
    for k, grain in enumerate(GRAINS):
        clear = np.float32(grain) / (np.float32(grain) + 3 * footprint)
        total += clear * noise.at(x / np.float32(grain) + np.float32(3.7 * k), z / np.float32(grain))
    return total * np.float32(0.5)


def land(view: View, cover: str, *name: object) -> Item:
    """Return the whole ground below the horizon."""
    rng = stream(*name, "land")
    noise, hue = Noise(rng), between(rng, -1, 1)
    material, colour = COVERS[cover]
    colour = colour * (1 + np.float32(0.18 * hue) * np.array([1, 0, -0.6], np.float32)[:, None, None])
    dune = between(rng, 0, 1) if cover == "sand" else 0.0

    def render(canvas: Canvas) -> None:
        patch = canvas.patch(top=view.horizon)
        assert patch is not None
        x, z = view.ground(patch)
        grain = texture(view, noise, x, z, canvas.side)
        if cover in ("grass", "dry"):  # near blades of grass are seen from the side
            near = step(z, 40, 8) * np.float32(0.5)
            grain = grain + near * noise.over(patch.u[0] * np.float32(150), patch.v[:, 0] * np.float32(55))
        ripple = wave((z + noise.at(x / 6, z / 6) * 3) / np.float32(9)) - np.float32(0.5)
        shade = np.float32(0.95) + grain * np.float32(0.38 if cover != "sand" else 0.16) + ripple * np.float32(dune) / 5
        where = patch.v >= np.float32(view.horizon)
        where = np.broadcast_to(where, shade.shape)
        patch.fill(where, view.lit(COVERS["soil"][1] * shade, 0.75, z), "soil")
        warm = np.array([0.12, 0, -0.05], np.float32)[:, None, None] * noise.at(x / 18, z / 18)
        patch.fill(where, view.lit((colour + warm * colour) * shade, 0.75, z), material)

    return Item(LAND, 0, (), render)


def fields(view: View, shapes: list[Shape], *name: object) -> list[Item]:
    """Return fields with furrows or rows of crops, which are straight on the ground and converge in the image."""
    items = []
    for number, shape in enumerate(shapes):
        rng = stream(*name, "field", number)
        turn, wide = between(rng, -0.7, 0.7), between(rng, 1.3, 2.8)
        crop = (rgb(0.36, 0.27, 0.2), rgb(0.42, 0.55, 0.2), rgb(0.83, 0.7, 0.32), rgb(0.66, 0.68, 0.25))
        bright = crop[int(rng.random() * 4)]
        items.append(_field(view, shape, bright, turn, wide, Noise(rng)))
    return items


def _field(view: View, shape: Shape, bright: Array, turn: float, wide: float, noise: Noise) -> Item:
    def render(canvas: Canvas) -> None:
        patch = canvas.patch(top=view.horizon)
        assert patch is not None
        x, z = view.ground(patch)
        along = (x + z * np.float32(turn)) / np.float32(wide)
        clear = np.float32(wide) / (np.float32(wide) + 4 * z / np.float32(canvas.side))
        furrow = (wave(along) - np.float32(0.5)) * clear
        shade = np.float32(0.92) + np.float32(0.62) * furrow + texture(view, noise, x, z, canvas.side) * np.float32(0.2)
        patch.fill(shape(x, z) & patch.shows("soil", "grass", "dry_grass"), view.lit(bright * shade, 0.75, z), "field")

    return Item(FLAT, 9000, ("field",), render)
