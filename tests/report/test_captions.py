"""Captions: the sample of a figure, and what a network says of an image."""

from pathlib import Path

import pandas as pd
import pytest
from report_samples import finished_cell, image_scores

from evident.cell_folder import NETWORK, SCORES
from evident.report.captions import outcome_caption, sample_of
from evident.report.experiment import Cell, Experiment


def cells(root: Path, target: str = "predicted", regression: bool = False) -> list[Cell]:
    config = {"explained": {"target": target}, "explainer": {"budget": "500 masks", "title": "RISE"}}
    return [
        finished_cell(
            root,
            "rise",
            seed=seed,
            products={SCORES: image_scores("iou", [0.1, 0.2, 0.3], seed=seed), NETWORK: {"regression": regression}},
            config=config,
        )
        for seed in (3, 4)
    ]


def test_sample_states_images_networks_seeds_class_and_budgets(tmp_path: Path) -> None:
    made = cells(tmp_path)
    assert sample_of(Experiment(made), made) == (
        "3 images for each of 2 networks (net on photos; seeds 3, 4), explained for the predicted class. "
        "Budgets per image: 500 masks (RISE)."
    )
    first = sample_of(Experiment(made), made[:1], images=1)
    assert first.startswith("1 image for 1 network (net on photos; seed 3), ")


@pytest.mark.parametrize(
    ("target", "regression", "words"),
    [("label", False, "the class of the label"), ("7", False, "the class 7"), ("label", True, "the predicted score")],
)
def test_sample_states_what_is_explained(tmp_path: Path, target: str, regression: bool, words: str) -> None:
    made = cells(tmp_path, target, regression)
    assert f"explained for {words}." in sample_of(Experiment(made), made)


def test_sample_of_cells_without_scores_has_no_images(tmp_path: Path) -> None:
    cell = finished_cell(tmp_path)
    assert sample_of(Experiment([cell]), [cell]).startswith("1 network (net on photos; seed 0)")


@pytest.mark.parametrize(
    ("label", "predicted", "target", "caption"),
    [
        ("cat", "dog", "cat", "cat\npredicted dog 0.75"),
        ("cat", "dog", "cow", "cat\npredicted dog 0.75\nexplained: cow 0.25"),
        ("", "dog", "dog", "dog 0.75"),
        ("petals red", "petals turquoise", "cow", "petals red\npredicted\npetals turquoise 0.75\nexplained: cow 0.25"),
        ("a very long name of a class in words", "dog", "dog", "...e of a class in words\npredicted dog 0.75"),
    ],
)
def test_row_of_an_image_has_class_prediction_and_probability(
    label: str, predicted: str, target: str, caption: str
) -> None:
    row = {"label": label, "predicted": predicted, "probability": 0.75, "target": target, "target_probability": 0.25}
    found = outcome_caption(pd.Series(row))
    assert found.splitlines()[1:] == caption.splitlines()[1:]
    assert found.splitlines()[0].removeprefix("...") in (label or caption)
    assert max(map(len, found.splitlines())) <= 26
