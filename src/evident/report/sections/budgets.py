"""Score against budget of explainers that sample or optimise."""

import pandas as pd

from evident.cell_folder import COST
from evident.report.captions import sample_of
from evident.report.experiment import Cell, Experiment
from evident.report.figures.budgets import budgets_figure
from evident.report.sections.contract import Part, Section
from evident.report.tables import budgets as tables

LEGEND = (
    "Mean ± half of the 95 % bootstrap interval over images, of means over the explainer's seed. *passes*: images that "
    "pass the network forward, and those whose gradient passes back, per explained image. *seeds*: different seeds of "
    "the explainer on one network; a single one where it draws nothing. *SD of the mean*, *SD of an image*: standard "
    "deviation over seeds, of the mean over images and of the score of a single image."
)
SHOWN = (
    "Scores by passes per image: means, 95 % intervals over images (bands) and two standard deviations over the "
    "explainer's seed (bars); a filled marker is the knee."
)
RULE = (
    "**Bold**: the knee, the smallest budget for which, and for all larger ones, {metric} is below that of the largest "
    "budget by at most {tolerance}, or by one standard error of the difference over images if that is more."
)


class Budgets(Section):
    """Report `budgets` and draw them, for cells of one explainer that differ by budget and seed, and for no others.

    The knee is chosen by the score `chosen_by`, with a `tolerance` in its units (`tables.budgets.knee`).
    """

    def __init__(self, chosen_by: str, tolerance: float) -> None:
        self.chosen_by, self.tolerance = chosen_by, tolerance

    def report(self, experiment: Experiment) -> Part:
        found = [scores for cell in experiment.cells if (scores := _scores(experiment, cell)) is not None]
        if not found:
            return Part()
        scores = pd.concat(found, ignore_index=True)
        table, metrics = tables.table(scores, self.chosen_by, self.tolerance), list(dict.fromkeys(scores["metric"]))
        part = Part({"budgets": table})
        titles = {str(cell.config.explainer.name): cell.method for cell in experiment.cells}
        for network in experiment.networks():
            rows = table[(table["data"] == network.data) & (table["model"] == network.model)]
            if len(rows):
                name = f"budgets{network.suffix}"
                part.figures[name] = budgets_figure(rows, metrics, titles)
                part.captions[name] = f"{SHOWN} {sample_of(experiment, network.cells)}"
        rule = RULE.format(metric=self.chosen_by.replace("_", " "), tolerance=self.tolerance)
        part.text = f"{tables.markdown(table, metrics, titles)}\n{LEGEND} {rule}\n"
        return part


def _scores(experiment: Experiment, cell: Cell) -> pd.DataFrame | None:
    """Return the scores of a cell with its budget and passes per image; None without a budget or its cost."""
    cost = cell.folder.get(COST)
    if cell.budget is None or cost is None:
        return None
    scores = experiment.scores_of(cell)
    scores = scores[scores["at"].isna()]
    passes = (cost["forward_passes"] + cost["backward_passes"]) / cost["images"]
    return scores.assign(explainer=cell.config.explainer.name, budget=cell.budget, passes=passes)
