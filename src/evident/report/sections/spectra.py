"""Artefacts of strides in heatmaps, and the spectra that show them."""

from evident.cell_folder import EXAMPLES
from evident.report.captions import sample_of
from evident.report.experiment import Experiment
from evident.report.figures.spectra import spectra_figure
from evident.report.sections.contract import Part, Section

SHOWN = (
    "Above: a heatmap of each explainer, with its mean grid energy over all scored images. Below: the mean logarithm "
    "of the power of its kept heatmaps by frequency, in which a grid stands out as points. First seed only."
)


class Spectra(Section):
    """Draw a heatmap and the mean spectrum of every explainer, if the score `metric`, the grid energy, is there."""

    def __init__(self, metric: str) -> None:
        self.metric = metric

    def report(self, experiment: Experiment) -> Part:
        part = Part()
        scores = experiment.scores
        energy = scores[(scores["metric"] == self.metric) & scores["at"].isna()]
        for network in experiment.networks():
            own = energy[(energy["data"] == network.data) & (energy["model"] == network.model)]
            mean = own.groupby(["explainer", "image"])["value"].mean().groupby("explainer").mean()
            examples = {cell.labels["explainer"]: cell.folder.get(EXAMPLES) for cell in network.first_seed()}
            known = {name: kept for name, kept in examples.items() if kept and name in mean}
            if known:
                name = f"spectra{network.suffix}"
                part.figures[name] = spectra_figure(known, {str(k): v for k, v in mean.items()}, experiment.titles)
                count = min(len(kept["heatmaps"]) for kept in known.values())
                part.captions[name] = f"{SHOWN} {sample_of(experiment, network.first_seed(), count)}"
        return part
