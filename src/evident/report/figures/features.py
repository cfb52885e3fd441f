"""Figures of features: what they mean (a sheet a class), and what each sees in an image."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from evident.report.figures.canvas import grid, picture
from evident.report.figures.heatmaps import heatmap_colours

STRONGEST = 4  # single crops that a sheet shows beside the averages
ROWS = 10


def interpretation_sheet(name: str, features: pd.DataFrame, interpretation: dict[str, Tensor]) -> Figure:
    """The relevant features of one class, the most relevant on top: average crop, its deconvolution, strongest crops.

    `features` has a row a feature (place, feature, rank, weight); `interpretation` is `Interpretation` as a dictionary
    of uint8.
    """
    shown = features.sort_values("rank").head(ROWS)
    row_of = {place: row for row, place in enumerate(interpretation["places"].tolist())}
    strips = []
    for place in shown["place"]:
        row = row_of[place]
        average, signal = picture(interpretation["crop"][row]), interpretation["signal"][row].numpy() / 255
        # The average signal is scaled to its own maximum: where it lies is the question, not how strong it is.
        seen = heatmap_colours(interpretation["crop"][row], interpretation["signal"][row].float())
        grey = np.repeat((signal / max(signal.max(), 1e-9))[..., None], 3, axis=2)
        strips.append([average, grey, seen, *map(picture, interpretation["crops"][row][:STRONGEST])])
    canvas, down, across = grid(strips)
    figure = Figure(figsize=(1.9 + 1.05 * len(strips[0]), 1.05 * len(strips) + 0.55), dpi=110)
    left = 1.9 / figure.get_figwidth()
    axes = figure.add_axes((left, 0.002, 0.998 - left, 1 - 0.55 / figure.get_figheight()))
    axes.imshow(canvas, interpolation="nearest")
    axes.set_axis_off()
    for row, feature in enumerate(shown.itertuples()):
        text = f"{feature.rank}. {_broken(str(feature.feature))}\nweight {feature.weight:.2f}"
        axes.text(-6, row * down + down / 2, text, fontsize=7.5, ha="right", va="center")
    titles = ["average\ncrop", "average\nsignal", "signal on\naverage", *(f"crop {n + 1}" for n in range(STRONGEST))]
    for column, title in enumerate(titles[: len(strips[0])]):
        axes.text(column * across + across / 2, -4, title, fontsize=7.5, ha="center", va="bottom")
    rest = f", the first {ROWS} of {len(features)}" if len(features) > ROWS else ""
    figure.suptitle(f"{name}: relevant features{rest}", fontsize=9, x=0.01, y=0.995, ha="left", va="top")
    return figure


def decoupled_figure(kept: dict[str, Tensor], names: dict[int, str]) -> Figure:
    """Images down; across: the image, the combined explanation, and what each of the top features sees.

    `kept` are a cell's examples with `features` (N, top) and their `maps` (N, top, H, W); `names` by place.
    """
    images, combined, maps = kept["images"], kept["heatmaps"], kept["maps"]
    strips = [
        [picture(image), heatmap_colours(image, heatmap), *(heatmap_colours(image, each) for each in parts)]
        for image, heatmap, parts in zip(images, combined, maps, strict=True)
    ]
    gap = images.shape[-2] // 7  # room for a line of text, whatever the size of the pictures
    canvas, down, across = grid(strips, gap)
    figure = Figure(figsize=(1.35 * len(strips[0]), 1.35 * len(strips) * down / across + 0.45), dpi=110)
    axes = figure.add_axes((0.002, 0.002, 0.996, 1 - 0.45 / figure.get_figheight()))
    axes.imshow(canvas, interpolation="nearest")
    axes.set_axis_off()
    width = images.shape[-1]
    for column, title in enumerate(["image", "combined", *(f"feature {n + 1}" for n in range(maps.shape[1]))]):
        axes.text(column * across + width / 2, -gap, title, fontsize=8, ha="center", va="bottom")
    for row, places in enumerate(kept["features"].tolist()):
        for rank, place in enumerate(places):
            label = names[place] if place >= 0 else "none takes part"
            middle = (rank + 2) * across + width / 2
            axes.text(middle, row * down - gap / 8, label, fontsize=5.5, ha="center", va="bottom")
    return figure


def _broken(feature: str) -> str:
    """The feature's name on two lines, at the slash."""
    return feature.replace("/", "\n/", 1)
