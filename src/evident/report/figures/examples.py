"""The heatmaps of all explainers side by side."""

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from evident.report.figures.canvas import canvas_figure, grid, picture
from evident.report.figures.heatmaps import heatmap_colours

GAP = 4  # pixels between two images
INCH = 1.05  # step from one image to the next
DPI = 110


def examples_figure(examples: dict[str, dict[str, Tensor]]) -> Figure:
    """Draw one row per image and one column per explainer, with the ground truth outlined in white.

    `examples` has for each explainer `images` uint8 (N, 3, H, W), `heatmaps` and, if they are known, `masks` (N, H, W).
    """
    first = next(iter(examples.values()))
    count, _, height, width = first["images"].shape
    strips = [
        [
            picture(first["images"][row]),
            *(heatmap_colours(kept["images"][row], kept["heatmaps"][row]) for kept in examples.values()),
        ]
        for row in range(count)
    ]
    canvas, down, across = grid(strips, GAP)
    figure, axes = canvas_figure(canvas, INCH * DPI / down, left=0, top=0.4, dpi=DPI)
    for column, kept in enumerate(examples.values(), start=1):
        for row, mask in enumerate(kept.get("masks", [])):
            if mask.any() and not mask.all():
                xs, ys = np.arange(width) + column * across, np.arange(height) + row * down
                axes.contour(xs, ys, mask.numpy(), levels=[0.5], colors="white", linewidths=0.8)
    for column, name in enumerate(["image", *examples]):
        centre = column * across + width / 2
        axes.text(centre, -GAP, _two_lines(name), fontsize=8, ha="center", va="bottom", linespacing=1.1)
    return figure


def _two_lines(name: str) -> str:
    """Break a name into two lines of about the same length."""
    words = name.split("_")
    splits = [(" ".join(words[:cut]), " ".join(words[cut:])) for cut in range(1, len(words))]
    return "\n".join(min(splits, key=lambda lines: max(map(len, lines)))) if splits else name
