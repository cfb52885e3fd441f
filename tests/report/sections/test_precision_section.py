"""The section on precision, from cells written by hand."""

from pathlib import Path
from typing import Any

import pytest
from report_samples import finished_cell, image_scores

from evident.cell_folder import DIRECTIONS, NETWORK, SCORES, Product
from evident.report.experiment import Cell, Experiment
from evident.report.sections.precision import Precision

FULL = {"rise": 0.25, "lime": 0.5, "cam": 0.75, "gradient": 1.0}


def cells(root: Path, lower: dict[str, float]) -> list[Cell]:
    made = []
    for name in FULL:
        for used, values in (("32-true", FULL), ("bf16-mixed", lower)):
            row = f"{name}, {used}"
            products: dict[Product[Any], Any] = {
                SCORES: image_scores("deletion", [values[name] - 0.125, values[name] + 0.125], explainer=row),
                DIRECTIONS: {"deletion": "lower"},
                NETWORK: {"regression": False},
            }
            made.append(finished_cell(root, row, products=products, config={"precision": used}))
    return made


def test_rankings_that_agree_have_a_tau_of_one_and_are_bold(tmp_path: Path) -> None:
    part = Precision(0.95).report(Experiment(cells(tmp_path, {name: value + 0.0625 for name, value in FULL.items()})))
    [row] = part.tables["precision"].to_dict("records")
    assert (row["metric"], row["methods"], row["tau"]) == ("deletion", 4, 1)
    assert row["largest"] == pytest.approx(0.0625)
    assert "| net | deletion | **1.000** | 1.000 | 0.224 | 4 |" in part.text  # 0.0625 of a deviation of 0.280


def test_one_exchanged_pair_of_four_explainers_has_a_tau_of_two_thirds(tmp_path: Path) -> None:
    part = Precision(0.95).report(Experiment(cells(tmp_path, FULL | {"rise": 0.5, "lime": 0.25})))
    assert part.tables["precision"]["tau"].tolist() == pytest.approx([2 / 3])
    assert "| net | deletion | 0.667 | 0.667 |" in part.text


def test_experiment_of_one_precision_has_no_such_table(tmp_path: Path) -> None:
    part = Precision(0.95).report(Experiment(cells(tmp_path, FULL)[::2]))
    assert not part.tables
    assert not part.text
