"""Whether explanations reach the class that an image shows, and no class that it does not show."""

from collections.abc import Mapping

from evident.report.experiment import Experiment
from evident.report.figures.separation import separation_figure
from evident.report.sections.contract import Part, Section
from evident.report.tables.separation import separation


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
            part.figures[f"separation{suffix}"] = separation_figure(rows, [*kinds.values()])
        return part
