"""Features: what the relevant features of a class mean, and what each feature shows in an image."""

import re

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from evident.report.figures.canvas import IMAGES, canvas_figure, grid, picture
from evident.report.figures.heatmaps import heatmap_colours

STRONGEST = 4  # single crops beside the averages
ROWS = 10
SHEET_INCH, MAPS_INCH = 1.05, 1.35  # step from one image to the next
DPI = 110


def interpretation_sheet(name: str, features: pd.DataFrame, interpretation: dict[str, Tensor]) -> Figure:
    """Draw the relevant features of class `name`, one per row: average crop, its deconvolution, strongest crops.

    `features` has one row per feature (place, feature, rank, weight); the most relevant is drawn on top.
    `interpretation` are the fields of `Interpretation`, images as uint8.
    """
    shown = features.sort_values("rank").head(ROWS)
    row_of = {place: row for row, place in enumerate(interpretation["places"].tolist())}
    strips = []
    for place in shown["place"]:
        row = row_of[place]
        average, signal = picture(interpretation["crop"][row]), interpretation["signal"][row].numpy() / 255
        # The average signal is scaled to its own maximum, because only its position matters.
        on_average = heatmap_colours(interpretation["crop"][row], interpretation["signal"][row].float())
        grey = np.repeat((signal / max(signal.max(), 1e-9))[..., None], 3, axis=2)
        strips.append([average, grey, on_average, *map(picture, interpretation["crops"][row][:STRONGEST])])
    canvas, down, across = grid(strips)
    figure, axes = canvas_figure(canvas, SHEET_INCH * DPI / down, left=1.9, top=0.55, dpi=DPI)
    for row, feature in enumerate(shown.itertuples()):
        text = f"{feature.rank}. {_in_lines(str(feature.feature), 26)}\nweight {feature.weight:.2f}"
        axes.text(-6, row * down + down / 2, text, fontsize=7.5, ha="right", va="center")
    titles = ["average\ncrop", "average\nsignal", "signal on\naverage", *(f"crop {n + 1}" for n in range(STRONGEST))]
    for column, title in enumerate(titles[: len(strips[0])]):
        axes.text(column * across + across / 2, -4, title, fontsize=7.5, ha="center", va="bottom")
    rest = f", the first {ROWS} of {len(features)}" if len(features) > ROWS else ""
    figure.suptitle(f"{name}: relevant features{rest}", fontsize=9, x=0.01, y=0.995, ha="left", va="top")
    return figure


def feature_maps_figure(kept: dict[str, Tensor], names: dict[int, str]) -> Figure:
    """Draw one row for each of the first images: the image, its heatmap, and the heatmap of each of the top features.

    `kept` has `images` uint8 (N, 3, H, W), `heatmaps` (N, H, W), and the fields `maps` (N, top, H, W) and `features`
    (N, top) of `evident.values.FeatureMaps`. `names` are the features' names by their position.
    """
    images, combined, maps = (kept[name][:IMAGES] for name in ("images", "heatmaps", "maps"))
    strips = [
        [picture(image), heatmap_colours(image, heatmap), *(heatmap_colours(image, each) for each in parts)]
        for image, heatmap, parts in zip(images, combined, maps, strict=True)
    ]
    gap = images.shape[-2] // 5  # room for two lines of text, for images of any size
    canvas, down, across = grid(strips, gap)
    figure, axes = canvas_figure(canvas, MAPS_INCH * DPI / across, left=0, top=0.45, dpi=DPI)
    width = images.shape[-1]
    for column, title in enumerate(["image", "combined", *(f"feature {n + 1}" for n in range(maps.shape[1]))]):
        axes.text(column * across + width / 2, -gap, title, fontsize=8, ha="center", va="bottom")
    for row, features in enumerate(kept["features"][:IMAGES].tolist()):
        for rank, feature in enumerate(features):
            label = _in_lines(names[feature], 30) if feature >= 0 else "none takes part"
            middle = (rank + 2) * across + width / 2
            axes.text(middle, row * down - gap / 8, label, fontsize=4.7, ha="center", va="bottom")
    return figure


def _in_lines(feature: str, width: int) -> str:
    """Break the name of a feature at dots and the slash into lines of about `width` characters.

    Networks with published weights are all inside `network`, which says nothing.
    """
    lines = [""]
    for part in re.split(r"(?<=[./])", feature.removeprefix("network.")):
        if lines[-1] and len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)
