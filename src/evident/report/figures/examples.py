"""The heatmaps of all explainers side by side."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from evident.report.figures.axes import text_width
from evident.report.figures.canvas import Picture, canvas_figure, grid, picture, pixel_axes, rounded
from evident.report.figures.heatmaps import heatmap_colours, mixed

GAP = 4  # pixels between two images
INCH = 1.05  # step from one image to the next
DPI = 110
TITLE, BAR = 0.52, 0.42  # inches for the names of explainers, and for the colour bar
CAPTION = 7  # size of a caption in points
LINE = 18  # characters of a line of an explainer's name
COLUMNS = 11  # explainers side by side; more go below, with the images again


def examples_figure(examples: Mapping[str, Mapping[str, Tensor]], captions: Sequence[str] = ()) -> Figure:
    """Draw one row per image and one column per explainer, with the ground truth outlined in white.

    `examples` has for each explainer `images` uint8 (N, 3, H, W), `heatmaps` and, if they are known, `masks` (N, H, W).
    `captions`, one for each image, stand left of the rows.
    """
    names = list(examples)
    blocks = -(-len(names) // COLUMNS)
    columns = -(-len(names) // blocks)
    height, width = next(iter(examples.values()))["images"].shape[2:]
    down, across = height + GAP, width + GAP
    scale = rounded(INCH * DPI / down)
    header = round(TITLE * DPI / scale)  # in pixels of the canvas, as everything below
    parts = [names[start : start + columns] for start in range(0, len(names), columns)]
    strips = [_canvas({name: examples[name] for name in part}, columns) for part in parts]
    spacer = np.ones((header, strips[0].shape[1], 3))
    canvas = np.concatenate([each for strip in strips for each in (spacer, strip)][1:])
    left = 0.15 + text_width((line for caption in captions for line in caption.split("\n")), CAPTION, DPI)
    figure, axes = canvas_figure(canvas, scale, left=left, top=TITLE, dpi=DPI, bottom=BAR)
    text: dict[str, Any]
    for number, part in enumerate(parts):
        top = number * (len(strips[0]) + header)
        for column, name in enumerate(part, start=1):
            for row, mask in enumerate(examples[name].get("masks", [])):
                if mask.any() and not mask.all():
                    xs, ys = np.arange(width) + column * across, np.arange(height) + row * down + top
                    axes.contour(xs, ys, mask.numpy(), levels=[0.5], colors="white", linewidths=0.8)
        for row, caption in enumerate(captions):
            text = {"fontsize": CAPTION, "ha": "right", "va": "center", "linespacing": 1.3, "parse_math": False}
            axes.text(-across * 0.05, top + row * down + height / 2, caption, **text)
        for column, name in enumerate(["image", *part]):
            text = {"fontsize": 7.5, "ha": "center", "va": "bottom", "linespacing": 1.05, "parse_math": False}
            axes.text(column * across + width / 2, top - GAP, _in_lines(name), **text)
    _colour_bar(figure, round(left * DPI), round(TITLE * DPI) + round(len(canvas) * scale), round(2 * across * scale))
    return figure


def _canvas(examples: Mapping[str, Mapping[str, Tensor]], columns: int) -> Picture:
    """Return the images and the heatmaps beside them, with blanks up to `columns` heatmaps."""
    images = next(iter(examples.values()))["images"]
    blank = np.ones((*images.shape[2:], 3))
    strips = [
        [
            picture(image),
            *(heatmap_colours(kept["images"][row], kept["heatmaps"][row]) for kept in examples.values()),
            *([blank] * (columns - len(examples))),
        ]
        for row, image in enumerate(images)
    ]
    return grid(strips, GAP)[0]


def _colour_bar(figure: Figure, left: int, top: int, width: int) -> Axes:
    """Draw the colours of heatmaps over a grey image, at a place in pixels, with what their ends mean below."""
    axes = pixel_axes(figure, left, top + 10, width, 8)
    levels = np.linspace(0, 1, 256)[None]
    axes.imshow(mixed(levels, np.full((1, 256), 0.5)), aspect="auto", extent=(0, 1, 0, 1))
    text: dict[str, Any] = {"fontsize": 6.5, "va": "top", "transform": axes.transAxes}
    axes.text(0, -0.4, "lowest value", ha="left", **text)
    axes.text(1, -0.4, "99.5th percentile", ha="right", **text)
    return axes


def _in_lines(name: str) -> str:
    """Break a name into the fewest lines that fit above an image, and of these into the most even ones."""
    ways = [textwrap.wrap(name, width, break_long_words=False, break_on_hyphens=False) for width in range(1, LINE + 1)]
    best: list[str] = min(ways, key=_unevenness)
    return "\n".join(best)


def _unevenness(lines: list[str]) -> tuple[bool, int, int]:
    longest = max(map(len, lines))
    return longest > LINE, len(lines), longest
