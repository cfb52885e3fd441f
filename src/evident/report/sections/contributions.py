"""Scenes with the contributions of positions and attributes, and what the removal of an attribute changes."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from evident.cell_folder import CONTRIBUTIONS, NETWORK
from evident.recorders.contributions import EXTREMES
from evident.report.captions import sample_of
from evident.report.experiment import Cell, Experiment, titles_of
from evident.report.figures.canvas import IMAGES
from evident.report.figures.removal import removal_figure
from evident.report.figures.scenes import SceneExplanation, scenes_figure
from evident.report.sections.contract import Part, PicturePart, Section
from evident.report.tables.attributes import by_attribute

SCENES = (
    f"At most {IMAGES} scenes of the first seed: the image, its maps from pink (lowers the score) to green (raises "
    "it), and the attributes that contribute most, in votes. Chosen from this sample:"
)
REMOVALS = "Mean change of the score without an attribute: true score, network's score, and as explained."


class Contributions(Section):
    """Draw scenes with the contributions of positions and attributes, and what the removal of an attribute changes."""

    def report(self, experiment: Experiment) -> Part:
        attributes = by_attribute(experiment.scores, experiment.attribute_names, {})
        scenes = scene_figures(experiment.cells)
        removals = removal_figures(experiment.cells, attributes)
        cells = [cell for cell in experiment.cells if cell.folder.has(CONTRIBUTIONS)]
        captions = {name: f"{SCENES} {sample_of(experiment, cells)}" for name in scenes}
        captions |= {name: f"{REMOVALS} {sample_of(experiment, cells)}" for name in removals}
        return Part(figures=scenes | removals, captions=captions)

    def picture(self, cell: Cell) -> PicturePart:
        kept = cell.folder.get(CONTRIBUTIONS)
        if not kept or "contributions" not in kept:
            return PicturePart()
        names, stated = cell.folder.read(NETWORK)["attributes"], kept["contributions"][0]
        order = stated.abs().argsort(descending=True).tolist()
        part = PicturePart({"contributions": {names[k]: stated[k].item() for k in order}})
        if "shown" in kept:
            [explanation] = _explanations(kept, {cell.title: kept["own_map"]}, names)
            part.figures["explanation"] = scenes_figure([explanation])
        return part


def scene_figures(cells: Sequence[Cell]) -> dict[str, Figure]:
    """Draw `scenes` for the first seed of every network whose explainer states contributions.

    For the first of these networks also `overestimates` and `underestimates`. Beside each explanation is the map of
    the first network of the same data set that has a map but states no contributions.
    """
    kept, titles = {}, titles_of(cells)
    first: dict[tuple[str, str], int] = {}
    for cell in cells:
        if scenes := cell.folder.get(CONTRIBUTIONS):
            network = (cell.labels["data"], cell.labels["model"])
            if cell.labels["seed"] == first.setdefault(network, cell.labels["seed"]):
                kept[network] = cell, scenes
    stating = [network for network, (_, scenes) in kept.items() if "shown" in scenes]
    figures: dict[str, Figure] = {}
    for network in stating:
        cell, scenes = kept[network]
        others = [
            (f"{titles[other.labels['explainer']]} of {other.labels['model']}", of_other["own_map"])
            for key, (other, of_other) in kept.items()
            if key[0] == network[0] and key not in stating
        ]
        maps = {titles[cell.labels["explainer"]]: scenes["own_map"], **dict(others[:1])}
        rows = _explanations(scenes, maps, cell.folder.read(NETWORK)["attributes"])
        count = min(EXTREMES, int((~scenes["label"].isnan()).sum()))
        examples = len(rows) - 2 * count
        parts = {"scenes": rows[:examples]}
        if network == stating[0]:  # the extremes of one network are enough
            parts["overestimates"] = rows[examples : examples + count]
            parts["underestimates"] = rows[examples + count :]
        suffix = "" if len(stating) == 1 else "_" + "_".join(network)
        figures |= {f"{name}{suffix}": scenes_figure(part[:IMAGES]) for name, part in parts.items() if part}
    return figures


def _explanations(scenes: dict[str, Tensor], maps: dict[str, Tensor], names: Sequence[str]) -> list[SceneExplanation]:
    found = []
    for position, row in enumerate(scenes["shown"].tolist()):
        label, predicted = scenes["label"][row], scenes["predicted"][row]
        title = f"network {predicted:.1f}" if label.isnan() else f"crowd {label:.1f}, network {predicted:.1f}"
        found.append(
            SceneExplanation(
                image=scenes["images"][position],
                title=title,
                maps={name: values[row] for name, values in maps.items()},
                attribute_maps=scenes["attribute_maps"][position],
                contributions=scenes["contributions"][row],
                names=names,
                visible=scenes["visible"][position] if "visible" in scenes else None,
            )
        )
    return found


def removal_figures(cells: Sequence[Cell], attributes: pd.DataFrame) -> dict[str, Figure]:
    """Draw `removal`, one panel per network and explainer with a map of the network's own; empty without such cells.

    `attributes` is the table of `tables.attributes.by_attribute`.
    """
    wide = attributes[attributes["metric"].str.contains("removal_")].pivot_table(
        "mean", ["data", "model", "explainer", "attribute"], "metric", sort=False
    )
    with_map = {
        (cell.labels["data"], cell.labels["model"], cell.labels["explainer"])
        for cell in cells
        if cell.folder.get(CONTRIBUTIONS)
    }
    own = [key for key in dict.fromkeys(key[:3] for key in wide.index) if key in with_map]
    titles = titles_of(cells)
    changes = [
        (f"{titles[explainer]} of {model}", pd.DataFrame(wide.xs((data, model, explainer))))
        for data, model, explainer in own
    ]
    return {"removal": removal_figure(changes)} if changes else {}
