"""Whether explanations reach the class that an image shows, and no class that it does not show."""

from collections.abc import Mapping

from evident.report.captions import sample_of
from evident.report.experiment import Experiment
from evident.report.figures.separation import separation_figure
from evident.report.sections.contract import Part, Section
from evident.report.tables.separation import separation

SHOWN = (
    "What explanations reach for the class that the image shows and for classes that it does not show, a point an "
    "image; dotted: absent classes should stay below 0.1, present ones above 0.5."
)


class Separation(Section):
    """Report the table `separation` of the score `present` and the scores `absent`, by the name of their kind."""

    def __init__(self, present: str, absent: Mapping[str, str]) -> None:
        self.present, self.absent = present, dict(absent)

    def report(self, experiment: Experiment) -> Part:
        scores = experiment.scores
        wanted = scores[scores["metric"].isin([self.present, *self.absent.values()])]
        if wanted.empty:
            return Part()
        kinds = {self.present: "present"} | {metric: kind for kind, metric in self.absent.items()}
        reached = wanted.assign(kind=wanted["metric"].map(kinds))
        part = Part({"separation": separation(reached)})
        networks = reached.groupby(["data", "model"], sort=False)
        for (data, model), rows in networks:
            suffix = "" if len(networks) == 1 else f"_{data}_{model}"
            name = f"separation{suffix}"
            part.figures[name] = separation_figure(rows, [*kinds.values()], experiment.titles)
            cells = [cell for cell in experiment.cells if (cell.labels["data"], cell.labels["model"]) == (data, model)]
            part.captions[name] = f"{SHOWN} {sample_of(experiment, cells)}"
        return part
