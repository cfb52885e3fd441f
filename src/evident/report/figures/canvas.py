"""Images in rows and columns on one canvas, which a figure shows pixel by pixel.

One axes for all images is many times faster than an axes for each.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

Picture = NDArray[np.float64]
IMAGES = 4  # rows of a figure of images: more do not fit on a page, and the gallery has all that are kept


def picture(image: Tensor) -> Picture:
    """Convert an image uint8 (3, H, W) to floats (H, W, 3) in [0, 1]."""
    return image.permute(1, 2, 0).numpy() / 255


def grid(strips: list[list[Picture]], gap: int = 6) -> tuple[Picture, int, int]:
    """Place rows of pictures of one size on a white canvas, `gap` pixels apart.

    Returns the canvas (H, W, 3) and the steps from one picture to the next, down and across.
    """
    height, width = strips[0][0].shape[:2]
    down, across = height + gap, width + gap
    canvas = np.ones((len(strips) * down - gap, len(strips[0]) * across - gap, 3))
    for row, strip in enumerate(strips):
        for column, shown in enumerate(strip):
            canvas[row * down : row * down + height, column * across : column * across + width] = shown[..., :3]
    return canvas, down, across


def rounded(scale: float) -> float:
    """Round figure pixels for each canvas pixel to a whole number, or to one over a whole number.

    Any other scale blurs or repeats some pixels only, which looks like an artefact of strides.
    """
    return float(round(scale)) if scale >= 1 else 1 / round(1 / scale)


def canvas_figure(
    canvas: Picture, scale: float, left: float, top: float, dpi: int, bottom: float = 0
) -> tuple[Figure, Axes]:
    """Draw a canvas (H, W, 3) with margins in inches for text; the axes have its pixels as units.

    `scale` is the wanted number of figure pixels for each canvas pixel, which is `rounded`.
    """
    scale = rounded(scale)
    height, width = canvas.shape[0] * scale, canvas.shape[1] * scale
    margin_left, margin_top = round(left * dpi), round(top * dpi)
    figure = pixel_figure(margin_left + width, margin_top + height + round(bottom * dpi), dpi)
    axes = pixel_axes(figure, margin_left, margin_top, width, height)
    # "auto" averages over the canvas pixels of a figure pixel.
    axes.imshow(canvas, interpolation="nearest" if scale >= 1 else "auto", aspect="auto")
    axes.autoscale(False)
    return figure, axes


def pixel_figure(width: float, height: float, dpi: int) -> Figure:
    """Return an empty figure of `width` x `height` pixels, rounded up."""
    # Matplotlib rounds down: the half pixel prevents a rounding error from removing a whole pixel.
    return Figure(figsize=((np.ceil(width) + 0.5) / dpi, (np.ceil(height) + 0.5) / dpi), dpi=dpi)


def pixel_axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes without frame at a place given in pixels, from the top left corner of the figure."""
    whole_width, whole_height = figure.bbox.size
    bottom = int(whole_height) - top - height
    axes = figure.add_axes((left / whole_width, bottom / whole_height, width / whole_width, height / whole_height))
    axes.set_axis_off()
    return axes
