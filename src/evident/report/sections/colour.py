"""How much the score of an explanation depends on its colours, class by class."""

import pandas as pd

from evident.cell_folder import NETWORK
from evident.report.captions import sample_of
from evident.report.experiment import Experiment
from evident.report.figures.colour import colour_figure
from evident.report.sections.contract import Part, Section
from evident.report.tables import scores as tables

SHOWN = (
    "Change of the probability of a class in its explanation without colour and with swapped channels, by class, the "
    "largest drop on top."
)


class Colour(Section):
    """Report the scores whose names start with `measure` per class, and draw them for the first explainer."""

    def __init__(self, measure: str) -> None:
        self.measure = measure

    def report(self, experiment: Experiment) -> Part:
        colours = tables.by_class(experiment.scores, self.measure)
        if not len(colours):
            return Part()
        names = {
            (cell.labels["data"], cell.labels["model"]): cell.folder.read(NETWORK)["classes"]
            for cell in experiment.cells
        }
        places = zip(colours["data"], colours["model"], colours["target"], strict=True)
        colours.insert(5, "class", [names[data, model][target] for data, model, target in places])
        part = Part({self.measure: colours})
        first = colours[colours["explainer"] == colours["explainer"].iloc[0]]
        networks = [(f"{data}_{model}", rows) for (data, model), rows in first.groupby(["data", "model"], sort=False)]
        for name, rows in networks:
            suffix = "" if len(networks) == 1 else f"_{name}"
            part.figures[f"{self.measure}{suffix}"] = colour_figure(pd.DataFrame(rows), experiment.titles)
            cells = [cell for cell in experiment.cells if f"{cell.labels['data']}_{cell.labels['model']}" == name]
            own = [cell for cell in cells if cell.labels["explainer"] == rows["explainer"].iloc[0]]
            part.captions[f"{self.measure}{suffix}"] = f"{SHOWN} {sample_of(experiment, own)}"
        return part
