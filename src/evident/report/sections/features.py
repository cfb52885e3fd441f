"""The features that explainers learned to be relevant: what they are, what they show, what they mean."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from evident.cell_folder import EXAMPLES, FEATURE_MAPS, FEATURES, INTERPRETATION, NETWORK, CellFolder
from evident.report.captions import sample_of
from evident.report.experiment import Cell, Experiment
from evident.report.figures.canvas import IMAGES
from evident.report.figures.features import feature_maps_figure, interpretation_sheet
from evident.report.sections.contract import Part, PicturePart, Section
from evident.report.tables.features import with_interpretation

MAPS = "The heatmap of an image, and that of each of its most relevant features."
SHEET = (
    "Relevant features of a class, the most relevant on top: average crop of training images, average signal, and the "
    "crops that excite the feature most. They do not depend on the images that are explained."
)


class Features(Section):
    """Report `features`, one row per relevant feature of a class, and draw what features show and mean.

    Figures are of the first seed of the first explainer that learned features: `feature_maps`, and one sheet
    `interpretation_CLASS` for each class if its features were interpreted. `sheets_of` are the models that have sheets,
    None for all; the table has the features of every model.
    """

    def __init__(self, sheets_of: Sequence[str] | None = None) -> None:
        self.sheets_of = sheets_of

    def report(self, experiment: Experiment) -> Part:
        cells = [cell for cell in experiment.cells if cell.folder.has(FEATURES) or cell.folder.has(FEATURE_MAPS)]
        part = Part()
        if labelled := [_labelled(cell, experiment) for cell in cells if len(_features(cell.folder))]:
            part.tables["features"] = pd.concat(labelled, ignore_index=True)
        for network in experiment.networks(cells):
            folder = network.first_seed()[0].folder
            if figure := _maps_figure(folder):
                maps, count = f"feature_maps{network.suffix}", min(len(folder.read(EXAMPLES)["images"]), IMAGES)
                part.figures[maps] = figure
                part.captions[maps] = f"{MAPS} {sample_of(experiment, network.first_seed()[:1], count)}"
            chosen = self.sheets_of is None or network.model in self.sheets_of
            if chosen and (interpretation := folder.get(INTERPRETATION)):
                for name, of_class in _features(folder).groupby("class", sort=False):
                    sheet = f"interpretation_{'_'.join(str(name).split())}{network.suffix}"
                    part.figures[sheet] = interpretation_sheet(str(name), of_class, interpretation)
                    part.captions[sheet] = f"{SHEET} {sample_of(experiment, network.first_seed()[:1])}"
        return part

    def picture(self, cell: Cell) -> PicturePart:
        folder = cell.folder
        kept = folder.get(FEATURE_MAPS)
        if not kept:
            return PicturePart()
        names = _names(folder, kept)
        shown = zip(kept["features"][0].tolist(), kept["shares"][0].tolist(), strict=True)
        values = [{"feature": names[place], "share": share} for place, share in shown if place >= 0]
        figure = _maps_figure(folder)
        return PicturePart({"features": values}, {"features": figure} if figure else {})


def _maps_figure(folder: CellFolder) -> Figure | None:
    kept, examples = folder.get(FEATURE_MAPS), folder.get(EXAMPLES)
    return feature_maps_figure(examples | kept, _names(folder, kept)) if kept and examples else None


def _names(folder: CellFolder, kept: Mapping[str, Tensor]) -> dict[int, str]:
    """Return the name of every feature that is shown: its number, if the explainer learned no table of features."""
    features = _features(folder)
    known = dict(zip(features["place"], features["feature"], strict=True)) if len(features) else {}
    return {place: known.get(place, f"feature {place}") for place in kept["features"].unique().tolist()}


def _features(folder: CellFolder) -> pd.DataFrame:
    features = folder.get(FEATURES)
    return pd.DataFrame() if features is None else with_interpretation(features, folder.get(INTERPRETATION))


def _labelled(cell: Cell, experiment: Experiment) -> pd.DataFrame:
    features = _features(cell.folder)
    if cell.folder.read(NETWORK)["hash"] in experiment.failed:
        of_masks = features.columns.str.startswith("evidence")
        features.loc[:, of_masks] = float("nan")
    for position, (column, value) in enumerate(cell.labels.items()):
        features.insert(position, column, value)
    return features
