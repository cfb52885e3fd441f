"""The cells of an experiment: their order, their networks and their scores."""

import random
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from report_samples import finished_cell, image_scores

from evident.cell_folder import DIRECTIONS, NETWORK, SCORES
from evident.errors import UserError
from evident.report.experiment import Cell, Experiment


def names(cells: list[Cell]) -> list[str]:
    return [" ".join(map(str, cell.labels.values())) for cell in cells]


# Order


@pytest.mark.parametrize("shuffle", range(5))
def test_explainers_are_sorted_by_name_and_references_follow_in_any_order_of_cells(
    tmp_path: Path, shuffle: int
) -> None:
    explainers = {"rise": False, "random": True, "cam": False, "edges": True, "vebi": False}
    cells = [
        finished_cell(tmp_path, name, seed=seed, reference_row=reference)
        for name, reference in explainers.items()
        for seed in (10, 2)
    ]
    random.Random(shuffle).shuffle(cells)
    assert [(cell.config.explainer.name, cell.config.seed) for cell in Experiment(cells).cells] == [
        (name, seed) for name in ("cam", "rise", "vebi", "edges", "random") for seed in (2, 10)
    ]


def test_data_sets_and_models_keep_the_order_of_the_sweep(tmp_path: Path) -> None:
    networks = [("photos", "vgg"), ("flowers", "net"), ("photos", "alexnet")]
    cells = [finished_cell(tmp_path, name, model, data=data) for name in ("rise", "cam") for data, model in networks]
    found = Experiment(cells)
    assert names(found.cells) == [
        f"{explainer} {data} {model} 0" for data, model in networks for explainer in ("cam", "rise")
    ]
    assert [(network.data, network.model) for network in found.networks()] == networks


# Networks


def test_networks_have_their_own_cells_and_a_suffix_for_their_figures(tmp_path: Path) -> None:
    cells = [finished_cell(tmp_path, name, model) for model in ("b", "a") for name in ("rise", "cam")]
    b, a = Experiment(cells).networks()
    assert (b.data, b.model, b.suffix) == ("photos", "b", "_photos_b")
    assert (a.data, a.model, a.suffix) == ("photos", "a", "_photos_a")
    assert names(list(a.cells)) == ["cam photos a 0", "rise photos a 0"]


def test_only_network_has_no_suffix(tmp_path: Path) -> None:
    [network] = Experiment([finished_cell(tmp_path, name) for name in ("rise", "cam")]).networks()
    assert network.suffix == ""


def test_networks_of_some_cells_have_these_cells_only(tmp_path: Path) -> None:
    cells = [finished_cell(tmp_path, name, model) for model in ("b", "a") for name in ("rise", "cam")]
    [network] = Experiment(cells).networks(cells[2:3])
    assert (network.model, network.suffix, names(list(network.cells))) == ("a", "", ["rise photos a 0"])


def test_first_seed_of_a_network_is_its_lowest(tmp_path: Path) -> None:
    seeds = {"rise": (12, 3), "cam": (3, 7)}
    cells = [finished_cell(tmp_path, name, seed=seed) for name, of_one in seeds.items() for seed in of_one]
    [network] = Experiment(cells).networks()
    assert names(network.first_seed()) == ["cam photos net 3", "rise photos net 3"]


def test_reference_rows_are_known_by_their_config(tmp_path: Path) -> None:
    cells = [
        finished_cell(tmp_path, "random", reference_row=True),
        finished_cell(tmp_path, "rise"),
        finished_cell(tmp_path, "oracle", reference_row=True),
    ]
    assert Experiment(cells).references == {"random", "oracle"}


# What the cells say of their networks


def network_cell(root: Path, explainer: str, seed: int, network: dict[str, Any], **settings: Any) -> Cell:
    return finished_cell(root, explainer, seed=seed, products={NETWORK: network}, **settings)


def test_every_network_is_described_once(tmp_path: Path) -> None:
    own = {"classes": ["cat"], "regression": False}
    cells = [
        network_cell(tmp_path, explainer, seed, {"hash": f"h{seed}", "accuracy": {"test": seed / 10}, **own})
        for explainer in ("rise", "cam")
        for seed in (1, 2)
    ]
    assert Experiment(cells).network_facts == [
        {"data": "photos", "model": "net", "seed": seed, "hash": f"h{seed}", "accuracy": {"test": seed / 10}}
        for seed in (1, 2)
    ]


def test_published_network_has_weights_and_no_seed(tmp_path: Path) -> None:
    network = {"hash": "h", "accuracy": {"test": 0.5}, "weights": "vgg16-397923af"}
    cells = [network_cell(tmp_path, "rise", seed, network) for seed in (1, 2)]
    expected = {"data": "photos", "model": "net", "hash": "h", "accuracy": {"test": 0.5}, "weights": "vgg16-397923af"}
    assert Experiment(cells).network_facts == [expected]


def test_network_belongs_to_the_base_of_a_derived_data_set(tmp_path: Path) -> None:
    base = {"data": {"base": {"name": "flowers"}}}
    cell = network_cell(tmp_path, "rise", 0, {"hash": "h", "accuracy": {}}, data="composites", config=base)
    assert cell.labels["data"] == "composites"
    assert Experiment([cell]).network_facts[0]["data"] == "flowers"


# Scores


def test_leading_scores_come_first_in_every_cell(tmp_path: Path) -> None:
    config = {"leading_scores": ["gain", "absent", "deletion"]}
    scores = pd.concat([image_scores(metric, [0.1, 0.2]) for metric in ("iou", "deletion", "gini", "gain")])
    cell = finished_cell(tmp_path, "rise", products={NETWORK: {"hash": "h"}, SCORES: scores}, config=config)
    found = Experiment([cell]).scores
    assert found["metric"].tolist() == [name for name in ("gain", "deletion", "iou", "gini") for _ in range(2)]
    assert found["value"].tolist() == [0.1, 0.2] * 4


def test_scores_of_all_cells_are_in_one_table_in_their_order(tmp_path: Path) -> None:
    cells = [
        finished_cell(tmp_path, name, products={SCORES: image_scores("gini", [0.25, value], explainer=name)})
        for name, value in {"rise": 0.5, "cam": 0.75}.items()
    ]
    scores = Experiment(cells).scores
    assert scores[["explainer", "image", "value"]].to_numpy().tolist() == [
        ["cam", "0", 0.25],
        ["cam", "1", 0.75],
        ["rise", "0", 0.25],
        ["rise", "1", 0.5],
    ]
    pd.testing.assert_index_equal(scores.index, pd.RangeIndex(4))


def test_directions_are_those_of_all_cells(tmp_path: Path) -> None:
    of_cells: dict[str, dict[str, str]] = {"rise": {"gini": "higher"}, "fgvis": {"gini": "higher", "size": "neither"}}
    cells = [finished_cell(tmp_path, name, products={DIRECTIONS: known}) for name, known in of_cells.items()]
    assert Experiment(cells).directions == {"gini": "higher", "size": "neither"}


def test_missing_scores_are_an_error_that_names_the_file(tmp_path: Path) -> None:
    cell = finished_cell(tmp_path, "rise")
    with pytest.raises(UserError, match=r"scores.parquet is missing; delete the folder .* and run the cell again"):
        _ = Experiment([cell]).scores
