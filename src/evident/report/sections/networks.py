"""Measures of networks that predict scores and attributes, and notes on their data sets."""

import torch

from evident.cell_folder import PREDICTIONS
from evident.report.experiment import Experiment
from evident.report.sections.contract import Part, Section
from evident.report.tables import networks
from evident.report.tables.attributes import by_attribute
from evident.report.tables.networks import Predictions


class Networks(Section):
    """Report `performance` and `performance_differences`, and `attributes`, of networks that predict scores.

    `removal` is a score of explained images that belongs to the network: it is one of its measures.
    """

    def __init__(self, removal: str) -> None:
        self.removal = removal

    def report(self, experiment: Experiment) -> Part:
        performance, differences = networks.performance(self._with_removal(experiment))
        attributes = by_attribute(experiment.scores, experiment.attribute_names, predictions_of(experiment))
        tables = {"performance": performance, "performance_differences": differences, "attributes": attributes}
        part = Part({name: table for name, table in tables.items() if len(table)})
        part.text = networks.markdown(performance)
        notes = dict.fromkeys(str(cell.config.data.note) for cell in experiment.cells if "note" in cell.config.data)
        part.text += "".join(f"\n**{note}**\n" for note in notes)
        return part

    def _with_removal(self, experiment: Experiment) -> Predictions:
        """Add `removal` (N,), the score of the network for scenes without one attribute, to the predictions."""
        predictions, scores = predictions_of(experiment), experiment.scores
        own = scores[(scores["metric"] == self.removal) & scores["at"].isna()]
        for _, rows in own.groupby(["data", "model", "seed"], sort=False):
            explainer, data, model, seed = rows.iloc[0][["explainer", "data", "model", "seed"]]
            values = torch.from_numpy(rows.loc[rows["explainer"] == explainer, "value"].to_numpy(copy=True))
            predictions.setdefault(data, {}).setdefault(model, {}).setdefault(seed, {})["removal"] = values
        return predictions


def predictions_of(experiment: Experiment) -> Predictions:
    """Read what the networks predict for the test images, by data set, model and seed."""
    found: Predictions = {}
    for cell in experiment.cells:
        if cell.folder.has(PREDICTIONS):
            seeds = found.setdefault(str(cell.labels["data"]), {}).setdefault(str(cell.labels["model"]), {})
            if cell.config.seed not in seeds:
                seeds[cell.config.seed] = cell.folder.read(PREDICTIONS)
    return found
