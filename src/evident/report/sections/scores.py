"""The scores of all explainers: table, paired tests, curves."""

from collections.abc import Sequence

from evident.cell_folder import NETWORK
from evident.report.experiment import Experiment
from evident.report.figures.curves import curves_figure
from evident.report.figures.scores import scores_figure
from evident.report.sections.contract import Part, Section
from evident.report.tables import scores as tables


class Scores(Section):
    """Report `table`, `significance`, `curves` and `sameness`, and draw the scores and the curves of each network.

    `network_scores` are scores of the network, not of the explainer; they are in its table (`sections.networks`).
    Curves whose names start with one of `drawn_elsewhere` have a figure of their own. `paired_tests: false` leaves out
    `significance`, a row for every pair and metric, and `curves: false` the curves, where an experiment does not ask
    which explainer is best.
    """

    def __init__(
        self,
        network_scores: Sequence[str],
        drawn_elsewhere: Sequence[str] = (),
        paired_tests: bool = True,
        curves: bool = True,
    ) -> None:
        self.network_scores, self.drawn_elsewhere = list(network_scores), tuple(drawn_elsewhere)
        self.paired_tests, self.curves = paired_tests, curves

    def report(self, experiment: Experiment) -> Part:
        scores, references = experiment.scores, experiment.references
        own = scores[~scores["metric"].isin(self.network_scores)]
        table = tables.table(own, experiment.directions)
        curves = tables.curves(scores if self.curves else scores[:0])
        paired = {"significance": tables.significance(own)} if self.paired_tests else {}
        part = Part({"table": table, **paired, **({"curves": curves} if self.curves else {})})
        for network in experiment.networks():
            rows = table[(table["data"] == network.data) & (table["model"] == network.model)]
            part.figures[f"scores{network.suffix}"] = scores_figure(rows, references)
            drawn = curves[(curves["data"] == network.data) & (curves["model"] == network.model)]
            drawn = drawn[~drawn["metric"].str.startswith(self.drawn_elsewhere).astype(bool)]
            if len(drawn):
                regression = network.cells[0].folder.read(NETWORK)["regression"]
                followed = "score" if regression else "relative probability"
                part.figures[f"curves{network.suffix}"] = curves_figure(drawn, references, followed)
        if len(experiment.sameness):
            part.tables["sameness"] = experiment.sameness
        part.text = tables.markdown(table, references, experiment.budgets, tables.unchanging(experiment.sameness))
        return part
