"""Relevant features in the report: their table from files written by hand, and figures for any number of them."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import Tensor

from evident.relevance.relevance import Relevance
from evident.report.cells import Cell
from evident.report.figures.features import decoupled_figure, interpretation_sheet
from evident.report.figures.heatmaps import heatmap_colours
from evident.report.figures.spectra import spectra_figure
from evident.report.tables.features import feature_figures, feature_table

CLASSES = ["petals red", "petals blue"]
LAYERS = {"conv": 2, "relu": 3}
# Relevant for red are the features 3 and 0, for blue 3 and 4; 1 and 2 are for nobody.
WEIGHTS = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [2.0, 0.5], [0.0, 3.0]]).double()
CONTROL = {0: 1, 3: 2, 4: 2}  # another feature of the same layer
# Of the places below, deliberately in no order; -1: the feature answers to fewer than four images.
PLACES = [4, 0, 3, 1, 2]
LABELS = [[1, 1, 1, 1], [0, 0, 1, -1], [0, 1, 1, 1], [0, 1, -1, -1], [-1, -1, -1, -1]]
NAN = float("nan")
EVIDENCE = [[1.0, 0.5, 0.5, 0.0], [0.2, 0.4, 0.6, NAN], [0.1, 0.1, 0.1, 0.1], [0.3, 0.1, NAN, NAN], [NAN] * 4]


def cell_of(folder: Path, explainer: str, seed: int = 0, data: str = "flowers") -> Cell:
    """A cell that has learnt nothing; examples are all it has."""
    folder.mkdir(parents=True)
    named = {"explainer": {"name": explainer}, "data": {"name": data}, "model": {"name": "net"}, "seed": seed}
    save_file({"images": torch.zeros(2, 3, 8, 8).byte()}, folder / "examples.safetensors")
    return Cell(OmegaConf.create(named), folder)


def learnt(folder: Path, explainer: str, seed: int = 0, data: str = "flowers", classes: list[str] = CLASSES) -> Cell:
    """A cell with relevant features, their interpretation and what they see in two examples."""
    cell = cell_of(folder, explainer, seed, data)
    table = Relevance(LAYERS, WEIGHTS, WEIGHTS).table(classes)
    table.assign(control=table["place"].map(CONTROL)).to_csv(folder / "features.csv", index=False)
    save_file(interpretation(PLACES, LABELS, EVIDENCE), folder / "interpretation.safetensors")
    kept = examples(count=2, top=2, places=[3, 4])
    save_file({"feature_maps": kept.pop("maps"), **kept}, folder / "examples.safetensors")
    return cell


def interpretation(places: list[int], labels: Any, evidence: Any, size: int = 6) -> dict[str, Tensor]:
    torch.manual_seed(0)
    features, images = len(places), len(labels[0])
    return {
        "places": torch.tensor(places),
        "labels": torch.tensor(labels),
        "evidence": torch.tensor(evidence),
        "crops": torch.randint(256, (features, images, 3, size, size)).byte(),
        "crop": torch.randint(256, (features, 3, size, size)).byte(),
        "signal": torch.randint(256, (features, size, size)).byte(),
    }


def examples(count: int, top: int, places: list[int], size: int = 28) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {
        "images": torch.randint(256, (count, 3, size, size)).byte(),
        "heatmaps": torch.rand(count, size, size),
        "features": torch.tensor([places[:top]] * count),
        "maps": torch.rand(count, top, size, size),
    }


def ranked(count: int) -> tuple[pd.DataFrame, dict[str, Tensor]]:
    """Features of one class, the least relevant first, and their interpretation."""
    places = [7 * n + 3 for n in range(count)]
    rows = [
        {"place": place, "feature": f"features.{place}/relu:{place}", "rank": rank, "weight": 5 / rank}
        for rank, place in enumerate(places, start=1)
    ]
    return pd.DataFrame(rows[::-1]), interpretation(places, [[0] * 5] * count, [[0.5] * 5] * count)


def drawn(figure: Any) -> None:
    """Written as the report writes it; any warning fails the test."""
    figure.savefig(io.BytesIO())


def texts(figure: Any) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_purity_and_evidence_are_those_of_the_features_own_images(tmp_path: Path) -> None:
    table = feature_table([learnt(tmp_path / "cell", "vebi")])
    assert table["class"].tolist() == ["petals red"] * 2 + ["petals blue"] * 2
    assert table["place"].tolist() == [3, 0, 4, 3]
    assert table["rank"].tolist() == [1, 2, 1, 2]
    assert table["weight"].tolist() == [2, 1, 3, 0.5]
    assert table["feature"].tolist() == ["relu:1", "conv:0", "relu:2", "relu:1"]
    assert set(table["m"]) == {5}
    # One image of four is red; two of the three that there are; all four are blue; three of four are blue.
    assert table["purity"].tolist() == pytest.approx([1 / 4, 2 / 3, 1, 3 / 4])
    assert table["evidence"].tolist() == pytest.approx([0.1, 0.4, 0.5, 0.1])


def test_beside_every_feature_stands_another_of_its_layer(tmp_path: Path) -> None:
    table = feature_table([learnt(tmp_path / "cell", "vebi")])
    assert table["control"].tolist() == [2, 1, 2, 2]
    # What the feature 2 answers to is in no image; of the two of feature 1 one is red.
    assert table["purity_control"].tolist() == pytest.approx([NAN, 1 / 2, NAN, NAN], nan_ok=True)
    assert table["evidence_control"].tolist() == pytest.approx([NAN, 0.2, NAN, NAN], nan_ok=True)


def test_features_that_were_not_interpreted_have_neither(tmp_path: Path) -> None:
    cell = learnt(tmp_path / "cell", "vebi")
    (cell.folder / "interpretation.safetensors").unlink()
    table = feature_table([cell])
    assert len(table) == 4
    assert not table.columns.str.contains("purity|evidence").any()


def test_without_masks_there_is_no_evidence(tmp_path: Path) -> None:
    cell = learnt(tmp_path / "cell", "vebi")
    unknown = interpretation(PLACES, LABELS, [[NAN] * 4] * 5)
    save_file(unknown, cell.folder / "interpretation.safetensors")
    table = feature_table([cell])
    assert table["evidence"].isna().all()
    assert table["purity"].notna().all()


def test_every_row_says_whose_it_is(tmp_path: Path) -> None:
    cells = [
        cell_of(tmp_path / "random", "random"),
        learnt(tmp_path / "one", "vebi", seed=1),
        learnt(tmp_path / "two", "vebi", seed=2),
        learnt(tmp_path / "digits", "other", data="digits"),
    ]
    table = feature_table(cells)
    assert list(table.columns[:4]) == ["explainer", "data", "model", "seed"]
    assert table.groupby(["explainer", "data", "model", "seed"]).size().to_dict() == {
        ("vebi", "flowers", "net", 1): 4,
        ("vebi", "flowers", "net", 2): 4,
        ("other", "digits", "net", 0): 4,
    }
    for column in ("seed", "target", "rank", "place", "control", "m"):
        assert pd.api.types.is_integer_dtype(table[column]), column


def test_where_nothing_was_learnt_there_are_no_rows_and_no_figures(tmp_path: Path) -> None:
    cells = [cell_of(tmp_path / name, name) for name in ("random", "gradient")]
    assert len(feature_table(cells)) == 0
    assert feature_figures(cells) == {}


def test_a_sheet_a_class_and_one_figure_of_what_features_see(tmp_path: Path) -> None:
    cells = [cell_of(tmp_path / "random", "random"), learnt(tmp_path / "cell", "vebi")]
    figures = feature_figures(cells)
    assert list(figures) == ["decoupled", "interpretation_petals_red", "interpretation_petals_blue"]
    for figure in figures.values():
        drawn(figure)
    assert texts(figures["interpretation_petals_red"])[:2] == [
        "1. relu:1\nweight 2.00",
        "2. conv:0\nweight 1.00",
    ]
    assert texts(figures["decoupled"])[-4:] == ["relu:1", "relu:2"] * 2


def test_classes_that_are_called_by_numbers_have_their_sheets(tmp_path: Path) -> None:
    figures = feature_figures([learnt(tmp_path / "cell", "vebi", classes=["0", "1"])])
    assert list(figures) == ["decoupled", "interpretation_0", "interpretation_1"]


def test_features_that_were_not_interpreted_have_no_sheet(tmp_path: Path) -> None:
    cell = learnt(tmp_path / "cell", "vebi")
    (cell.folder / "interpretation.safetensors").unlink()
    assert list(feature_figures([cell])) == ["decoupled"]


def test_figures_are_of_the_first_seed_of_the_first_explainer_that_learns(tmp_path: Path) -> None:
    named = {"second seed": ("vebi", 1), "first seed": ("vebi", 0), "another": ("unresampled", 0)}
    cells = [cell_of(tmp_path / "random", "random")]
    for folder, (explainer, seed) in named.items():
        cell = learnt(tmp_path / folder, explainer, seed)
        features = pd.read_csv(cell.folder / "features.csv")
        features["feature"] = f"feature of {folder}"
        features.to_csv(cell.folder / "features.csv", index=False)
        cells.append(cell)
    assert "feature of first seed" in texts(feature_figures(cells)["decoupled"])


def test_every_data_set_has_figures_of_its_own(tmp_path: Path) -> None:
    cells = [
        learnt(tmp_path / "flowers", "vebi"),
        learnt(tmp_path / "digits", "vebi", data="digits", classes=["0", "1"]),
    ]
    assert list(feature_figures(cells)) == [
        *(f"{name}_flowers_net" for name in ("decoupled", "interpretation_petals_red", "interpretation_petals_blue")),
        *(f"{name}_digits_net" for name in ("decoupled", "interpretation_0", "interpretation_1")),
    ]


@pytest.mark.parametrize("count", range(1, 13))
def test_a_sheet_shows_the_most_relevant_on_top_and_no_more_than_ten(count: int) -> None:
    features, interpreted = ranked(count)
    figure = interpretation_sheet("petals red", features, interpreted)
    drawn(figure)
    shown = [text for text in texts(figure) if "weight" in text]
    expected = [f"{n}. features.{7 * n - 4}\n/relu:{7 * n - 4}\nweight {5 / n:.2f}" for n in range(1, count + 1)]
    assert shown == expected[:10]
    told = f", the first 10 of {count}" if count > 10 else ""
    assert figure.get_suptitle() == f"petals red: relevant features{told}"


def test_a_sheets_row_is_average_crop_signal_both_and_the_strongest_crops() -> None:
    features, interpreted = ranked(2)
    [axes] = interpretation_sheet("petals red", features, interpreted).axes
    canvas = axes.images[0].get_array()
    pictures = [canvas[12:18, left : left + 6] for left in range(0, 7 * 12, 12)]  # of the second row
    assert canvas.shape == (2 * 12 - 6, 7 * 12 - 6, 3)
    average, signal = interpreted["crop"][1], interpreted["signal"][1]
    assert np.allclose(pictures[0], average.permute(1, 2, 0) / 255)
    assert np.allclose(pictures[1], signal[..., None] / signal.max())
    assert np.allclose(pictures[2], heatmap_colours(average, signal.float()))
    for picture, crop in zip(pictures[3:], interpreted["crops"][1], strict=False):
        assert np.allclose(picture, crop.permute(1, 2, 0) / 255)


@pytest.mark.parametrize("value", [0, 255])
def test_a_constant_signal_is_drawn(value: int) -> None:
    features, interpreted = ranked(2)
    for field in ("signal", "crop", "crops"):
        interpreted[field].fill_(value)
    drawn(interpretation_sheet("petals red", features, interpreted))


@pytest.mark.parametrize("images", [1, 3])
def test_fewer_images_than_a_sheet_shows_leave_a_shorter_row(images: int) -> None:
    features, _ = ranked(2)
    interpreted = interpretation([3, 10], [[0] * images] * 2, [[0.5] * images] * 2)
    figure = interpretation_sheet("petals red", features, interpreted)
    drawn(figure)
    assert [text for text in texts(figure) if text.startswith("crop")] == [f"crop {n + 1}" for n in range(images)]


@pytest.mark.parametrize("top", range(1, 13))
def test_what_features_see_stands_in_their_order_beside_the_whole(top: int) -> None:
    places = [10 + n for n in range(top)]
    kept = examples(2, top, places)
    figure = decoupled_figure(kept, {place: f"relu:{place}" for place in places})
    drawn(figure)
    [axes] = figure.axes
    canvas = axes.images[0].get_array()
    gap = canvas.shape[0] - 2 * 28  # between the rows, and between the columns
    assert canvas.shape == (56 + gap, (top + 2) * (28 + gap) - gap, 3)
    second, across = canvas[28 + gap :], 28 + gap
    assert np.allclose(second[:, :28], kept["images"][1].permute(1, 2, 0) / 255)
    assert np.allclose(second[:, across : across + 28], heatmap_colours(kept["images"][1], kept["heatmaps"][1]))
    for n in range(top):
        seen = second[:, (n + 2) * across : (n + 2) * across + 28]
        assert np.allclose(seen, heatmap_colours(kept["images"][1], kept["maps"][1, n]))
    titles = ["image", "combined", *(f"feature {n + 1}" for n in range(top))]
    assert texts(figure) == [*titles, *([f"relu:{place}" for place in places] * 2)]


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_where_no_feature_takes_part_it_says_so(value: float) -> None:
    kept = examples(2, 3, [5, -1, -1])
    kept["maps"][:, 1:] = 0
    kept["heatmaps"].fill_(value)
    figure = decoupled_figure(kept, {5: "relu:5"})
    drawn(figure)
    assert texts(figure)[-6:] == ["relu:5", "none takes part", "none takes part"] * 2


def heatmaps(count: int, size: int = 32) -> dict[str, dict[str, Tensor]]:
    torch.manual_seed(0)
    return {f"explainer_{n}": {"heatmaps": torch.rand(4, size, size)} for n in range(count)}


@pytest.mark.parametrize("count", [1, 2, 9, 10, 12])
def test_every_explainer_has_a_heatmap_above_its_spectrum(count: int) -> None:
    examples = heatmaps(count)
    figure = spectra_figure(examples, {name: 0.125 for name in examples})
    drawn(figure)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == [f"{name}\n0.1250" for name in examples]
    assert sum(len(axes.images) for axes in figure.axes) == 2 * count
    [last] = [axes for axes in figure.axes if axes.get_title() == titles[-1]]
    assert np.allclose(last.images[0].get_array(), examples[f"explainer_{count - 1}"]["heatmaps"][2])


def spectrum(maps: Tensor) -> np.ndarray:
    """What is drawn below the heatmap."""
    figure = spectra_figure({"name": {"heatmaps": maps}}, {"name": float("nan")})
    drawn(figure)
    return np.asarray(figure.axes[1].images[0].get_array())


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_heatmap_shown_is_the_middle_one(count: int) -> None:
    maps = torch.rand(count, 32, 32)
    figure = spectra_figure({"name": {"heatmaps": maps}}, {"name": 0.5})
    assert np.allclose(figure.axes[0].images[0].get_array(), maps[count // 2])


def test_a_comb_of_period_two_stands_out_at_the_border() -> None:
    down, across = (torch.arange(32) % 2).float().expand(1, 32, 32).mT, (torch.arange(32) % 2).float().expand(1, 32, 32)
    for comb, place in ((down, (0, 16)), (across, (16, 0)), ((down - across).abs(), (0, 0))):
        power = spectrum(comb)
        assert np.unravel_index(power.argmax(), power.shape) == place
        assert power.max() == pytest.approx(0)


def test_the_spectrum_of_a_slow_wave_lies_in_the_middle() -> None:
    wave = torch.sin(torch.arange(64) * 2 * torch.pi / 16).expand(1, 64, 64)
    power = spectrum(wave)
    row, column = np.unravel_index(power.argmax(), power.shape)
    assert (row, abs(int(column) - 32)) == (32, 4)


@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, 1.0])
def test_a_constant_heatmap_is_drawn_and_has_no_spectrum(value: float) -> None:
    assert spectrum(torch.full((2, 30, 30), value)).max() <= -6  # where the colours end


def test_a_constant_heatmap_takes_nothing_from_the_others() -> None:
    comb = (torch.arange(32) % 2).float().expand(1, 32, 32)
    power = spectrum(torch.cat([comb, torch.full((1, 32, 32), 0.1)]))
    assert np.unravel_index(power.argmax(), power.shape) == (16, 0)
