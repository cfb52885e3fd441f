"""Stride artefacts to be seen: a heatmap from near, and the spectrum in which a grid stands out as bright points."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

COLUMNS = 9


def spectra_figure(examples: dict[str, dict[str, Tensor]], energy: dict[str, float]) -> Figure:
    """Each explainer's heatmap of one example above the mean spectrum of all its examples.

    `energy` is the mean grid energy by explainer. The spectrum is the logarithm of the power, zero frequency in the
    middle, the ends of an axis at a period of two pixels; a constant heatmap has none.
    """
    names = list(examples)
    blocks = -(-len(names) // COLUMNS)
    columns = min(COLUMNS, len(names))
    figure = Figure(figsize=(1.5 * columns, 3.35 * blocks), dpi=110, layout="constrained")
    grid = figure.subplots(2 * blocks, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for place, name in enumerate(names):
        row, column = divmod(place, columns)
        heatmaps = examples[name]["heatmaps"].double().numpy()
        shown = heatmaps[len(heatmaps) // 2]
        brightest = np.quantile(shown, 0.995) or shown.max() or 1  # as in heatmap_colours
        grid[2 * row, column].imshow(shown, cmap="gray", vmin=0, vmax=brightest, interpolation="nearest")
        grid[2 * row, column].set_title(f"{name}\n{energy[name]:.4f}", fontsize=7)
        spectrum = _spectrum(heatmaps)
        grid[2 * row + 1, column].imshow(spectrum, cmap="magma", vmin=-6, vmax=0, interpolation="nearest")
    title = "a heatmap, and the mean logarithm of its power by frequency; the number is the grid energy"
    figure.suptitle(title, fontsize=8)
    return figure


def _spectrum(heatmaps: NDArray[np.float64]) -> NDArray[np.float64]:
    """log10 of the power (H, W) in the highest one's units, mean over heatmaps (N, H, W)."""
    # A window, or else the borders draw a bright cross.
    height, width = (np.hanning(size) for size in heatmaps.shape[1:])
    centred = (heatmaps - heatmaps.mean((1, 2), keepdims=True)) * height[:, None] * width
    power = np.abs(np.fft.fftshift(np.fft.fft2(centred), axes=(1, 2))) ** 2
    power /= power.max((1, 2), keepdims=True).clip(1e-300)
    return np.log10(power.clip(1e-12)).mean(0)
