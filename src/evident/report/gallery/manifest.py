"""All that the gallery shows of an experiment: tiles, scores, curves and predictions of the kept images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.colors import to_hex
from numpy.typing import NDArray

from evident.cell_folder import EXAMPLES, NETWORK, OUTCOMES, SCORES
from evident.models.training import format_measures
from evident.report.experiment import Cell, Experiment
from evident.report.gallery import tiles
from evident.report.gallery.packing import pack, rounded
from evident.report.tables.titles import title_of

SEQUENTIAL, DIVERGING = ("viridis", "magma", "cividis", "gray"), ("coolwarm",)
STOPS = 33  # colours of a map; a browser interpolates between them
POINTS = 33  # of a curve at most
PLACE = ["data", "model", "explainer", "seed"]  # the labels of a cell
Place = tuple[Any, ...]


@dataclass
class Curve:
    """Hold one curve of all cells that have it at the same positions: its values (images, positions) by cell."""

    name: str
    axis: str
    at: tuple[float, ...]
    values: dict[Place, NDArray[np.float64]] = field(default_factory=dict)

    @cached_property
    def limits(self) -> tuple[float, float]:
        """The lowest and the highest value of all cells; zero if there is none."""
        known = [values[np.isfinite(values)] for values in self.values.values()]
        found = np.concatenate(known) if known else np.zeros(0)
        return (float(found.min()), float(found.max())) if len(found) else (0.0, 0.0)


def manifest(experiment: Experiment, cells: Sequence[Cell], longest: int) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return what the gallery shows of `cells`, all of which keep examples, and the files of its tiles by name.

    Tiles have at most `longest` pixels per side. The first key of each network's cell is the place of its method in
    `methods`; scores and curves refer to `scores` and `curves` by their places too. Readers see the `title` of a
    method; addresses of pages keep its `name`.
    """
    files: dict[str, bytes] = {}
    names = {_network(cell): _image_names(cell) for cell in cells}
    chosen = experiment.scores
    chosen = chosen[chosen["image"].isin({name for found in names.values() for name in found})]
    by_cell = {tuple(place): part for place, part in chosen.groupby(PLACE, sort=False)}
    metrics = list(dict.fromkeys(chosen.loc[chosen["at"].isna(), "metric"]))
    curves = _curves({_place(cell): (by_cell.get(_place(cell), chosen[:0]), names[_network(cell)]) for cell in cells})
    references, budgets = experiment.references, experiment.budgets
    methods = sorted({cell.labels["explainer"] for cell in cells}, key=lambda name: (name in references, name))
    networks = []
    for network in dict.fromkeys(_network(cell) for cell in cells):
        own = [cell for cell in cells if _network(cell) == network]
        described, levels = _network_of(own, names[network], longest, files), []
        for cell in own:
            entry, shown = _cell(cell, longest, files)
            place = _place(cell)
            entry["method"] = methods.index(cell.labels["explainer"])
            entry["scores"] = _scores(by_cell.get(place, chosen[:0]), names[network], metrics)
            entry["curves"] = {
                str(number): [pack(line, *curve.limits) for line in curve.values[place]]
                for number, curve in enumerate(curves)
                if place in curve.values
            }
            described["cells"].append(entry)
            levels.append(shown)
        described["alike"] = [pack(line, -1, 1) for line in tiles.correlations(levels)]
        networks.append(described)
    config = experiment.config
    return {
        "experiment": config.experiment,
        "scale": config.scale.name,
        "command": experiment.command,
        "maps": {name: _colours(name) for name in SEQUENTIAL},
        "diverging": {name: _colours(name) for name in DIVERGING},
        "methods": [
            {
                "name": name,
                "title": title_of(name, experiment.titles),
                "reference": name in references,
                "budget": budgets.get(name),
            }
            for name in methods
        ],
        "scores": [{"name": name, "direction": experiment.directions.get(name, "neither")} for name in metrics],
        "curves": [
            {"name": curve.name, "axis": curve.axis, "at": rounded(curve.at), "limits": curve.limits}
            for curve in curves
        ],
        "networks": networks,
    }, files


def _network(cell: Cell) -> Place:
    labels = cell.labels
    return labels["data"], labels["model"], labels["seed"]


def _place(cell: Cell) -> Place:
    return tuple(cell.labels[name] for name in PLACE)


