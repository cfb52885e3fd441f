"""The heatmaps of all explainers for the first images."""

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure

from evident.cell_folder import EXAMPLES, NETWORK, OUTCOMES, SCORES
from evident.report.captions import outcome_caption, sample_of, short
from evident.report.experiment import Cell, Experiment, Network
from evident.report.figures.canvas import IMAGES
from evident.report.figures.examples import examples_figure
from evident.report.figures.heatmaps import draw_heatmap, draw_image
from evident.report.sections.contract import Part, PicturePart, Section
from evident.report.tables.order import ranked

SHOWN = (
    "Heatmaps of all explainers, the best by the first score first, reference rows last; white: outline of the ground "
    "truth, where it is known. Colours go from the lowest value of each heatmap to its 99.5th percentile. Rows: class "
    "of the image, predicted class and its probability, where they are kept. First seed only."
)


class Examples(Section):
    """Draw the first images with the heatmap of every explainer, of the first seed of each network.

    Explainers are sorted by the first score, the best first and reference rows last.
    """

    def report(self, experiment: Experiment) -> Part:
        part = Part()
        for network in experiment.networks():
            cells = {cell.labels["explainer"]: cell for cell in network.first_seed() if cell.folder.has(EXAMPLES)}
            if not cells:
                continue
            examples = {
                experiment.titles[name]: {
                    key: values[:IMAGES] for key, values in cells[name].folder.read(EXAMPLES).items()
                }
                for name in _order(experiment, network, list(cells))
            }
            name, count = f"examples{network.suffix}", min(len(kept["images"]) for kept in examples.values())
            captions = _captions(list(cells.values()), count)
            part.figures[name] = examples_figure(examples, captions)
            part.captions[name] = f"{SHOWN} {sample_of(experiment, list(cells.values()), count)}"
        return part

    def picture(self, cell: Cell) -> PicturePart:
        if not (examples := cell.folder.get(EXAMPLES)):
            return PicturePart()
        image, heatmap, target = examples["images"][0], examples["heatmaps"][0], int(examples["target"][0])
        span = (heatmap.max() - heatmap.min()).clamp(min=torch.finfo(heatmap.dtype).tiny)
        figure = Figure(figsize=(6, 3), dpi=150, layout="constrained")
        left, right = figure.subplots(1, 2)
        draw_image(left, image)
        draw_heatmap(right, image, heatmap, None)
        left.set_title(cell.folder.read(NETWORK)["classes"][target], fontsize=9)
        right.set_title(cell.title, fontsize=9)
        return PicturePart(figures={"overlay": figure}, images={"heatmap": ((heatmap - heatmap.min()) / span)[None]})


def _order(experiment: Experiment, network: Network, names: list[str]) -> list[str]:
    """Return the explainers, best first; in the given order where a cell of the network has no scores."""
    if not all(cell.folder.has(SCORES) for cell in experiment.cells):
        return names
    scores = experiment.scores
    own = scores[(scores["data"] == network.data) & (scores["model"] == network.model)]
    return [name for name in ranked(own, experiment.directions, experiment.references) if name in names]


def _captions(cells: Sequence[Cell], count: int) -> list[str]:
    """Return the caption of each of the first images: what the network says of it, or the explained class alone."""
    outcomes = next((cell.folder.read(OUTCOMES) for cell in cells if cell.folder.has(OUTCOMES)), None)
    if outcomes is not None:
        return [outcome_caption(row) for _, row in outcomes.fillna({"label": ""})[:count].iterrows()]
    classes, kept = cells[0].folder.read(NETWORK)["classes"], cells[0].folder.read(EXAMPLES)
    if "target" not in kept or cells[0].folder.read(NETWORK)["regression"]:
        return []
    named = [target for target in kept["target"][:count].tolist() if target < len(classes)]
    return [short(classes[target]) for target in named] if len(named) == count else []
