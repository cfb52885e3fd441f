"""Scenes with the contributions of positions and attributes to their score (Marcos et al. 2019)."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from evident.report.figures.heatmaps import draw_image

ATTRIBUTES_SHOWN = 8
RAISES, LOWERS = "#4d9221", "#c51b7d"  # green and pink of the colour map PiYG
ROW = 2.3  # inches


class SceneExplanation(NamedTuple):
    """Hold one scene and its explanation.

    `image` uint8 (3, H, W) with its `title`; signed `maps` (h, w) by name, of which the first two are drawn. Of the K
    attributes called `names`: `attribute_maps` (K, h, w), non-negative; `contributions` (K,), in votes; `visible` bool
    (K,), whether the image shows them, None if unknown.
    """

    image: Tensor
    title: str
    maps: Mapping[str, Tensor]
    attribute_maps: Tensor
    contributions: Tensor
    names: Sequence[str]
    visible: Tensor | None = None


def scenes_figure(scenes: Sequence[SceneExplanation]) -> Figure:
    """Draw one row per scene: the image, its maps from pink to green, and the attributes that contribute most.

    Each attribute is shown by its map in grey and its contribution in votes. Its frame is green where it raises the
    score and pink where it lowers it, with a width proportional to the contribution. Attributes that are known to be
    absent from the image have their names in italics.
    """
    figure = Figure(figsize=(7.4, ROW * len(scenes)), dpi=100)
    rows = figure.subfigures(len(scenes), 1, squeeze=False)[:, 0]
    for row, scene in zip(rows, scenes, strict=True):
        _explanation(row, scene)
    return figure


def _explanation(figure: SubFigure, scene: SceneExplanation) -> None:
    grid = figure.add_gridspec(
        2, 8, width_ratios=[1.12] * 2 + [1.06, 0.06] + [1] * 4, wspace=0.14, hspace=0.3,
        left=0.01, right=0.985, top=0.9, bottom=0.02,
    )  # fmt: skip
    image = figure.add_subplot(grid[:, :2])
    draw_image(image, scene.image)
    image.set_title(scene.title, fontsize=8, pad=4)
    for row, (name, values) in enumerate([*scene.maps.items()][:2]):
        axes = figure.add_subplot(grid[row, 2])
        draw_signed(axes, scene.image, values)
        axes.set_title(name.replace(" of ", "\n") if len(name) > 18 else name, fontsize=6.5, pad=2)
    order = scene.contributions.abs().argsort(descending=True)[:ATTRIBUTES_SHOWN].tolist()
    largest = scene.contributions.abs().max().clamp(min=1e-9)
    for position, attribute in enumerate(order):
        axes = figure.add_subplot(grid[position // 4, 4 + position % 4])
        contribution = scene.contributions[attribute].item()
        values = scene.attribute_maps[attribute]
        highest = values.max().clamp(min=1e-9).item()
        axes.imshow(values.numpy(), cmap="gray", vmin=0, vmax=highest, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        absent = scene.visible is not None and not scene.visible[attribute]
        title = axes.set_title(f"{scene.names[attribute].replace('_', ' ')} {contribution:+.2f}", fontsize=6, pad=3)
        if absent:
            title.set(fontstyle="italic", color="0.5")
        colour = RAISES if contribution > 0 else LOWERS if contribution < 0 else "0.7"
        for spine in axes.spines.values():
            spine.set(color=colour, linewidth=max(0.3, 4.5 * abs(contribution) / largest.item()))


def draw_signed(axes: Axes, image: Tensor, values: Tensor) -> None:
    """Draw a map (h, w) over the grey image, from pink (lowers the score) over white to green (raises it).

    The limits are symmetric, at the 99.5th percentile of the absolute values.
    """
    limit = float(np.quantile(values.abs().numpy(), 0.995)) or float(values.abs().max()) or 1.0
    colours = ScalarMappable(Normalize(-limit, limit), "PiYG").to_rgba(values.numpy())[..., :3]
    height, width = image.shape[-2:]
    rows = (np.arange(height) * values.shape[0]) // height
    columns = (np.arange(width) * values.shape[1]) // width
    grey = image.float().mean(0).numpy()[..., None] / 255
    # White stays as bright as the image, so that things in it can be recognised.
    axes.imshow(colours[rows][:, columns] * (0.55 + 0.45 * grey), interpolation="auto")
    axes.set_axis_off()
