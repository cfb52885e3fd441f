"""Artefacts of strides in heatmaps: in a spectrum, a grid stands out as bright points."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from evident.report.figures.canvas import pixel_axes, pixel_figure
from evident.report.tables.titles import UNTITLED, title_of

COLUMNS = 9
SIDE = 150  # pixels: a heatmap is magnified by the largest whole number that stays below
STEP = 165  # pixels from one column to the next, at least
TITLE, GAP = 32, 8  # pixels
DPI = 110


def spectra_figure(
    examples: dict[str, dict[str, Tensor]], energy: dict[str, float], titles: Mapping[str, str] = UNTITLED
) -> Figure:
    """Draw one heatmap of every explainer above the mean spectrum of all its `heatmaps` (N, H, W).

    `energy` is the mean grid energy by explainer. The spectrum is the logarithm of the power, with frequency zero in
    the middle and periods of two pixels at the borders; a constant heatmap has none. Explainers are called by `titles`.
    """
    heatmaps = {name: kept["heatmaps"].double().numpy() for name, kept in examples.items()}
    height, width = next(iter(heatmaps.values())).shape[1:]
    scale = max(1, SIDE // max(height, width))
    height, width = height * scale, width * scale
    columns = min(COLUMNS, len(heatmaps))
    across, down = max(STEP, width + GAP), TITLE + 2 * (height + GAP)
    figure = pixel_figure(columns * across, TITLE // 2 + -(-len(heatmaps) // columns) * down, DPI)
    for place, (name, values) in enumerate(heatmaps.items()):
        row, column = divmod(place, columns)
        left, top = column * across + (across - width) // 2, TITLE // 2 + row * down + TITLE
        shown = values[len(values) // 2]
        brightest = np.quantile(shown, 0.995) or shown.max() or 1  # as in heatmap_colours
        upper = pixel_axes(figure, left, top, width, height)
        upper.imshow(shown, cmap="gray", vmin=0, vmax=brightest, interpolation="nearest", aspect="auto")
        upper.set_title(f"{title_of(name, titles)}\n{energy[name]:.4f}", fontsize=7, pad=3, parse_math=False)
        lower = pixel_axes(figure, left, top + height + GAP, width, height)
        lower.imshow(_spectrum(values), cmap="magma", vmin=-6, vmax=0, interpolation="nearest", aspect="auto")
    title = "a heatmap, and the mean logarithm of its power by frequency; the number is the grid energy"
    figure.suptitle(title, fontsize=8, y=0.995, va="top")
    return figure


def _spectrum(heatmaps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log10 of the power (H, W) relative to its maximum, averaged over heatmaps (N, H, W)."""
    # Without the window, the borders would draw a bright cross.
    height, width = (np.hanning(size) for size in heatmaps.shape[1:])
    centred = (heatmaps - heatmaps.mean((1, 2), keepdims=True)) * height[:, None] * width
    power = np.abs(np.fft.fftshift(np.fft.fft2(centred), axes=(1, 2))) ** 2
    power /= power.max((1, 2), keepdims=True).clip(1e-300)
    return np.log10(power.clip(1e-12)).mean(0)
