"""Mountains and hills: skylines of noise, one range behind the other, paler with distance.

Rock is lit by the slope of a ridged noise below the skyline. Snow lies high up and on the lee side. The foot is green.
"""

from dataclasses import dataclass

import numpy as np

from evident.data.render.landscape.canvas import Canvas, rgb
from evident.data.render.landscape.item import DISTANCE, Item
from evident.data.render.landscape.land import COVERS
from evident.data.render.landscape.noise import Array, Noise, between, step, stream
from evident.data.render.landscape.view import View


@dataclass(frozen=True)
class Range:
    """Hold one mountain range, `high` sides of the image above the horizon; `line` and `wood` are shares of it."""

    view: View
    skyline: Noise
    face: Noise
    high: float
    far: float
    peaks: float
    start: float
    line: float  # snow above this height
    wood: float  # green slopes below this height
    rock: Array
    green: Array

    def render(self, canvas: Canvas) -> None:
        """Draw the rock, then the slopes at its foot, the snow at its top and the haze in its valleys."""
        view, high = self.view, self.high
        patch = canvas.patch(top=view.horizon - 1.1 * high, bottom=view.horizon)
        if patch is None:
            return
        crest = self.skyline.line(patch.u[0] * np.float32(self.peaks) + np.float32(self.start), 6, 0.48, ridged=True)
        crest = np.maximum(crest * np.float32(0.62) + np.float32(0.42), np.float32(0.03)) * np.float32(high)
        up = np.float32(view.horizon) - patch.v
        where = (up < crest) & (up > np.float32(-0.01))
        # Gullies run down from the crest: the noise is stretched along the slope.
        across, down = patch.u[0] * np.float32(self.peaks * 5), patch.v[:, 0] * np.float32(9)
        beside = across + np.float32(0.13 if view.side > 0 else -0.13)
        folds = self.face.fractal_over(across, down, 5, 0.62)
        relief = folds - self.face.fractal_over(beside, down + np.float32(0.05), 5, 0.62)
        facing = np.clip(np.float32(0.42) + relief * np.float32(2.6), 0, 1)
        tall = up / np.float32(high) + folds * np.float32(0.16)
        air = np.float32(self.far * 0.22)  # less haze than land at this distance, so that mountains stay visible
        patch.fill(where, view.lit(self.rock * (np.float32(0.85) + folds * np.float32(0.35)), facing, air), "rock")
        foot = where & (tall < np.float32(self.wood))
        patch.fill(foot, view.lit(self.green * (1 + folds * np.float32(0.5)), facing * np.float32(0.8), air), "slope")
        lee = where & (tall - (facing - np.float32(0.4)) * np.float32(0.3) > np.float32(self.line))
        patch.fill(lee, view.lit(rgb(0.93, 0.94, 0.97), facing * np.float32(0.9), air * np.float32(0.8)), "snow")
        patch.tint(where * step(up / np.float32(high), 0.55, 0.0) * np.float32(0.4 * view.hazy), view.air)


def mountains(view: View, snowy: bool, *name: object) -> list[Item]:
    """Return one to three ranges of rock, slopes and, if `snowy`, snow."""
    rng = stream(*name, "mountains")
    count, top = 1 + int(rng.random() * 3), view.horizon * between(rng, 0.4, 0.85)
    line, wood, grey = between(rng, 0.2, 0.62) if snowy else 2.0, between(rng, 0.08, 0.4), between(rng, 0, 1)
    rock = rgb(0.5, 0.46, 0.42) * np.float32(1 - grey) + rgb(0.48, 0.5, 0.54) * np.float32(grey)
    green = rgb(0.3, 0.4, 0.24) if rng.random() < 0.6 else rgb(0.52, 0.46, 0.32)
    ranges = [
        Range(
            view, skyline=Noise(rng), face=Noise(rng), high=top * (1 - 0.34 * k) * between(rng, 0.85, 1.0),
            far=2600.0 / (1 + 1.3 * k) * between(rng, 0.7, 1.1), peaks=between(rng, 1.3, 2.6) * (1 + 0.35 * k),
            start=between(rng, 0, 20), line=line, wood=wood, rock=rock, green=green,
        )
        for k in range(count)
    ]  # fmt: skip
    return [Item(DISTANCE, one.far, ("rock", "slope"), one.render) for one in ranges]


def hills(view: View, cover: str, *name: object) -> list[Item]:
    """Return one to three smooth ranges with the same cover as the land in front of them."""
    rng = stream(*name, "hills")
    count = 1 + int(rng.random() * 3)
    high = view.horizon * between(rng, 0.1, 0.34)
    return [_hill(view, Noise(rng), cover, high * (1 - 0.3 * k), 520.0 / (1 + k), rng) for k in range(count)]


def _hill(view: View, noise: Noise, cover: str, high: float, far: float, rng: np.random.Generator) -> Item:
    wide, start = between(rng, 0.8, 1.8), between(rng, 0, 20)
    material, colour = COVERS[cover]

    def render(canvas: Canvas) -> None:
        x = canvas.places * np.float32(wide) + np.float32(start)
        crest = (noise.line(x, 4, 0.4) * np.float32(0.5) + np.float32(0.5)) * np.float32(high)
        patch = canvas.patch(top=view.horizon - high, bottom=view.horizon)
        if patch is None:
            return
        up = np.float32(view.horizon) - patch.v
        where = (up < crest) & (up > np.float32(-0.01))
        spots = noise.fractal_over(patch.u[0] * np.float32(14), patch.v[:, 0] * np.float32(40), 3, 0.7)
        slope = np.gradient(crest)[None] * np.float32(canvas.side) * np.float32(-2.2 if view.side > 0 else 2.2)
        facing = np.clip(np.float32(0.5) + slope[:, patch.columns] + spots * np.float32(0.25), 0, 1)
        dappled = np.float32(0.85) + spots * np.float32(0.2)
        patch.fill(where, view.lit(COVERS["soil"][1] * dappled, facing, far), "soil")
        patch.fill(where, view.lit(colour * dappled, facing, far), material)

    return Item(DISTANCE, far, (), render)
