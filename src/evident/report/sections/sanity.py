"""Whether the map of every explainer depends on what its network has learnt."""

from evident.report.captions import sample_of
from evident.report.experiment import Experiment
from evident.report.figures.sanity import sanity_figure
from evident.report.sections.contract import Part, Section
from evident.report.tables import sanity as tables
from evident.report.tables.scores import curves

SHOWN = (
    "Similarity of each map to that of a network whose weights were randomised. Left: Spearman's correlation with its "
    "95 % interval, all layers randomised; dashed: the limit {limit}. Right: means by measure and depth."
)


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
        titles, references = experiment.titles, experiment.references
        part = Part({"sanity": table}, text=tables.markdown(table, references, self.limit, titles))
        points = curves(similar)
        for network in experiment.networks():
            rows, of_depth = (
                frame[(frame["data"] == network.data) & (frame["model"] == network.model)] for frame in (table, points)
            )
            if len(rows):
                name = f"sanity{network.suffix}"
                part.figures[name] = sanity_figure(rows, of_depth, references, self.limit, titles)
                part.captions[name] = f"{SHOWN.format(limit=self.limit)} {sample_of(experiment, network.cells)}"
        return part
