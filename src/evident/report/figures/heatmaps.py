"""One explanation: the heatmap over the grey image, the ground truth outlined."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor


def draw_image(axes: Axes, image: Tensor) -> None:
    """Draw an image uint8 (3, H, W) without ticks and frame."""
    axes.imshow(image.permute(1, 2, 0).numpy(), interpolation="auto")
    axes.set_axis_off()


def heatmap_colours(image: Tensor, heatmap: Tensor) -> NDArray[np.float64]:
    """Return a heatmap (H, W) as RGB (H, W, 3) over the grey image, from its lowest value to its 99.5th percentile.

    The colours are those of the gallery: equal steps look equal, also to colour-blind readers, while the bands of jet,
    which VEBI's figures have, look like edges. The percentile is used because a gradient has a few very large values;
    scaled to the maximum, all its other pixels would be dark.
    """
    values = heatmap.numpy()
    low, high = values.min(), np.quantile(values, 0.995)
    high = high if high > low else values.max()
    scaled = ((values - low) / (high - low)).clip(0, 1) if high > low else np.zeros_like(values)
    return mixed(scaled, image.float().mean(0).numpy() / 255)


def mixed(levels: NDArray[np.float64], grey: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return levels (H, W) in [0, 1] as colours (H, W, 3) over a grey image (H, W) in [0, 1]."""
    return 0.35 * grey[..., None] + 0.65 * plt.get_cmap("magma")(levels)[..., :3]


def draw_heatmap(axes: Axes, image: Tensor, heatmap: Tensor, mask: Tensor | None) -> None:
    """Draw a heatmap (H, W) over its image, with the mask (H, W) outlined in white."""
    axes.imshow(heatmap_colours(image, heatmap), interpolation="auto")
    if mask is not None and mask.any() and not mask.all():
        axes.contour(mask.numpy(), levels=[0.5], colors="white", linewidths=0.8)
    axes.set_axis_off()


def overlay(examples: dict[str, Tensor]) -> Figure:
    """Draw each of the `images` above its heatmap, of `heatmaps` and, if they are known, `masks` (N, H, W)."""
    images, heatmaps, masks = examples["images"], examples["heatmaps"], examples.get("masks")
    figure = Figure(figsize=(1.4 * len(images), 2.8), layout="constrained")
    grid = figure.subplots(2, len(images), squeeze=False)
    for index in range(len(images)):
        draw_image(grid[0, index], images[index])
        draw_heatmap(grid[1, index], images[index], heatmaps[index], None if masks is None else masks[index])
    return figure
