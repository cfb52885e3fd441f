"""The camera and the light: perspective over flat ground, sun, sky and haze.

The ground is a plane `height` metres below the camera. v = horizon + height / Z is the row of a position Z metres away,
u = 1/2 + X / Z is its column, and one metre there is 1 / Z of the image's side.
"""

from dataclasses import dataclass

import numpy as np

from evident.data.render.landscape.canvas import Patch, rgb
from evident.data.render.landscape.noise import Array, between, stream

NEAREST = 1e-4  # lowest v - horizon, so that no distance is infinite


@dataclass(frozen=True)
class View:
    """Hold the camera, the light and the haze of one landscape; colours are linear, (3, 1, 1)."""

    horizon: float
    height: float
    side: float  # position of the sun: -1 left, 1 right
    sun: Array
    around: Array
    air: Array
    zenith: Array
    low: float  # 1 for a sun near the horizon, 0 for a high one
    hazy: float

    def row(self, far: float) -> float:
        """Return the row of the ground `far` metres away."""
        return self.horizon + self.height / far

    def far(self, row: float) -> float:
        """Return the distance in metres of the ground in a row."""
        return self.height / max(row - self.horizon, NEAREST)

    def column(self, across: float, far: float) -> float:
        """Return the column of a position on the ground."""
        return 0.5 + across / far

    def ground(self, patch: Patch) -> tuple[Array, Array]:
        """Return X (h, w) and Z (h, 1), in metres, of the ground at each sample."""
        far = np.float32(self.height) / np.maximum(patch.v - np.float32(self.horizon), np.float32(NEAREST))
        return (patch.u - np.float32(0.5)) * far, far

    def lit(self, albedo: Array, facing: Array | float, far: Array | np.floating | float) -> Array:
        """Return the colour (3, h, w) of a surface seen through haze; `facing` in [0, 1] scales the sunlight."""
        colour = albedo * (self.around + self.sun * np.float32(1) * facing)
        veil = np.float32(self.hazy) * (far / (far + np.float32(160)))
        return colour + veil * (self.air - colour)


def view(*name: object) -> View:
    """Draw a view from a name."""
    rng = stream(*name, "view")
    low = float(rng.random()) * float(rng.random())
    grey = max(0.0, between(rng, -0.8, 0.6))  # overcast

    def mixed(noon: Array, dusk: Array, overcast: Array) -> Array:
        clear = noon + np.float32(low) * (dusk - noon)
        return clear + np.float32(grey) * (overcast - clear)

    return View(
        horizon=between(rng, 0.3, 0.54),
        height=between(rng, 3.5, 8.0),
        side=between(rng, -1, 1),
        sun=mixed(rgb(1.0, 0.97, 0.9), rgb(1.1, 0.75, 0.45), rgb(0.6, 0.61, 0.63)),
        around=mixed(rgb(0.55, 0.6, 0.7), rgb(0.5, 0.5, 0.62), rgb(0.68, 0.7, 0.73)),
        air=mixed(rgb(0.8, 0.88, 0.95), rgb(1.0, 0.74, 0.5), rgb(0.8, 0.82, 0.84)),
        zenith=mixed(rgb(0.25, 0.48, 0.84), rgb(0.3, 0.4, 0.66), rgb(0.62, 0.66, 0.72)),
        low=low,
        hazy=between(rng, 0.45, 0.95),
    )
