"""What a figure was made from, in words: images, networks, seeds, budgets, and the explained class."""

from collections.abc import Sequence

import pandas as pd
from omegaconf import OmegaConf

from evident.cell_folder import NETWORK, SCORES
from evident.report.experiment import Cell, Experiment
from evident.report.tables.score_text import budgets_in_words

TARGETS = {
    "label": "the class of the label",
    "predicted": "the predicted class",
    "second": "the second most likely class",
    "nearest": "the most likely class beside the label and the predicted one",
    "least_likely": "the least likely class",
    "random": "a class drawn at random",
}
LONGEST = 26  # characters of a line beside an image
SEEDS = 6  # more are counted


def sample_of(experiment: Experiment, cells: Sequence[Cell], images: int | None = None) -> str:
    """Return one or two sentences on the sample of a figure of these cells.

    `images` is the number of images of each network that the figure shows; None for a figure of all scores.
    """
    networks = {cell.folder.read(NETWORK)["hash"] for cell in cells}
    names = dict.fromkeys(f"{cell.labels['model']} on {cell.labels['data']}" for cell in cells)
    counted = images if images is not None else _images(experiment, cells)
    of_images = [f"{counted} image{'s' * (counted != 1)}"] if counted else []
    several = len(networks) > 1
    of_networks = f"{'each of ' if several and of_images else ''}{len(networks)} network{'s' * several}"
    sample = " for ".join([*of_images, of_networks])
    budgets = {experiment.titles[cell.labels["explainer"]]: cell.budget for cell in cells if cell.budget}
    spent = budgets_in_words(budgets)
    sentence = f"{sample} ({', '.join(names)}; {_seeds(cells)}), explained for {_explained(cells)}."
    return sentence + (f" Budgets per image: {spent}." if spent else "")


def _images(experiment: Experiment, cells: Sequence[Cell]) -> int:
    """Return the number of images whose scores a network has; 0 if these cells have no scores."""
    scored = {cell.folder.read(NETWORK)["hash"] for cell in cells if cell.folder.has(SCORES)}
    if not scored:
        return 0
    scores = experiment.scores
    own = scores[scores["network"].isin(scored) & scores["at"].isna()]
    return int(own.groupby("network")["image"].nunique().max())


def _seeds(cells: Sequence[Cell]) -> str:
    seeds = sorted({int(cell.config.seed) for cell in cells})
    if len(seeds) > SEEDS:
        return f"{len(seeds)} seeds from {seeds[0]} to {seeds[-1]}"
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def _explained(cells: Sequence[Cell]) -> str:
    if cells[0].folder.read(NETWORK)["regression"]:
        return "the predicted score"
    target = OmegaConf.select(cells[0].config, "explained.target", default="label")
    return TARGETS.get(str(target), f"the class {target}")


def outcome_caption(row: pd.Series) -> str:
    """Return what a network says of an image, from its row of `cell_folder.OUTCOMES`: label, prediction, target."""
    predicted = f"{row['predicted']} {row['probability']:.2f}"
    lines = [str(row["label"]), *_in_lines("predicted", predicted)] if row["label"] else [predicted]
    if str(row["target"]) not in (str(row["predicted"]), row["label"]):
        lines += _in_lines("explained:", f"{row['target']} {row['target_probability']:.2f}")
    return "\n".join(map(short, lines))


def _in_lines(word: str, rest: str) -> list[str]:
    """Return a word and the rest in one line, or in two where one would be too long."""
    return [f"{word} {rest}"] if len(word) + 1 + len(rest) <= LONGEST else [word, rest]


def short(text: str) -> str:
    """Return the end of a text that is too long for a line beside an image."""
    return text if len(text) <= LONGEST else f"...{text[3 - LONGEST :]}"
