"""What a network predicts without the features that are relevant to a class."""

from evident.report.experiment import Experiment
from evident.report.figures.curves import ablation_figure
from evident.report.sections.contract import Part, Section
from evident.report.tables import scores as tables


class Ablation(Section):
    """Report the scores whose names start with `measure` per class, and draw their curves over removed features."""

    def __init__(self, measure: str) -> None:
        self.measure = measure

    def report(self, experiment: Experiment) -> Part:
        scores = experiment.scores[experiment.scores["metric"].str.startswith(self.measure)]
        if not len(scores):
            return Part()
        part = Part({self.measure: tables.by_class(scores, self.measure)})
        curves = tables.curves(scores)
        for network in experiment.networks():
            own = curves[(curves["data"] == network.data) & (curves["model"] == network.model)]
            if len(own):
                part.figures[f"{self.measure}{network.suffix}"] = ablation_figure(own)
        return part
