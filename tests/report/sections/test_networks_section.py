"""The section of networks: which predictions, removals, attributes and notes of the cells it reports."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_samples import ATTRIBUTES, attribute_curves, finished_cell, image_scores, only, predictions
from torch import Tensor

from evident.cell_folder import NETWORK, PREDICTIONS, SCORES, Product
from evident.report.experiment import Cell, Experiment
from evident.report.sections.contract import Part
from evident.report.sections.networks import Networks, predictions_of
from evident.report.tables.networks import performance
from evident.report.tables.statistics import mean_interval

nan = math.nan


def cell_of(
    root: Path,
    explainer: str,
    model: str = "siam",
    seed: int = 0,
    predicted: dict[str, Tensor] | None = None,
    removals: list[float] | None = None,
    data: str = "photos",
    names: list[str] = ATTRIBUTES,
    config: Mapping[str, Any] | None = None,
) -> Cell:
    """Return a cell, with what its network predicts and how well it knows removals, if given."""
    labels: dict[str, Any] = {"explainer": explainer, "model": model, "seed": seed, "data": data}
    scores = [image_scores("gini", [0.5, 0.5], **labels)]
    if removals is not None:
        curves = [[value] * len(names) for value in removals]
        scores.append(image_scores("removal_network", removals, **labels))
        scores.append(attribute_curves("removal_network", curves, **labels).dropna(subset="at"))
    products: dict[Product[Any], Any] = {SCORES: pd.concat(scores, ignore_index=True), NETWORK: {"attributes": names}}
    if predicted is not None:
        products[PREDICTIONS] = predicted
    return finished_cell(root, explainer, model, seed, products, data, config=config)


def report(*cells: Cell) -> Part:
    return Networks(removal="removal_network").report(Experiment(cells))


def row(table: pd.DataFrame, **where: str) -> pd.Series:
    [index] = table.index[(table[list(where)] == pd.Series(where)).all(axis=1)]
    return table.loc[index]


def test_network_counts_once_however_many_explainers_it_has(tmp_path: Path) -> None:
    cells = [cell_of(tmp_path, name, predicted=predictions(0)) for name in ("siam", "rise", "grad_cam")]
    expected, _ = performance({"photos": {"siam": {0: predictions(0)}}})
    pd.testing.assert_frame_equal(report(*cells).tables["performance"], expected)


def test_predictions_are_read_by_data_set_model_and_seed(tmp_path: Path) -> None:
    cells = [
        cell_of(tmp_path, "siam", "siam", 1, predictions(1)),
        cell_of(tmp_path, "siam", "siam", 0, predictions(0)),
        cell_of(tmp_path, "cam", "regressor", 0, only(predictions(2), "scores", "votes")),
        cell_of(tmp_path, "siam", "siam", 0, predictions(3), data="sun"),
    ]
    found = predictions_of(Experiment(cells))
    assert {data: {model: list(seeds) for model, seeds in models.items()} for data, models in found.items()} == {
        "photos": {"siam": [0, 1], "regressor": [0]},
        "sun": {"siam": [0]},
    }
    assert set(found["photos"]["regressor"][0]) == {"scores", "votes"}
    assert found["sun"]["siam"][0]["scores"].equal(predictions(3)["scores"])


def test_cells_without_predictions_have_no_tables(tmp_path: Path) -> None:
    silent = [cell_of(tmp_path, "rise", "published"), cell_of(tmp_path, "rise", "other", data="sun")]
    part = report(*silent)
    assert (part.tables, part.figures, part.text) == ({}, {}, "")
    part = report(silent[0], cell_of(tmp_path, "siam", predicted=predictions(0)), silent[1])
    assert set(part.tables["performance"]["model"]) == {"siam", "constant"}
    assert "performance_differences" not in part.tables


def test_removals_are_those_of_the_network_whatever_explains_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    one, two = rng.uniform(-1, 1, (2, 30))
    one[4] = nan  # a scene that shows nothing to rank
    cells = [
        cell_of(tmp_path, "siam", "siam", 0, predictions(0), one.tolist()),
        cell_of(tmp_path, "rise", "siam", 0, predictions(0), one.tolist()),
        cell_of(tmp_path, "rise", "cam", 0, predictions(1), two.tolist()),
    ]
    part = report(*cells)
    table, compared = part.tables["performance"], part.tables["performance_differences"]
    for model, values in (("siam", one), ("cam", two)):
        removal = row(table, model=model, measure="removal")
        assert removal[["value", "ci_low", "ci_high"]].tolist() == pytest.approx(mean_interval(values[:, None])[:, 0])
        assert (removal["direction"], removal["n"]) == ("higher", 30)
    assert row(compared, measure="removal")["difference"] == pytest.approx(np.nanmean(one) - two.mean())
    head, _, siam, *_ = (line for line in part.text.splitlines() if line.startswith("|"))
    assert head.endswith("removal ↑ |")
    assert f"| {np.nanmean(one):.3f} [" in siam


def test_removals_are_reported_without_predictions(tmp_path: Path) -> None:
    of_seeds = np.random.default_rng(1).uniform(-1, 1, (2, 20))
    cells = [cell_of(tmp_path, "siam", seed=seed, removals=values.tolist()) for seed, values in enumerate(of_seeds)]
    table = report(*cells).tables["performance"]
    assert table["measure"].tolist() == ["removal"]
    assert table.iloc[0]["value"] == pytest.approx(of_seeds.mean())
    assert table.iloc[0]["std"] == pytest.approx(of_seeds.mean(1).std(ddof=1))
    assert table.iloc[0]["seeds"] == "0 1"


def test_attributes_have_the_names_of_their_data_set(tmp_path: Path) -> None:
    names = {"photos": ATTRIBUTES, "sun": ["sailing", "hiking", "working", "camping"]}
    cells = [
        cell_of(tmp_path, "siam", predicted=predictions(0), removals=[0.5], data=data, names=of_data)
        for data, of_data in names.items()
    ]
    table = report(*cells).tables["attributes"]
    for metric, count in {"attribute_precision": 3, "removal_network": 4}.items():
        found = table[table["metric"] == metric].groupby("data")["attribute"].agg(list)
        assert found.to_dict() == {data: of_data[:count] for data, of_data in names.items()}


def test_note_on_a_data_set_stands_once_below_the_table(tmp_path: Path) -> None:
    note = "Labels were predicted."
    cells = [cell_of(tmp_path, name, predicted=predictions(0), config={"data": {"note": note}}) for name in ("a", "b")]
    text = report(*cells).text
    assert text.startswith("\n## Networks\n")
    assert text.endswith(f"\n**{note}**\n")
    assert text.count(note) == 1
