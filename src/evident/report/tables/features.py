"""The features that explainers have learnt to be relevant: their table, their figures."""

import pandas as pd
import torch
from matplotlib.figure import Figure
from safetensors.torch import load_file
from torch import Tensor

from evident.report.cells import Cell
from evident.report.figures.features import decoupled_figure, interpretation_sheet


def feature_table(cells: list[Cell]) -> pd.DataFrame:
    """A row a relevant feature of a class, of every cell whose explainer has learnt any; empty where none has.

    Where features were interpreted, `purity` is the share of a feature's strongest training images that are of the
    class, `evidence` the share of its signal in them that lies in their masks; `_control` those of another feature of
    its layer, chosen by lot. NaN for a feature that answers to no image, and evidence without masks.
    """
    parts = []
    for cell in cells:
        features = _features(cell)
        if not len(features):  # its columns, of no type, would make floats of the others' whole numbers
            continue
        for position, (column, value) in enumerate(cell.labels.items()):
            features.insert(position, column, value)
        parts.append(features)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def feature_figures(cells: list[Cell]) -> dict[str, Figure]:
    """What each feature sees in the examples, and a sheet a class: of the first seed of the first such explainer."""
    drawn: dict[str, Figure] = {}
    cells = [cell for cell in cells if len(_features(cell))]
    for data, model in dict.fromkeys((cell.labels["data"], cell.labels["model"]) for cell in cells):
        own = [cell for cell in cells if (cell.labels["data"], cell.labels["model"]) == (data, model)]
        suffix = "" if len(own) == len(cells) else f"_{data}_{model}"
        cell = min(own, key=lambda cell: cell.labels["seed"])
        features, kept = _features(cell), load_file(cell.folder / "examples.safetensors")
        if "features" in kept:
            names = dict(zip(features["place"], features["feature"], strict=True))
            drawn[f"decoupled{suffix}"] = decoupled_figure({**kept, "maps": kept["feature_maps"]}, names)
        if interpretation := _interpretation(cell):
            for name, of_class in features.groupby("class", sort=False):
                sheet = f"interpretation_{'_'.join(str(name).split())}{suffix}"
                drawn[sheet] = interpretation_sheet(str(name), of_class, interpretation)
    return drawn


def _features(cell: Cell) -> pd.DataFrame:
    file = cell.folder / "features.csv"
    if not file.exists():
        return pd.DataFrame()
    features = pd.read_csv(file)
    if interpretation := _interpretation(cell):
        row_of = {place: row for row, place in enumerate(interpretation["places"].tolist())}
        target = torch.tensor(features["target"])[:, None]
        for suffix, places in (("", features["place"]), ("_control", features["control"])):
            rows = [row_of[place] for place in places]
            labels = interpretation["labels"][rows]
            # A feature that answers to no image has neither.
            features[f"purity{suffix}"] = torch.where(labels >= 0, labels == target, torch.nan).nanmean(1).numpy()
            features[f"evidence{suffix}"] = interpretation["evidence"][rows].nanmean(1).numpy()
    return features


def _interpretation(cell: Cell) -> dict[str, Tensor]:
    file = cell.folder / "interpretation.safetensors"
    return load_file(file) if file.exists() else {}
