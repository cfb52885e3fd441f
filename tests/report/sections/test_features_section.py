"""The section of relevant features: which rows and figures there are, and of which cells."""

import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from report_samples import finished_cell
from torch import Tensor

from evident.cell_folder import EXAMPLES, FEATURE_MAPS, FEATURES, INTERPRETATION, Product
from evident.relevance.relevance import Relevance
from evident.report.experiment import Cell, Experiment
from evident.report.sections.contract import PicturePart
from evident.report.sections.features import Features

CLASSES = ["petals red", "petals blue"]
# Features 3 and 0 are relevant for red, 3 and 4 for blue.
WEIGHTS = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [2.0, 0.5], [0.0, 3.0]]).double()
CONTROL = {0: 1, 3: 2, 4: 2}


def interpretation(size: int = 6) -> dict[str, Tensor]:
    """Return the interpretation of all five features, by four images each."""
    torch.manual_seed(0)
    return {
        "places": torch.tensor([4, 0, 3, 1, 2]),
        "labels": torch.tensor([[1, 1, 1, 1], [0, 0, 1, -1], [0, 1, 1, 1], [0, 1, -1, -1], [-1, -1, -1, -1]]),
        "evidence": torch.full((5, 4), 0.5),
        "crops": torch.randint(256, (5, 4, 3, size, size)).byte(),
        "crop": torch.randint(256, (5, 3, size, size)).byte(),
        "signal": torch.randint(256, (5, size, size)).byte(),
    }


def without_features(root: Path, explainer: str, seed: int = 0, data: str = "flowers") -> Cell:
    """Return a cell whose explainer learned nothing."""
    return finished_cell(root, explainer, seed=seed, data=data, products={EXAMPLES: examples()})


def examples(size: int = 28) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {"images": torch.randint(256, (2, 3, size, size)).byte(), "heatmaps": torch.rand(2, size, size)}


def with_features(
    root: Path,
    explainer: str,
    seed: int = 0,
    data: str = "flowers",
    classes: list[str] = CLASSES,
    without: tuple[Product[Any], ...] = (),
    name: str | None = None,
) -> Cell:
    """Return a cell with relevant features, all called `name` if given, their maps and their interpretation."""
    table = Relevance({"conv": 2, "relu": 3}, WEIGHTS, WEIGHTS).table(classes)
    table = table.assign(control=table["place"].map(CONTROL))
    products: dict[Product[Any], Any] = {
        FEATURES: table if name is None else table.assign(feature=name),
        INTERPRETATION: interpretation(),
        EXAMPLES: examples(),
        FEATURE_MAPS: {
            "maps": torch.rand(2, 2, 28, 28),
            "features": torch.tensor([[3, 4], [3, -1]]),
            "shares": torch.tensor([[0.75, 0.25], [1.0, 0.0]]),
        },
    }
    kept = {product: content for product, content in products.items() if product not in without}
    return finished_cell(root, explainer, seed=seed, data=data, products=kept)


def table_of(*cells: Cell) -> pd.DataFrame:
    return Features().report(Experiment(cells)).tables["features"]


def figures_of(*cells: Cell) -> dict[str, Figure]:
    return Features().report(Experiment(cells)).figures


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_every_row_has_the_labels_of_its_cell(tmp_path: Path) -> None:
    table = table_of(
        without_features(tmp_path, "random"),
        with_features(tmp_path, "vebi", seed=1),
        with_features(tmp_path, "vebi", seed=2),
        with_features(tmp_path, "other", data="digits"),
    )
    assert list(table.columns[:4]) == ["explainer", "data", "model", "seed"]
    assert table.groupby(["explainer", "data", "model", "seed"]).size().to_dict() == {
        ("vebi", "flowers", "net", 1): 4,
        ("vebi", "flowers", "net", 2): 4,
        ("other", "digits", "net", 0): 4,
    }
    for column in ("seed", "target", "rank", "place", "control", "m"):
        assert pd.api.types.is_integer_dtype(table[column]), column


