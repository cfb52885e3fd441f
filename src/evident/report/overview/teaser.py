"""The picture at the top of the README: four flowers under seven methods, from the committed gallery alone.

Nothing is chosen by how it looks. The flowers are the first four test images of the first network. The methods are one
of each family, the one that most readers know; the two papers' own come first, and random is the reference.
"""

import json
import re
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from PIL import Image

from evident.report.figures.canvas import Picture, canvas_figure, grid, pixel_axes

EXPERIMENT, METRIC = "an8flower", "average_precision"
# Name in tables, name of the paper, family.
METHODS = (
    ("vebi", "VEBI", "relevant features"),
    ("fgvis", "FGVis", "optimised mask"),
    ("grad_cam", "Grad-CAM", "feature maps"),
    ("lrp", "LRP", "backward rules"),
    ("integrated_gradients", "Integrated grad.", "gradients"),
    ("rise", "RISE", "masked inputs"),
    ("random", "random", "reference"),
)
IMAGES = 4
COLOURS = "magma"
GAP = 8  # pixels of a tile between two of them: with tiles of 112 pixels the step is 120
SCALE, DPI = 2, 110  # figure pixels of a pixel of a tile: text and outlines stay sharp on a fine screen
LEFT, TOP, BELOW = 2.4, 0.95, 0.6  # inches for text
NAME, TEXT = 17, 14.5  # sizes of text that can be read on a page of 830 pixels


def teaser(results: Path) -> Figure | None:
    """Draw the first flowers of the gallery under `METHODS`, the true evidence outlined; None if there is no gallery.

    The number in a heatmap is its average precision for the outlined pixels. Heatmaps are coloured from their lowest
    value to their 99.5th percentile, as the tiles of the gallery are scaled.
    """
    folder = results / EXPERIMENT / "gallery"
    if not (folder / "manifest.js").is_file():
        return None
    shown = read_manifest(folder / "manifest.js")
    network, names = shown["networks"][0], [method["name"] for method in shown["methods"]]
    cells = {names[cell["method"]]: cell for cell in network["cells"]}
    score = [metric["name"] for metric in shown["scores"]].index(METRIC)
    columns = [tiles(folder, network["pictures"], network)[..., :3] / 255]
    for name, _, _ in METHODS:
        levels = tiles(folder, cells[name]["tiles"], network)[..., 0] / 255
        columns.append(plt.get_cmap(COLOURS)(levels)[..., :3])
    canvas, down, across = grid([[column[row] for column in columns] for row in range(IMAGES)], GAP)
    below = np.ones((round(BELOW * DPI / SCALE), canvas.shape[1], 3))
    figure, axes = canvas_figure(np.concatenate([canvas, below]), SCALE, LEFT, TOP, DPI)
    for row in range(IMAGES):
        for column in range(1, len(columns)):
            value = cells[METHODS[column - 1][0]]["scores"][score][row]
            left, bottom = column * across, row * down + network["height"]
            _outline(axes, network["outlines"][row], left, row * down)
            _write(axes, f"{value:.2f}", left + 4, bottom - 6, TEXT, "left", colour="white")
        caption = f"{network['class'][row]}\np = {network['outcomes']['target_probability'][row]:.3f}"
        _write(axes, caption, -8, row * down + network["height"] / 2, NAME, "right", "center")
    for column, (name, family) in enumerate([("image", ""), *(method[1:] for method in METHODS)]):
        centre = column * across + network["width"] / 2
        _write(axes, name, centre, -25, NAME, "center")
        _write(axes, family, centre, -7, TEXT, "center", colour="0.35")
    _colour_bar(figure, across, network["width"], canvas.shape[0])
    return figure


def read_manifest(file: Path) -> dict[str, Any]:
    """Return what `packing.script` wrote."""
    found: dict[str, Any] = json.loads(file.read_text().partition(" = ")[2].rstrip().removesuffix(";"))
    return found


def tiles(folder: Path, name: str, network: dict[str, Any]) -> Picture:
    """Return the first `IMAGES` tiles of a file, (IMAGES, H, W, 3), 0 to 255."""
    with Image.open(folder / "tiles" / name) as image:
        sheet: NDArray[np.uint8] = np.asarray(image.convert("RGB"))
    height, width, columns = network["height"], network["width"], network["columns"]
    starts = [(place // columns * height, place % columns * width) for place in range(IMAGES)]
    return np.stack([sheet[top : top + height, left : left + width] for top, left in starts]).astype(float)


def lines(path: str) -> list[NDArray[np.float64]]:
    """Return the closed lines of an outline as `gallery.tiles` writes it: (x, y) of each point, (points, 2)."""
    found = [np.array([point.split() for point in part.split("L")], float) for part in re.findall(r"M([^Z]+)Z", path)]
    return [np.concatenate([line, line[:1]]) for line in found]


def _outline(axes: Axes, path: str, left: float, top: float) -> None:
    for line in lines(path):
        # A pixel of the canvas has its centre at whole numbers, the path its corner.
        x, y = line[:, 0] + left - 0.5, line[:, 1] + top - 0.5
        axes.plot(x, y, color="white", lw=1, path_effects=[withStroke(linewidth=1.8, foreground="black")])


def _write(
    axes: Axes,
    text: str,
    x: float,
    y: float,
    size: float,
    across: str,
    down: str = "baseline",
    colour: str = "black",
) -> None:
    behind = {"color": "black", "pad": 2, "alpha": 0.7, "lw": 0} if colour == "white" else None
    axes.text(x, y, text, fontsize=size, ha=across, va=down, color=colour, bbox=behind, clip_on=False)


def _colour_bar(figure: Figure, across: int, width: int, height: int) -> None:
    """Draw the colours below the heatmaps, and say what is drawn."""
    left, top = LEFT * DPI + across * SCALE, TOP * DPI + (height + 12) * SCALE
    bar = pixel_axes(figure, round(left), round(top), width * SCALE, 10 * SCALE)
    bar.imshow(np.linspace(0, 1, 256)[None], cmap=COLOURS, aspect="auto")
    text = "relevance: lowest to highest of each map. White: outline of the true evidence. Number: average precision."
    bar.text(1.06, 0.5, text, fontsize=TEXT, va="center", transform=bar.transAxes, clip_on=False)
