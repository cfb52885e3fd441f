"""What a network predicts without the features that are relevant to a class."""

from evident.report.captions import sample_of
from evident.report.experiment import Experiment
from evident.report.figures.curves import ablation_figure
from evident.report.sections.contract import Part, Section
from evident.report.tables import scores as tables

SHOWN = (
    "Accuracy on a class while its relevant features, random ones or the least relevant ones are set to zero, one by "
    "one: means and 95 % intervals. Explainers that learned the same share a panel."
)


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
                name = f"{self.measure}{network.suffix}"
                part.figures[name] = ablation_figure(own, experiment.titles)
                part.captions[name] = f"{SHOWN} {sample_of(experiment, network.cells)}"
        return part
