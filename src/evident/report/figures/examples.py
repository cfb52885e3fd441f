"""The heatmaps of all explainers side by side."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from evident.report.figures.canvas import canvas_figure, grid, picture
from evident.report.figures.heatmaps import heatmap_colours

GAP = 4  # pixels between two images
INCH = 1.05  # step from one image to the next
DPI = 110
CAPTION = 1.6  # inches for the captions of rows


def examples_figure(examples: dict[str, dict[str, Tensor]], captions: Sequence[str] = ()) -> Figure:
    """Draw one row per image and one column per explainer, with the ground truth outlined in white.

    `examples` has for each explainer `images` uint8 (N, 3, H, W), `heatmaps` and, if they are known, `masks` (N, H, W).
    `captions`, one for each image, stand left of the rows.
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
    figure, axes = canvas_figure(canvas, INCH * DPI / down, left=CAPTION if captions else 0, top=0.4, dpi=DPI)
    for column, kept in enumerate(examples.values(), start=1):
        for row, mask in enumerate(kept.get("masks", [])):
            if mask.any() and not mask.all():
                xs, ys = np.arange(width) + column * across, np.arange(height) + row * down
                axes.contour(xs, ys, mask.numpy(), levels=[0.5], colors="white", linewidths=0.8)
    for row, caption in enumerate(captions):
        middle = row * down + height / 2
        # Matplotlib would set what is between two dollars as a formula.
        axes.text(
            -across * 0.05,
            middle,
            caption,
            parse_math=False,
            fontsize=7,
            ha="right",
            va="center",
            linespacing=1.3,
            clip_on=False,
        )
    for column, name in enumerate(["image", *examples]):
        centre = column * across + width / 2
        axes.text(centre, -GAP, _two_lines(name), fontsize=8, ha="center", va="bottom", linespacing=1.1)
    return figure


def _two_lines(name: str) -> str:
    """Break a name into two lines of about the same length."""
    words = name.split("_")
    splits = [(" ".join(words[:cut]), " ".join(words[cut:])) for cut in range(1, len(words))]
    return "\n".join(min(splits, key=lambda lines: max(map(len, lines)))) if splits else name