def test_interpreted_features_have_purity_and_evidence(tmp_path: Path) -> None:
    table = table_of(with_features(tmp_path, "vebi"))
    assert table["place"].tolist() == [3, 0, 4, 3]
    assert table["purity"].tolist() == pytest.approx([1 / 4, 2 / 3, 1, 3 / 4])
    assert table["evidence"].tolist() == pytest.approx([0.5] * 4)


def test_features_that_were_not_interpreted_have_rows_and_maps_but_no_sheets(tmp_path: Path) -> None:
    cell = with_features(tmp_path, "vebi", without=(INTERPRETATION,))
    table = table_of(cell)
    assert len(table) == 4
    assert not table.columns.str.contains("purity|evidence").any()
    assert list(figures_of(cell)) == ["feature_maps"]


def test_features_without_maps_have_sheets_only(tmp_path: Path) -> None:
    cell = with_features(tmp_path, "vebi", without=(FEATURE_MAPS,))
    assert list(figures_of(cell)) == ["interpretation_petals_red", "interpretation_petals_blue"]


def test_sheets_are_drawn_for_chosen_models_and_features_listed_for_all(tmp_path: Path) -> None:
    cells = [with_features(tmp_path, "vebi", data=data) for data in ("flowers", "digits")]
    for chosen, sheets in ((["net"], 4), (["other"], 0)):
        part = Features(chosen).report(Experiment(cells))
        assert sum(name.startswith("interpretation") for name in part.figures) == sheets
        assert len(part.tables["features"]) == 8
        assert "purity" in part.tables["features"]


def test_without_learned_features_there_are_no_rows_and_no_figures(tmp_path: Path) -> None:
    part = Features().report(Experiment([without_features(tmp_path, name) for name in ("random", "gradient")]))
    assert (part.tables, part.figures, part.text) == ({}, {}, "")


def test_every_class_has_a_sheet_and_all_share_the_figure_of_feature_maps(tmp_path: Path) -> None:
    figures = figures_of(without_features(tmp_path, "random"), with_features(tmp_path, "vebi"))
    assert list(figures) == ["feature_maps", "interpretation_petals_red", "interpretation_petals_blue"]
    for figure in figures.values():
        figure.savefig(io.BytesIO())  # any warning fails the test
    assert texts(figures["interpretation_petals_red"])[:2] == ["1. relu:1\nweight 2.00", "2. conv:0\nweight 1.00"]
    assert texts(figures["feature_maps"])[-4:] == ["relu:1", "relu:2", "relu:1", "none takes part"]


def test_classes_may_be_named_by_numbers(tmp_path: Path) -> None:
    figures = figures_of(with_features(tmp_path, "vebi", classes=["0", "1"]))
    assert list(figures) == ["feature_maps", "interpretation_0", "interpretation_1"]


def test_figures_are_of_the_first_seed_of_the_first_explainer_that_learns(tmp_path: Path) -> None:
    cells = [
        without_features(tmp_path, "random"),
        with_features(tmp_path, "vebi", 1, name="second seed"),
        with_features(tmp_path, "vebi_unresampled", 0, name="other explainer"),
        with_features(tmp_path, "vebi", 0, name="first seed"),
    ]
    assert "first seed" in texts(figures_of(*cells)["feature_maps"])


def test_every_data_set_has_figures_of_its_own(tmp_path: Path) -> None:
    cells = [
        with_features(tmp_path, "vebi"),
        with_features(tmp_path, "vebi", data="digits", classes=["0", "1"]),
        without_features(tmp_path, "random", data="photos"),
    ]
    assert list(figures_of(*cells)) == [
        *(
            "feature_maps_flowers_net",
            "interpretation_petals_red_flowers_net",
            "interpretation_petals_blue_flowers_net",
        ),
        *("feature_maps_digits_net", "interpretation_0_digits_net", "interpretation_1_digits_net"),
    ]


def test_picture_lists_the_features_that_take_part_with_their_shares(tmp_path: Path) -> None:
    cell = with_features(tmp_path, "vebi", without=(INTERPRETATION,))
    part = Features().picture(cell)
    assert part.values == {
        "features": [{"feature": "relu:1", "share": 0.75}, {"feature": "relu:2", "share": 0.25}],
    }
    assert list(part.figures) == ["features"]
    nothing = without_features(tmp_path, "random")
    assert Features().picture(nothing) == PicturePart()
