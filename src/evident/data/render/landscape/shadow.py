"""The soft shadow at the foot of objects that stand on the ground."""

import numpy as np

from evident.data.render.landscape.canvas import Canvas
from evident.data.render.landscape.noise import smooth
from evident.data.render.landscape.view import View


def shadow(view: View, canvas: Canvas, middle: float, base: float, wide: float, metre: float) -> None:
    """Darken an ellipse that extends about `wide` to both sides of the column `middle`, shifted away from the sun."""
    long = wide * (1.3 + 0.8 * view.low)
    flat = max(long * min(0.42, max(0.06, (base - view.horizon) * 0.9)), 0.3 * metre)
    middle -= 0.7 * view.side * wide
    patch = canvas.patch(middle - long, base - flat, middle + long, base + flat)
    if patch is None:
        return
    a, b = (patch.u - np.float32(middle)) / np.float32(long), (patch.v - np.float32(base)) / np.float32(flat)
    below = patch.v > np.float32(view.horizon)
    patch.shade(smooth((1 - a * a - b * b) * np.float32(1.4)) * np.float32(0.4) * below)
