"""Whether the map of every explainer depends on what its network has learnt."""

from evident.report.experiment import Experiment
from evident.report.figures.sanity import sanity_figure
from evident.report.sections.contract import Part, Section
from evident.report.tables import sanity as tables
from evident.report.tables.scores import curves


class Sanity(Section):
    """Report `sanity`, a verdict for each explainer, and draw its similarities to maps of randomised networks.

    `limit` separates maps that depend on the weights from those that do not (`tables.sanity.verdict`).
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def report(self, experiment: Experiment) -> Part:
        similar = tables.similarities(experiment.scores)
        if similar.empty:
            return Part()
        table = tables.sanity(similar, self.limit)
        part = Part({"sanity": table}, text=tables.markdown(table, experiment.references, self.limit))
        points = curves(similar)
        for network in experiment.networks():
            rows, of_depth = (
                frame[(frame["data"] == network.data) & (frame["model"] == network.model)] for frame in (table, points)
            )
            if len(rows):
                part.figures[f"sanity{network.suffix}"] = sanity_figure(
                    rows, of_depth, experiment.references, self.limit
                )
        return part
