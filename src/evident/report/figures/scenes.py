"""Figures of scenes: what an explanation says of one, where and how (PAPERS 3.4), and what would be without a thing."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure
from safetensors.torch import load_file
from torch import Tensor

from evident.recorders.contributions import EXTREMES
from evident.report.cells import Cell
from evident.report.figures.heatmaps import draw_image

ATTRIBUTES_SHOWN = 8
RAISES, LOWERS = "#4d9221", "#c51b7d"  # the green and the pink of the map's colours
ROW = 2.3  # inches
PANELS = 4  # beside each other


class SceneExplanation(NamedTuple):
    """One scene and what is said of it: image uint8 (3, H, W), its title, maps (h, w) by name, and its attributes.

    `attribute_maps` (K, h, w), `contributions` (K,) and, where that is known, what is `visible` (K,) are of `names`.
    """

    image: Tensor
    title: str
    maps: Mapping[str, Tensor]
    attribute_maps: Tensor
    contributions: Tensor
    names: Sequence[str]
    visible: Tensor | None = None


def scene_figures(cells: list[Cell]) -> dict[str, Figure]:
    """`scenes` of each network that states contributions, of its first seed; of the first one the galleries too.

    Those are `overestimates` and `underestimates`.
    Each beside the map of the first other network of that data set which tells one.
    """
    kept = {}
    first: dict[tuple[str, str], Any] = {}
    for cell in cells:
        if (cell.folder / "scenes.safetensors").exists():
            place = (cell.labels["data"], cell.labels["model"])
            if cell.labels["seed"] == first.setdefault(place, cell.labels["seed"]):
                kept[place] = cell, load_file(cell.folder / "scenes.safetensors")
    stating = [place for place, (_, scenes) in kept.items() if "shown" in scenes]
    drawn: dict[str, Figure] = {}
    for place in stating:
        cell, scenes = kept[place]
        beside = {
            f"{other.labels['explainer']} of {other.labels['model']}": its["places"]
            for (data, model), (other, its) in kept.items()
            if data == place[0] and (data, model) not in stating
        }
        suffix = "" if len(stating) == 1 else "_" + "_".join(place)
        names = json.loads((cell.folder / "attributes.json").read_text())
        rows = _explanations(scenes, {cell.labels["explainer"]: scenes["places"], **dict([*beside.items()][:1])}, names)
        count = min(EXTREMES, int((~scenes["votes"][:, 0].isnan()).sum()))
        examples = len(rows) - 2 * count
        parts = {
            "scenes": rows[:examples],
            "overestimates": rows[examples : examples + count],
            "underestimates": rows[examples + count :],
        }
        if place != stating[0]:  # the galleries of one network are enough
            parts = {"scenes": parts["scenes"]}
        drawn |= {f"{name}{suffix}": explanations_figure(part) for name, part in parts.items() if part}
    return drawn


def _explanations(scenes: dict[str, Tensor], maps: dict[str, Tensor], names: Sequence[str]) -> list[SceneExplanation]:
    found = []
    for position, row in enumerate(scenes["shown"].tolist()):
        crowd = "" if scenes["votes"][row, 0].isnan() else f"crowd {scenes['votes'][row, 0]:.1f}, "
        title = f"{crowd}network {scenes['predicted'][row, 0]:.1f}"
        of_row = {name: values[row] for name, values in maps.items()}
        own = scenes["attribute_maps"][position], scenes["contributions"][row]
        visible = scenes["visible"][position] if "visible" in scenes else None
        found.append(SceneExplanation(scenes["images"][position], title, of_row, *own, names, visible))
    return found


def explanations_figure(scenes: Sequence[SceneExplanation]) -> Figure:
    """A row a scene: the image, its maps from pink to green, and the attributes of the largest contributions.

    Each attribute is shown by its map in grey, with its contribution in votes, framed green where it raises the score
    and pink where it lowers it, the wider the more. What is not in the image, where that is known, is named in italics.
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
    widest = scene.contributions.abs().max().clamp(min=1e-9)
    for position, attribute in enumerate(order):
        axes = figure.add_subplot(grid[position // 4, 4 + position % 4])
        worth = scene.contributions[attribute].item()
        found = scene.attribute_maps[attribute]
        highest = found.max().clamp(min=1e-9).item()
        axes.imshow(found.numpy(), cmap="gray", vmin=0, vmax=highest, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        absent = scene.visible is not None and not scene.visible[attribute]
        title = axes.set_title(f"{scene.names[attribute].replace('_', ' ')} {worth:+.2f}", fontsize=6, pad=3)
        if absent:
            title.set(fontstyle="italic", color="0.5")
        colour = RAISES if worth > 0 else LOWERS if worth < 0 else "0.7"
        for spine in axes.spines.values():
            spine.set(color=colour, linewidth=max(0.3, 4.5 * abs(worth) / widest.item()))


def draw_signed(axes: Axes, image: Tensor, values: Tensor) -> None:
    """A map (h, w) from pink (it lowers the score) over white to green (it raises it), about the grey image's outlines.

    The limits are symmetric, at the 99.5th percentile of what is said.
    """
    limit = float(np.quantile(values.abs().numpy(), 0.995)) or float(values.abs().max()) or 1.0
    colours = ScalarMappable(Normalize(-limit, limit), "PiYG").to_rgba(values.numpy())[..., :3]
    height, width = image.shape[-2:]
    rows = (np.arange(height) * values.shape[0]) // height
    columns = (np.arange(width) * values.shape[1]) // width
    grey = image.float().mean(0).numpy()[..., None] / 255
    # What is white stays as bright as the picture's light, so that one sees which thing a place is.
    axes.imshow(colours[rows][:, columns] * (0.55 + 0.45 * grey), interpolation="auto")
    axes.set_axis_off()


def removal_figures(cells: list[Cell], attributes: pd.DataFrame) -> dict[str, Figure]:
    """`removal`: of every attribute the mean change without it of the true score, the network's, and as explained.

    What is stated by name comes before what its map gives to the attribute's pixels. A panel for every
    network and its own explanation, of the attributes in the order of what is true.
    """
    wide = attributes[attributes["metric"].str.contains("removal_")].pivot_table(
        "mean", ["data", "model", "explainer", "attribute"], "metric", sort=False
    )
    telling = {
        tuple(cell.labels[label] for label in ("data", "model", "explainer"))
        for cell in cells
        if (cell.folder / "scenes.safetensors").exists()
    }
    own = [place for place in dict.fromkeys(place[:3] for place in wide.index) if place in telling]
    if not own:
        return {}
    longest = max(len(wide.loc[place]) for place in own)
    columns = min(PANELS, len(own))
    rows = -(-len(own) // columns)
    figure = Figure(figsize=(4.1 * columns, (0.17 * longest + 1.3) * rows), dpi=110, layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, squeeze=False).flat
    for axes in grid[len(own) :]:
        axes.remove()
    for axes, place in zip(grid, own, strict=False):
        part = wide.loc[place].dropna(axis=1, how="all").sort_values("removal_true")
        explained = next(name for name in ("stated_removal_faithful", "removal_faithful") if name in part)
        for metric, style in {
            "removal_true": {"marker": "|", "color": "black", "ms": 9, "mew": 2, "label": "true score"},
            "removal_network": {"marker": "o", "color": "tab:blue", "ms": 4.5, "label": "network's score"},
            explained: {"marker": "D", "color": "tab:orange", "ms": 4, "label": "as explained"},
        }.items():
            axes.plot(part[metric], range(len(part)), ls="", **style)
        axes.axvline(0, lw=0.7, color="0.6")
        axes.set_yticks(range(len(part)), [name.replace("_", " ") for name in part.index], fontsize=7)
        axes.set_xlabel("mean change of the score without it (votes)", fontsize=8)
        axes.tick_params(axis="x", labelsize=7, labelbottom=True)
        axes.grid(axis="y", lw=0.3, color="0.9")
        axes.set_title(f"{place[2]} of {place[1]}", fontsize=8)
        sns.despine(ax=axes)
    figure.axes[0].legend(fontsize=7, loc="lower right")
    return {"removal": figure}
