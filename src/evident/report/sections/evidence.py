"""Explanations that are images: side by side, game by game, network by network."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from evident.cell_folder import EVIDENCE, EXAMPLES, NETWORK
from evident.report.captions import sample_of
from evident.report.experiment import Cell, Experiment, titles_of
from evident.report.figures.canvas import IMAGES
from evident.report.figures.evidence import GAMES_SHOWN, explanations_figure, games_figure
from evident.report.sections.contract import Part, PicturePart, Section

CAPTIONS = {
    "games": "For each image: itself, explanation, complement, mask and mean mask (masks by their square root); p: "
    "probability of the class; kept: mean of the mask.",
    "networks": "Explanations of every explainer and network as the network sees them, and with stretched contrast "
    'beside; p: probability of the class that the network is explained for, of the explanation "of" that of the image.',
    "explanations": "Explanations as the network sees them, and with stretched contrast beside; p: probability of the "
    "class.",
}
GAMES = 12  # a figure of games shows at most as many explainers
ROWS = 12  # so does a figure of several networks


class Evidence(Section):
    """Draw the explanations of all explainers that give evidence, each with the network's probability."""

    def report(self, experiment: Experiment) -> Part:
        figures = evidence_figures(experiment.cells)
        return Part(figures=figures, captions={name: _caption(experiment, name) for name in figures})

    def picture(self, cell: Cell) -> PicturePart:
        kept = cell.folder.get(EVIDENCE)
        if not kept:
            return PicturePart()
        measure = "score" if cell.folder.read(NETWORK)["regression"] else "probability"
        values = {
            f"explanation_{measure}": kept["explanation_score"][0].item(),
            f"complement_{measure}": kept["complement_score"][0].item(),
            "mask_share": kept["mask_share"][0].item(),
        }
        images = {name: kept[name][0] / 255 for name in ("explanation", "complement", "mask")}
        return PicturePart({"evidence": values}, images=images)


def evidence_figures(cells: Sequence[Cell]) -> dict[str, Figure]:
    """Draw the evidence of all classifiers that have some, for the first seed.

    `networks` shows the explanations of several networks of the same images, if they fit on a page; else each network
    has a figure `explanations` of its own. `games` are drawn for each network.
    """
    first, titles = min(cell.config.seed for cell in cells), titles_of(cells)
    kept = {
        (cell.config.data.name, cell.config.model.name, titles[cell.labels["explainer"]]): (
            cell.folder.read(EXAMPLES) | evidence
        )
        for cell in cells
        # The figures show probabilities, which a regression does not have.
        if cell.config.seed == first and not cell.folder.read(NETWORK)["regression"]
        if (evidence := cell.folder.get(EVIDENCE)) and cell.folder.has(EXAMPLES)
    }
    networks = list(dict.fromkeys(key[:2] for key in kept))
    datasets = list(dict.fromkeys(data for data, _ in networks))
    figures: dict[str, Figure] = {}
    for data in datasets:
        side_by_side = {f"{model}\n{name}": examples for (of, model, name), examples in kept.items() if of == data}
        models = [model for of, model in networks if of == data]
        together = len(models) > 1 and len(side_by_side) <= ROWS
        if together:
            figures["networks" if len(datasets) == 1 else f"networks_{data}"] = explanations_figure(side_by_side)
        for model in models:
            suffix = "" if len(networks) == 1 else f"_{data}_{model}"
            of_network = {name: examples for (*key, name), examples in kept.items() if key == [data, model]}
            if not together:
                figures[f"explanations{suffix}"] = explanations_figure(of_network)
            if len(of_network) <= GAMES:
                figures[f"games{suffix}"] = games_figure(of_network)
    return figures


def _caption(experiment: Experiment, name: str) -> str:
    """Return the caption of a figure, with the sample of the cells whose network is part of its name."""
    first = min(cell.config.seed for cell in experiment.cells)
    cells = [cell for cell in experiment.cells if cell.config.seed == first and cell.folder.has(EVIDENCE)]
    named = [cell for cell in cells if name.endswith(f"_{cell.labels['data']}_{cell.labels['model']}")] or cells
    kept = min(len(cell.folder.read(EXAMPLES)["images"]) for cell in named if cell.folder.has(EXAMPLES))
    kind = name.split("_")[0]
    return f"{CAPTIONS[kind]} {sample_of(experiment, named, min(kept, GAMES_SHOWN if kind == 'games' else IMAGES))}"
