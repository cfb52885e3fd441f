"""Explanations that are images in the report: which figures there are, and of which cells."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from report_samples import finished_cell
from torch import Tensor

from evident.cell_folder import EVIDENCE, EXAMPLES, NETWORK, Product
from evident.report.experiment import Cell
from evident.report.figures.evidence import explanations_figure, games_figure
from evident.report.sections.contract import PicturePart
from evident.report.sections.evidence import ROWS, Evidence, evidence_figures

PICTURES = ["images", "explanation", "complement", "mask"]
SCORES = ["score", "explanation_score", "complement_score", "mask_share"]


def evidence(count: int = 4, size: int = 16, seed: int = 0) -> dict[str, Tensor]:
    """Return random images of each kind and random probabilities for `count` images."""
    generator = torch.Generator().manual_seed(seed)
    shown = {name: torch.randint(256, (count, 3, size, size), generator=generator).byte() for name in PICTURES}
    return {**shown, **{name: torch.rand(count, generator=generator) for name in SCORES}}


def cell_of(
    root: Path,
    explainer: str,
    kept: dict[str, Tensor],
    seed: int = 0,
    data: str = "photos",
    model: str = "net",
    regression: bool = False,
) -> Cell:
    """Return a cell that has these `images` and, if `kept` has more than images, its evidence."""
    products: dict[Product[Any], Any] = {NETWORK: {"regression": regression}, EXAMPLES: {"images": kept["images"]}}
    if len(kept) > 1:
        products[EVIDENCE] = {name: value for name, value in kept.items() if name != "images"}
    return finished_cell(root, explainer, model, seed, products, data)


def canvas_of(figure: Figure) -> np.ndarray:
    """Return the canvas of a figure once it is drawn; any warning fails the test."""
    figure.savefig(io.BytesIO())
    [axes] = figure.axes
    return np.asarray(axes.images[0].get_array())


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_one_network_has_its_explanations_and_its_games(tmp_path: Path) -> None:
    kept = {"fgvis": evidence(), "fgvis_generation": evidence(seed=1)}
    cells = [cell_of(tmp_path, name, of) for name, of in kept.items()]
    cells.insert(0, cell_of(tmp_path, "gradient", {"images": evidence()["images"]}))
    figures = evidence_figures(cells)
    assert list(figures) == ["explanations", "games"]
    assert np.array_equal(canvas_of(figures["explanations"]), canvas_of(explanations_figure(kept)))
    assert np.array_equal(canvas_of(figures["games"]), canvas_of(games_figure(kept)))


def test_without_evidence_nothing_is_drawn(tmp_path: Path) -> None:
    images = {"images": evidence()["images"]}
    assert evidence_figures([cell_of(tmp_path, name, images) for name in ("gradient", "random")]) == {}


def test_evidence_for_a_regression_is_not_drawn(tmp_path: Path) -> None:
    assert evidence_figures([cell_of(tmp_path, "fgvis", evidence(), regression=True)]) == {}


def test_first_seed_is_shown(tmp_path: Path) -> None:
    cells = [cell_of(tmp_path, "fgvis", evidence(seed=seed), seed) for seed in (7, 3, 5)]
    figures = evidence_figures(cells)
    expected = explanations_figure({"fgvis": evidence(seed=3)})
    assert np.array_equal(canvas_of(figures["explanations"]), canvas_of(expected))


def test_several_networks_have_one_figure_together_while_it_fits(tmp_path: Path) -> None:
    kept = {
        (model, name): evidence(seed=2 * m + n) for m, model in enumerate(("a_1", "b")) for n, name in enumerate("xy")
    }
    cells = [cell_of(tmp_path, key[1], of, model=key[0]) for key, of in kept.items()]
    figures = evidence_figures(cells)
    assert list(figures) == ["networks", "games_photos_a_1", "games_photos_b"]
    side_by_side = explanations_figure({"\n".join(key): of for key, of in kept.items()})
    assert np.array_equal(canvas_of(figures["networks"]), canvas_of(side_by_side))
    expected = [title for name in ("a_1\nx", "a_1\ny", "b\nx", "b\ny") for title in (name, f"{name}\nstretched")]
    assert texts(figures["networks"])[:9] == ["image", *expected]


def test_more_explanations_than_fit_have_a_figure_for_each_network(tmp_path: Path) -> None:
    kept = {
        (model, str(n)): evidence(seed=100 * m + n)
        for m, model in enumerate(("a_1", "b"))
        for n in range(ROWS // 2 + 1)
    }
    cells = [cell_of(tmp_path, key[1], of, model=key[0]) for key, of in kept.items()]
    figures = evidence_figures(cells)
    assert list(figures) == [f"{kind}_photos_{model}" for model in ("a_1", "b") for kind in ("explanations", "games")]
    of_b = {name: of for (model, name), of in kept.items() if model == "b"}
    assert np.array_equal(canvas_of(figures["explanations_photos_b"]), canvas_of(explanations_figure(of_b)))


def test_only_networks_of_the_same_images_are_shown_together(tmp_path: Path) -> None:
    networks = [("flowers", "a"), ("photos", "a"), ("photos", "b"), ("digits", "c"), ("digits", "d")]
    cells = [cell_of(tmp_path, "fgvis", evidence(), 0, data, model) for data, model in networks]
    together = [name for name in evidence_figures(cells) if name.startswith("networks")]
    assert together == ["networks_photos", "networks_digits"]


@pytest.mark.parametrize(("regression", "measure"), [(False, "probability"), (True, "score")])
def test_picture_shows_its_evidence_with_the_scores_of_both_images(
    tmp_path: Path, regression: bool, measure: str
) -> None:
    kept = evidence(count=1)
    cell = cell_of(tmp_path, "fgvis", kept, regression=regression)
    part = Evidence().picture(cell)
    assert part.values["evidence"] == {
        f"explanation_{measure}": kept["explanation_score"].item(),
        f"complement_{measure}": kept["complement_score"].item(),
        "mask_share": kept["mask_share"][0].item(),
    }
    assert list(part.images) == ["explanation", "complement", "mask"]
    for name, image in part.images.items():
        torch.testing.assert_close(image * 255, kept[name][0].float())


def test_picture_without_evidence_has_none(tmp_path: Path) -> None:
    cell = cell_of(tmp_path, "gradient", {"images": evidence()["images"]})
    assert Evidence().picture(cell) == PicturePart()
