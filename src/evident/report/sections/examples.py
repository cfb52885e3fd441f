"""The heatmaps of all explainers for the first images."""

from collections.abc import Mapping
from typing import Any

import torch
from matplotlib.figure import Figure

from evident.cell_folder import EXAMPLES, NETWORK, CellFolder
from evident.report.experiment import Experiment
from evident.report.figures.examples import examples_figure
from evident.report.figures.heatmaps import draw_heatmap, draw_image
from evident.report.sections.contract import Part, PicturePart, Section


class Examples(Section):
    """Draw the first images with the heatmap of every explainer, of the first seed of each network."""

    def report(self, experiment: Experiment) -> Part:
        part = Part()
        for network in experiment.networks():
            examples = {
                cell.labels["explainer"]: cell.folder.read(EXAMPLES)
                for cell in network.first_seed()
                if cell.folder.has(EXAMPLES)
            }
            if any(examples.values()):
                part.figures[f"examples{network.suffix}"] = examples_figure(examples)
        return part

    def picture(self, folder: CellFolder, labels: Mapping[str, Any]) -> PicturePart:
        if not (examples := folder.get(EXAMPLES)):
            return PicturePart()
        image, heatmap, target = examples["images"][0], examples["heatmaps"][0], int(examples["target"][0])
        span = (heatmap.max() - heatmap.min()).clamp(min=torch.finfo(heatmap.dtype).tiny)
        figure = Figure(figsize=(6, 3), dpi=150, layout="constrained")
        left, right = figure.subplots(1, 2)
        draw_image(left, image)
        draw_heatmap(right, image, heatmap, None)
        left.set_title(folder.read(NETWORK)["classes"][target], fontsize=9)
        right.set_title(labels["explainer"], fontsize=9)
        return PicturePart(figures={"overlay": figure}, images={"heatmap": ((heatmap - heatmap.min()) / span)[None]})