def _image_names(cell: Cell) -> list[str]:
    """Return the names of the kept images: the first ones that were scored."""
    count = len(cell.folder.read(EXAMPLES)["images"])
    return [str(name) for name in cell.folder.read(SCORES)["image"].unique()[:count]]


def _network_of(cells: Sequence[Cell], names: list[str], longest: int, files: dict[str, bytes]) -> dict[str, Any]:
    """Return the images of a network, which all of its cells share, and what it says of them."""
    cell, labels = cells[0], cells[0].labels
    examples, network = cell.folder.read(EXAMPLES), cell.folder.read(NETWORK)
    pictures = tiles.reduce(examples["images"], longest).round().byte().permute(0, 2, 3, 1).numpy()
    size = pictures.shape[1:3]
    found: dict[str, Any] = {
        **{name: labels[name] for name in ("data", "model", "seed")},
        "measures": format_measures(network["accuracy"]) if network["accuracy"] else "",
        "regression": network["regression"],
        "class": [_class_name(network["classes"], target) for target in examples["target"].tolist()],
        "height": size[0],
        "width": size[1],
        "columns": min(len(names), tiles.COLUMNS),
        "pictures": tiles.add(files, pictures),
        "names": names,
        "cells": [],
    }
    if "masks" in examples:
        found["outlines"] = [tiles.outline(mask.numpy().astype(bool), size) for mask in examples["masks"]]
    outcomes = next((known for cell in cells if (known := cell.folder.get(OUTCOMES)) is not None), None)
    if outcomes is not None:
        found["outcomes"] = _outcomes(outcomes, names)
    return found


def _class_name(classes: Sequence[str], target: int) -> str:
    return classes[target] if target < len(classes) else str(target)


def _outcomes(outcomes: pd.DataFrame, names: list[str]) -> dict[str, list[Any]]:
    rows = outcomes.drop_duplicates("image").assign(image=outcomes["image"].astype(str)).set_index("image")
    rows = rows.reindex(names)
    words = {name: [None if pd.isna(word) else str(word) for word in rows[name]] for name in ("label", "predicted")}
    return {**words, **{name: rounded(rows[name]) for name in ("probability", "target_probability")}}


def _cell(cell: Cell, longest: int, files: dict[str, bytes]) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """Return the tiles of a cell with their scales, and their grey levels."""
    examples = cell.folder.read(EXAMPLES)
    shown = tiles.grey(tiles.reduce(examples["heatmaps"], longest))
    entry = _strip(shown, files)
    if "signed" in examples:
        entry["signed"] = _strip(tiles.signed_grey(tiles.reduce(examples["signed"], longest)), files)
    return entry, shown.levels


def _strip(shown: tiles.Grey, files: dict[str, bytes]) -> dict[str, Any]:
    return {"tiles": tiles.add(files, shown.levels), "low": rounded(shown.low), "high": rounded(shown.high)}


def _scores(part: pd.DataFrame, names: list[str], metrics: Sequence[str]) -> list[list[float | None] | None]:
    """Return the scores of the images by metric; None for a metric that the cell does not have."""
    whole = part[part["at"].isna()].astype({"image": str})
    known = whole.pivot(index="image", columns="metric", values="value").reindex(names)
    return [rounded(known[name]) if name in known else None for name in metrics]


def _curves(parts: Mapping[Place, tuple[pd.DataFrame, list[str]]]) -> list[Curve]:
    found: dict[tuple[str, str, tuple[float, ...]], Curve] = {}
    for place, (part, names) in parts.items():
        points = part[part["at"].notna()].astype({"image": str})
        for (name, axis), rows in points.groupby(["metric", "axis"], sort=False):
            lines = rows.pivot(index="image", columns="at", values="value").reindex(names)
            kept = np.unique(np.linspace(0, lines.shape[1] - 1, min(lines.shape[1], POINTS)).round().astype(int))
            at = tuple(float(position) for position in lines.columns[kept])
            curve = found.setdefault((str(name), str(axis), at), Curve(str(name), str(axis), at))
            curve.values[place] = lines.to_numpy(float)[:, kept]
    return list(found.values())


def _colours(name: str) -> str:
    """Return the colours of a map of matplotlib from low to high, six hexadecimal digits each."""
    return "".join(to_hex(mpl.colormaps[name](share))[1:] for share in np.linspace(0, 1, STOPS))
