"""The scores of all explainers: table, paired tests, curves."""

from collections.abc import Sequence

import pandas as pd

from evident.cell_folder import NETWORK
from evident.report.captions import sample_of
from evident.report.experiment import Experiment, Network
from evident.report.figures.curves import PANELS, chosen_methods, curves_figure
from evident.report.figures.scores import score_pages, scores_figure
from evident.report.sections.contract import Part, Section
from evident.report.tables import scores as tables
from evident.report.tables.glossary import address
from evident.report.tables.order import best_first, with_direction
from evident.report.tables.score_text import Layout, markdown, unchanging

SCORES_CAPTION = (
    "Mean and 95 % interval of every explainer, a panel for each score (↑ higher is better, ↓ lower is better). All "
    "panels have the order of {by}, the best on top; reference rows are hollow, below the line."
)
CURVES_CAPTION = "Means (lines) and 95 % intervals (bands) of the curves behind scores; reference rows are dashed."
CHOSEN = (
    " {shown} of {methods} methods: the best four and the worst by {by}, then those with the largest and the smallest "
    "area, curve by curve. All are in curves.csv.gz."
)


class Scores(Section):
    """Report `table`, `significance`, `curves` and `sameness`, and draw the scores and the curves of each network.

    `network_scores` are scores of the network, not of the explainer; they are in its table (`sections.networks`).
    Curves whose names start with one of `drawn_elsewhere` have a figure of their own. `paired_tests: false` leaves out
    `significance`, a row for every pair and metric, and `curves: false` the curves, where an experiment does not ask
    which explainer is best. Figures of more than twelve panels are split.
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
            self._draw_scores(part, experiment, network, rows)
            drawn = curves[(curves["data"] == network.data) & (curves["model"] == network.model)]
            drawn = drawn[~drawn["metric"].str.startswith(self.drawn_elsewhere).astype(bool)]
            if len(drawn):
                self._draw_curves(part, experiment, network, rows, drawn)
        if len(experiment.sameness):
            part.tables["sameness"] = experiment.sameness
        layout = Layout(experiment.titles, address(str(experiment.config.get("experiment", ""))))
        same = unchanging(experiment.sameness)
        part.text = markdown(table, references, experiment.budgets, same, layout)
        return part

    def _draw_scores(self, part: Part, experiment: Experiment, network: Network, rows: pd.DataFrame) -> None:
        pages = score_pages(rows)
        undirected = set(rows["metric"]) - {metric for page in pages for metric in page} - {*with_direction(rows)}
        for number, page in enumerate(pages, start=1):
            name = _page_of("scores", network, number)
            own = rows[rows["metric"].isin(page)]
            order = best_first(rows, experiment.references)
            part.figures[name] = scores_figure(own, order, experiment.references, experiment.titles)
            part.vector.add(name)
            caption = SCORES_CAPTION.format(by=_first(rows))
            left_out = " Scores without a better direction are in table.csv." if undirected else ""
            part.captions[name] = f"{caption}{left_out} {sample_of(experiment, network.cells)}"

    def _draw_curves(
        self, part: Part, experiment: Experiment, network: Network, rows: pd.DataFrame, drawn: pd.DataFrame
    ) -> None:
        references = experiment.references
        regression = network.cells[0].folder.read(NETWORK)["regression"]
        followed = "score" if regression else "relative probability"
        names = chosen_methods(drawn, rows, references)
        methods = [name for name in dict.fromkeys(drawn["explainer"]) if name not in references]
        shown = sum(name not in references for name in names)
        chosen = CHOSEN.format(shown=shown, methods=len(methods), by=_first(rows)) if shown < len(methods) else ""
        ordered = drawn[drawn["explainer"].isin(names)].sort_values(
            "explainer", key=lambda column: column.map(names.index), kind="stable"
        )
        metrics = list(dict.fromkeys(drawn["metric"]))
        for number, start in enumerate(range(0, len(metrics), PANELS), start=1):
            name = _page_of("curves", network, number)
            own = ordered[ordered["metric"].isin(metrics[start : start + PANELS])]
            part.figures[name] = curves_figure(own, references, followed, experiment.titles)
            part.vector.add(name)
            part.captions[name] = f"{CURVES_CAPTION}{chosen} {sample_of(experiment, network.cells)}"


def _page_of(figure: str, network: Network, number: int) -> str:
    return f"{figure}{network.suffix}" + (f"_{number}" if number > 1 else "")


def _first(rows: pd.DataFrame) -> str:
    """Return the score by which explainers are sorted, in words."""
    return next(iter(with_direction(rows)), "the first score").replace("_", " ")
