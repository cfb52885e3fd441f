"""How one explanation is drawn: the heatmap over the greyed image, the true evidence outlined."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor


def draw_image(axes: Axes, image: Tensor) -> None:
    """The image uint8 (3, H, W) without ticks and frame."""
    axes.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
    axes.set_axis_off()


def draw_heatmap(axes: Axes, image: Tensor, heatmap: Tensor, mask: Tensor | None) -> None:
    """The heatmap (H, W), scaled to its own range, in jet over the grey image, as VEBI shows it."""
    grey = image.float().mean(0).numpy() / 255
    values = heatmap.numpy()
    span = values.max() - values.min()
    scaled = (values - values.min()) / span if span > 0 else np.zeros_like(values)
    colour = plt.get_cmap("jet")(scaled)[..., :3]
    axes.imshow(0.35 * grey[..., None] + 0.65 * colour, interpolation="nearest", vmin=0, vmax=1)
    if mask is not None and mask.any() and not mask.all():
        axes.contour(mask.numpy(), levels=[0.5], colors="white", linewidths=0.8)
    axes.set_axis_off()


def overlay(examples: dict[str, Tensor]) -> Figure:
    """Each example image above its heatmap."""
    images, heatmaps, masks = examples["images"], examples["heatmaps"], examples.get("masks")
    figure = Figure(figsize=(1.4 * len(images), 2.8), layout="constrained")
    grid = figure.subplots(2, len(images), squeeze=False)
    for index in range(len(images)):
        draw_image(grid[0, index], images[index])
        draw_heatmap(grid[1, index], images[index], heatmaps[index], None if masks is None else masks[index])
    return figure
