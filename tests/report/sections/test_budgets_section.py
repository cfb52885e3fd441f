"""The section on budgets, from cells written by hand."""

from pathlib import Path
from typing import Any

from report_samples import finished_cell, image_scores

from evident.cell_folder import COST, DIRECTIONS, NETWORK, SCORES, Product
from evident.report.experiment import Cell, Experiment
from evident.report.sections.budgets import Budgets
from evident.report.sections.contract import Part
from evident.report.sections.scores import Scores

SECTION = Budgets("gini", 0.01)


def cell_with(root: Path, explainer: str, budget: str | None, passes: float = 1, seed: int = 0) -> Cell:
    row = f"{explainer}, {budget}" if budget else explainer
    cost = {"images": 2, "seconds": 1.0, "forward_passes": passes, "backward_passes": passes, "peak_memory": 1}
    scores = image_scores("gini", [0.25, 0.75], explainer=row, seed=seed)
    products: dict[Product[Any], Any] = {
        SCORES: scores,
        DIRECTIONS: {"gini": "higher"},
        COST: cost,
        NETWORK: {"regression": False},
    }
    described = {"name": explainer, **({"budget": budget} if budget else {})}
    return finished_cell(root, row, seed=seed, products=products, config={"explainer": described, "network_seed": 0})


def test_rows_of_one_explainer_differ_by_budget_and_count_seeds_and_passes(tmp_path: Path) -> None:
    cells = [cell_with(tmp_path, "rise", f"{n} masks", n, seed) for n in (40, 8) for seed in (0, 1, 2)]
    part = SECTION.report(Experiment(cells))
    table = part.tables["budgets"]
    assert table[["explainer", "budget", "passes", "seeds"]].to_numpy().tolist() == [
        ["rise", "8 masks", 8, 3],
        ["rise", "40 masks", 40, 3],
    ]
    assert table["sd_mean"].tolist() == [0, 0]
    assert list(part.figures) == ["budgets"]
    assert "| rise | **8 masks** | 8 | 3 | 0.500" in part.text
    assert "at most 0.01" in part.text


def test_figure_has_a_line_per_explainer_and_a_logarithmic_axis(tmp_path: Path) -> None:
    cells = [cell_with(tmp_path, name, f"{n} samples", n) for name in ("lime", "rise") for n in (4, 8)]
    figure = SECTION.report(Experiment(cells)).figures["budgets"]
    [axes] = figure.axes
    assert axes.get_xscale() == "log"
    assert axes.get_legend_handles_labels()[1] == ["lime", "rise"]


def test_explainers_without_a_budget_are_left_out(tmp_path: Path) -> None:
    plain = cell_with(tmp_path, "gradient", None)
    assert SECTION.report(Experiment([plain])) == Part()
    table = SECTION.report(Experiment([plain, cell_with(tmp_path, "rise", "8 masks")])).tables["budgets"]
    assert set(table["explainer"]) == {"rise"}


def test_caption_of_the_scores_names_the_budgets(tmp_path: Path) -> None:
    cells = [cell_with(tmp_path, "gradient", None), cell_with(tmp_path, "rise", "8 masks", seed=0)]
    assert Experiment(cells).budgets == {"rise, 8 masks": "8 masks"}
    text = Scores(network_scores=[]).report(Experiment(cells)).text
    assert text.endswith("Budgets per image: 8 masks (rise, 8 masks).\n")
    without = Scores(network_scores=[]).report(Experiment(cells[:1])).text
    assert "Budgets" not in without


def test_cells_of_one_row_with_different_budgets_name_both(tmp_path: Path) -> None:
    cells = [cell_with(tmp_path / str(seed), "rise", f"{n} masks", seed=seed) for seed, n in enumerate((8, 40))]
    for cell in cells:
        cell.config.row = "rise"
    assert Experiment(cells).budgets == {"rise": "8 masks or 40 masks"}


def test_section_shows_nothing_of_a_single_picture(tmp_path: Path) -> None:
    cell = cell_with(tmp_path, "rise", "8 masks")
    picture = SECTION.picture(cell)
    assert not picture.values
    assert not picture.figures
