"""The separation of present and absent classes in the report: one table, and a figure for each network."""

from pathlib import Path

import pandas as pd
import pytest
from report_samples import finished_cell, image_scores

from evident.cell_folder import SCORES
from evident.report.experiment import Cell, Experiment
from evident.report.sections.contract import Part
from evident.report.sections.separation import Separation

SECTION = Separation("reached_here", {"nearest": "reached_near", "far away": "reached_far"})


def cell_of(root: Path, explainer: str, model: str, scores: dict[str, list[float]]) -> Cell:
    parts = [image_scores(metric, values, explainer=explainer, model=model) for metric, values in scores.items()]
    frame = pd.concat(parts, ignore_index=True)
    return finished_cell(root, explainer, model, 0, {SCORES: frame})


@pytest.mark.parametrize("models", [["a"], ["a", "b"]])
def test_each_network_has_a_figure_and_each_explainer_a_row(tmp_path: Path, models: list[str]) -> None:
    scores = {"reached_here": [0.9, 0.8], "reached_near": [0.1, 0.0], "reached_far": [0.2, 0.0], "gini": [1.0, 1.0]}
    cells = [cell_of(tmp_path, name, model, scores) for model in models for name in ("free", "filtered")]
    part = SECTION.report(Experiment(cells))
    table = part.tables["separation"]
    assert len(table) == 2 * len(models)
    assert table["present_median"].tolist() == pytest.approx([0.85] * len(table))
    assert table["far_away_p95"].tolist() == pytest.approx([0.19] * len(table))
    assert table["n_absent"].tolist() == [4] * len(table)
    names = ["separation"] if len(models) == 1 else [f"separation_photos_{model}" for model in models]
    assert list(part.figures) == names


def test_experiment_without_these_scores_has_no_separation(tmp_path: Path) -> None:
    assert SECTION.report(Experiment([cell_of(tmp_path, "free", "a", {"gini": [0.1]})])) == Part()
