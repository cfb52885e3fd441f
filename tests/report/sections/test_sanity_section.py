"""Sanity in the report: one table, one figure for each network, and nothing without its scores."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from report_samples import finished_cell, image_scores

from evident.cell_folder import SCORES
from evident.report.experiment import Cell, Experiment
from evident.report.sections.contract import Part
from evident.report.sections.sanity import Sanity
from evident.report.tables.sanity import DEPENDS, IGNORES, MEASURES


def cell_of(root: Path, explainer: str, model: str, seed: int, similarity: float) -> Cell:
    labels: dict[str, Any] = {"explainer": explainer, "model": model, "seed": seed}
    parts = []
    for name in MEASURES:
        for at in (0.5, 1.0):
            parts.append(image_scores(f"cascading_{name}", [similarity] * 3, "depths", at, **labels))
        parts.append(image_scores(f"cascading_{name}", [similarity, similarity, similarity + seed / 100], **labels))
    frame = pd.concat(parts, ignore_index=True)
    return finished_cell(root, explainer, model, seed, {SCORES: frame}, reference_row=explainer == "random")


@pytest.mark.parametrize("models", [["a"], ["a", "b"]])
def test_each_network_has_a_figure_and_each_explainer_a_verdict(tmp_path: Path, models: list[str]) -> None:
    given = {"gradient": 0.1, "random": 1.0}
    cells = [
        cell_of(tmp_path, name, model, seed, similarity)
        for model in models
        for seed in (0, 1, 2)
        for name, similarity in given.items()
    ]
    part = Sanity(0.5).report(Experiment(cells))
    table = part.tables["sanity"]
    verdicts = table.groupby("explainer")["verdict"].unique().map(list).to_dict()
    assert verdicts == {"gradient": [DEPENDS], "random": [IGNORES]}
    assert "| *random* | does not depend |" in part.text
    names = ["sanity"] if len(models) == 1 else [f"sanity_photos_{model}" for model in models]
    assert list(part.figures) == names


def test_limit_decides(tmp_path: Path) -> None:
    cells = [cell_of(tmp_path, "gradient", "a", seed, 0.4) for seed in (0, 1, 2)]
    assert set(Sanity(0.2).report(Experiment(cells)).tables["sanity"]["verdict"]) == {IGNORES}


def test_experiment_without_these_scores_has_no_sanity(tmp_path: Path) -> None:
    frame = image_scores("gini", [0.1, 0.2])
    assert Sanity(0.5).report(Experiment([finished_cell(tmp_path, products={SCORES: frame})])) == Part()
