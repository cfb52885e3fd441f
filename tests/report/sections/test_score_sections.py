"""Sections of scores, examples and cost: which tables and figures there are, and of which cells."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from report_samples import finished_cell, image_scores

from evident.cell_folder import COST, DIRECTIONS, EXAMPLES, NETWORK, OUTCOMES, SAMENESS, SCORES, Product
from evident.report.experiment import Cell, Experiment
from evident.report.sections.ablation import Ablation
from evident.report.sections.colour import Colour
from evident.report.sections.contract import Part, PicturePart
from evident.report.sections.cost import Cost
from evident.report.sections.examples import Examples
from evident.report.sections.scores import Scores
from evident.report.sections.spectra import Spectra

CLASSES = ["cat", "dog"]
BAR = ["lowest value", "99.5th percentile"]  # below the colour bar of examples


def cell_of(
    root: Path,
    explainer: str = "gradient",
    model: str = "net",
    seed: int = 0,
    scores: dict[tuple[str, str], list[float]] | None = None,
    reference_row: bool = False,
    regression: bool = False,
    examples: int = 0,
) -> Cell:
    """Return a cell with scores of two images of two classes, by metric and axis; those with an axis are at 1."""
    labels = {"explainer": explainer, "model": model, "seed": seed}
    parts = [
        image_scores(metric, values, axis, 1.0 if axis else math.nan, **labels).assign(target=range(len(values)))
        for (metric, axis), values in (scores or {("gini", ""): [0.25, 0.75]}).items()
    ]
    frame = pd.concat(parts, ignore_index=True)
    products: dict[Product[Any], Any] = {
        SCORES: frame,
        DIRECTIONS: dict.fromkeys(frame["metric"], "higher"),
        NETWORK: {"classes": CLASSES, "regression": regression},
        EXAMPLES: {"images": torch.zeros(examples, 3, 8, 8).byte(), "heatmaps": torch.rand(examples, 8, 8)},
    }
    return finished_cell(root, explainer, model, seed, products, reference_row=reference_row)


def titles(figure: Figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def columns(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


# Scores


def test_sameness_of_heatmaps_is_a_table_and_flags_its_row(tmp_path: Path) -> None:
    cells = [cell_of(tmp_path, name) for name in ("plaid", "rise")]
    assert "sameness" not in Scores(network_scores=[]).report(Experiment(cells)).tables
    for cell, correlation in zip(cells, (0.99, 0.2), strict=True):
        values: dict[str, float | None] = {"correlation": correlation, "constant": 0.0}
        cell.folder.write(SAMENESS, values)
    part = Scores(network_scores=[]).report(Experiment(cells))
    assert part.tables["sameness"][["explainer", "correlation"]].to_numpy().tolist() == [["plaid", 0.99], ["rise", 0.2]]
    assert "| plaid † |" in part.text
    assert "| rise |" in part.text


def test_scores_of_explainers_have_tables_text_and_figures(tmp_path: Path) -> None:
    scores = {("gini", ""): [0.25, 0.75], ("deletion", ""): [0.5, 0.5], ("deletion", "pixels"): [0.1, 0.3]}
    cells = [cell_of(tmp_path, name, scores=scores, reference_row=name == "random") for name in ("random", "rise")]
    part = Scores(network_scores=[]).report(Experiment(cells))
    assert list(part.tables) == ["table", "significance", "curves"]
    assert part.tables["table"]["explainer"].tolist() == ["rise", "rise", "random", "random"]
    assert part.tables["significance"][["explainer", "other"]].to_numpy().tolist() == [["rise", "random"]] * 2
    assert part.tables["curves"]["mean"].tolist() == pytest.approx([0.2, 0.2])
    without = Scores(network_scores=[], paired_tests=False).report(Experiment(cells))
    assert list(without.tables) == ["table", "curves"]
    without = Scores(network_scores=[], curves=False).report(Experiment(cells))
    assert (list(without.tables), list(without.figures)) == (["table", "significance"], ["scores"])
    assert list(part.figures) == ["scores", "curves"]
    title, sample, header = [line for line in part.text.splitlines() if line][:3]
    assert title == "## photos, net"
    assert sample == "One network, 2 scores for each explainer; intervals over images (bootstrap)."
    assert header == "| explainer | [gini](../../docs/glossary.md#gini) ↑ | deletion ↑ |"
    assert part.vector == {"scores", "curves"}
    assert part.captions.keys() == part.figures.keys()
    assert (
        "2 images for 1 network (net on photos; seed 0), explained for the class of the label."
        in part.captions["scores"]
    )
    assert "| *random* | " in part.text


def test_scores_of_the_network_are_not_in_the_table_of_explainers(tmp_path: Path) -> None:
    cell = cell_of(tmp_path, scores={("gini", ""): [0.25, 0.75], ("removal_network", ""): [0.5, 0.5]})
    part = Scores(network_scores=["removal_network"]).report(Experiment([cell]))
    assert set(part.tables["table"]["metric"]) == {"gini"}
    assert "removal" not in part.text


def test_curves_drawn_elsewhere_are_in_the_table_and_not_in_the_figure(tmp_path: Path) -> None:
    scores = {("gini", ""): [0.2, 0.7], ("ablation_random", "features"): [0.5, 0.5], ("iou", "thresholds"): [0.1, 0.3]}
    part = Scores(network_scores=[], drawn_elsewhere=["ablation"]).report(
        Experiment([cell_of(tmp_path, scores=scores)])
    )
    assert set(part.tables["curves"]["metric"]) == {"ablation_random", "iou"}
    assert titles(part.figures["curves"]) == ["iou"]
    del scores["iou", "thresholds"]
    part = Scores(network_scores=[], drawn_elsewhere=["ablation"]).report(
        Experiment([cell_of(tmp_path, seed=1, scores=scores)])
    )
    assert "curves" not in part.figures


def test_every_network_has_figures_of_its_own_scores(tmp_path: Path) -> None:
    cells = [cell_of(tmp_path, model=model) for model in ("a", "b")]
    part = Scores(network_scores=[]).report(Experiment(cells))
    assert list(part.figures) == ["scores_photos_a", "scores_photos_b"]


@pytest.mark.parametrize(("regression", "label"), [(False, "relative probability"), (True, "score")])
def test_curves_over_pixels_follow_the_score_of_a_regression(tmp_path: Path, regression: bool, label: str) -> None:
    scores = {("gini", ""): [0.25, 0.75], ("deletion", "pixels"): [0.1, 0.3]}
    cell = cell_of(tmp_path, scores=scores, regression=regression)
    figure = Scores(network_scores=[]).report(Experiment([cell])).figures["curves"]
    assert figure.axes[0].get_ylabel() == label


# Ablation and colour


def test_ablation_has_a_row_per_class_and_a_figure_of_its_curves(tmp_path: Path) -> None:
    scores = {
        (f"ablation_{choice}", axis): [0.5, 0.75]
        for choice in ("relevant", "random", "least")
        for axis in ("", "features")
    }
    part = Ablation("ablation").report(Experiment([cell_of(tmp_path, "vebi", scores=scores), cell_of(tmp_path)]))
    assert list(part.figures) == ["ablation"]
    assert list(part.tables) == ["ablation"]
    relevant = part.tables["ablation"][part.tables["ablation"]["metric"] == "ablation_relevant"]
    rows = relevant[["explainer", "target", "mean", "n"]].to_numpy().tolist()
    assert rows == [["vebi", 0, 0.5, 1], ["vebi", 1, 0.75, 1]]
    assert Ablation("ablation").report(Experiment([cell_of(tmp_path, "rise")])) == Part()


def test_colours_name_their_classes_and_are_drawn_for_the_first_explainer_of_every_network(tmp_path: Path) -> None:
    scores = {("colour_grey", ""): [-0.5, -0.25], ("colour_swap", ""): [0.0, 0.0], ("gini", ""): [0.2, 0.3]}
    cells = [
        cell_of(tmp_path, explainer, model, scores=scores)
        for model in ("net", "other")
        for explainer in ("fgvis", "fgvis_deletion")
    ]
    part = Colour("colour").report(Experiment(cells))
    assert list(part.tables) == ["colour"]
    assert part.tables["colour"]["class"].tolist() == CLASSES * 8
    assert set(part.tables["colour"]["metric"]) == {"colour_grey", "colour_swap"}
    assert list(part.figures) == ["colour_photos_net", "colour_photos_other"]
    assert [titles(figure) for figure in part.figures.values()] == [["fgvis, net"], ["fgvis, other"]]
    assert list(Colour("colour").report(Experiment(cells[:2])).figures) == ["colour"]
    assert Colour("colour").report(Experiment([cell_of(tmp_path)])) == Part()


# Examples and spectra


def test_examples_are_of_the_first_seed_of_every_network(tmp_path: Path) -> None:
    cells = [
        cell_of(tmp_path, "rise", "a", 1, examples=1),
        cell_of(tmp_path, "gradient", "a", 0, examples=2),
        cell_of(tmp_path, "rise", "a", 0, examples=2),
        cell_of(tmp_path, "rise", "b", 3, examples=1),
    ]
    figures = Examples().report(Experiment(cells)).figures
    assert list(figures) == ["examples_photos_a", "examples_photos_b"]
    assert columns(figures["examples_photos_a"]) == ["image", "gradient", "rise", *BAR]
    assert columns(figures["examples_photos_b"]) == ["image", "rise", *BAR]


def test_examples_are_four_images_best_explainer_first_with_what_the_network_says(tmp_path: Path) -> None:
    means = {"poor": 0.1, "best": 0.9, "random": 0.95}
    cells = [
        cell_of(tmp_path, name, scores={("gini", ""): [mean] * 6}, reference_row=name == "random", examples=6)
        for name, mean in means.items()
    ]
    said = {"image": list("abcdef"), "label": "cat", "predicted": ["cat", *["dog"] * 5], "probability": 0.75}
    cells[0].folder.write(OUTCOMES, pd.DataFrame({**said, "target": "cat", "target_probability": 0.25}))
    part = Examples().report(Experiment(cells))
    rows = ["cat\npredicted cat 0.75", *["cat\npredicted dog 0.75"] * 3]
    assert columns(part.figures["examples"]) == [*rows, "image", "best", "poor", "random", *BAR]
    assert "4 images for 1 network" in part.captions["examples"]


def test_cells_without_examples_are_left_out_of_their_figure(tmp_path: Path) -> None:
    silent = finished_cell(tmp_path, "random", reference_row=True)
    figures = Examples().report(Experiment([silent, cell_of(tmp_path, "rise", examples=2)])).figures
    assert columns(figures["examples"]) == ["image", "rise", *BAR]
    assert Examples().report(Experiment([silent])) == Part()


def test_picture_shows_the_class_and_a_heatmap_from_zero_to_one(tmp_path: Path) -> None:
    heatmaps = torch.tensor([[[0.5, 1.0], [1.5, 2.5]]])
    kept = {"images": torch.zeros(1, 3, 2, 2).byte(), "heatmaps": heatmaps, "target": torch.tensor([1])}
    cell = finished_cell(tmp_path, "rise", products={EXAMPLES: kept, NETWORK: {"classes": CLASSES}})
    part = Examples().picture(cell)
    assert titles(part.figures["overlay"]) == ["dog", "rise"]
    assert part.images["heatmap"].tolist() == [[[0, 0.25], [0.5, 1]]]
    assert part.values == {}


def test_spectra_show_the_mean_of_the_metric_for_explainers_that_have_it(tmp_path: Path) -> None:
    energy = {("grid_energy", ""): [0.125, 0.375], ("grid_energy", "pixels"): [9.0, 9.0]}
    cells = [
        cell_of(tmp_path, "gradient", scores=energy, examples=3),
        cell_of(tmp_path, "gradient", seed=1, scores={("grid_energy", ""): [0.25, 0.25]}, examples=3),
        cell_of(tmp_path, "rise", examples=3),
    ]
    part = Spectra("grid_energy").report(Experiment(cells))
    assert list(part.figures) == ["spectra"]
    assert titles(part.figures["spectra"]) == ["gradient\n0.2500"]
    assert Spectra("grid_energy").report(Experiment(cells[2:])) == Part()


# Cost


def test_cost_is_per_image_except_for_memory(tmp_path: Path) -> None:
    spent = {"images": 4, "seconds": 2.0, "forward_passes": 8, "backward_passes": 4, "peak_memory": 1024}
    cells = [finished_cell(tmp_path, name, products={COST: spent}, seed=7) for name in ("rise", "gradient")]
    table = Cost().report(Experiment(cells)).tables["cost"]
    assert list(table) == [
        *("explainer", "data", "model", "seed"),
        *("seconds_per_image", "forward_passes_per_image", "backward_passes_per_image", "peak_memory"),
    ]
    assert table.to_numpy().tolist() == [
        ["gradient", "photos", "net", 7, 0.5, 2, 1, 1024],
        ["rise", "photos", "net", 7, 0.5, 2, 1, 1024],
    ]


def test_sections_without_a_picture_add_nothing_to_one(tmp_path: Path) -> None:
    cell = cell_of(tmp_path)
    for section in (Scores([]), Ablation("ablation"), Colour("colour"), Spectra("grid_energy"), Cost()):
        assert section.picture(cell) == PicturePart()
