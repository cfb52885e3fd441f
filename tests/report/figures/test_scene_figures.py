"""Figures of scenes draw what was said of them: where, of what, which way and how much."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import Tensor

from evident.report.cells import Cell
from evident.report.figures.scenes import (
    LOWERS,
    RAISES,
    SceneExplanation,
    draw_signed,
    explanations_figure,
    removal_figures,
    scene_figures,
)

NAMES = ["trees", "ice_snow", "sand", "road", "wire", "ocean", "clouds", "brick", "metal", "grass"]
CONTRIBUTIONS = torch.tensor([0.4, -2.0, 0.0, 0.1, -0.3, 1.5, 0.2, -0.6, 0.05, 0.8])
LARGEST = [1, 5, 9, 7, 0, 4, 6, 3]


def scene(title: str = "crowd 7.1, network 6.4", contributions: Tensor = CONTRIBUTIONS) -> SceneExplanation:
    """The map of attribute k is k everywhere."""
    maps = torch.arange(len(contributions), dtype=torch.float32)[:, None, None].expand(-1, 4, 4)
    image = torch.full((3, 16, 16), 255, dtype=torch.uint8)
    return SceneExplanation(image, title, {"siam": torch.randn(4, 4)}, maps, contributions, NAMES)


def parts_of(row: SubFigure | Figure, maps: int = 1) -> tuple[Axes, list[Axes], list[Axes]]:
    image, *further = row.axes
    return image, further[:maps], further[maps:]


def test_what_is_not_in_the_image_is_named_in_italics() -> None:
    there = dict.fromkeys((name.replace("_", " ") for name in NAMES[::2]), "normal")
    known = scene("known")._replace(visible=torch.arange(len(NAMES)) % 2 == 0)
    first, second = (parts_of(row)[2] for row in explanations_figure([known, scene("unknown")]).subfigs)
    for axes in first:
        assert axes.title.get_fontstyle() == there.get(axes.get_title().rpartition(" ")[0], "italic")
    assert {axes.title.get_fontstyle() for axes in first} == {"normal", "italic"}
    assert {axes.title.get_fontstyle() for axes in second} == {"normal"}


def test_there_is_a_row_a_scene() -> None:
    rows = explanations_figure([scene("first"), scene("second"), scene("third")]).subfigs
    assert [parts_of(row)[0].get_title() for row in rows] == ["first", "second", "third"]


def test_the_eight_largest_contributions_are_told_in_order_with_their_sign() -> None:
    [row] = explanations_figure([scene()]).subfigs
    _, _, attributes = parts_of(row)
    assert [axes.get_title() for axes in attributes] == [
        *("ice snow -2.00", "ocean +1.50", "grass +0.80", "brick -0.60"),
        *("trees +0.40", "wire -0.30", "clouds +0.20", "road +0.10"),
    ]
    assert [axes.images[0].get_array().max() for axes in attributes] == LARGEST


def test_frames_are_green_where_the_score_is_raised_and_pink_where_it_is_lowered_the_wider_the_more() -> None:
    [row] = explanations_figure([scene()]).subfigs
    _, _, attributes = parts_of(row)
    frames = [axes.spines["left"] for axes in attributes]
    signs = [CONTRIBUTIONS[k] > 0 for k in LARGEST]
    assert [to_hex(frame.get_edgecolor()) for frame in frames] == [RAISES if up else LOWERS for up in signs]
    widths = np.array([frame.get_linewidth() for frame in frames])
    worth = CONTRIBUTIONS[LARGEST].abs().numpy()
    thick = worth > 0.2  # the others are as thin as can be seen
    np.testing.assert_allclose(widths[thick] / widths[0], worth[thick] / worth[0], rtol=1e-5)
    assert (np.diff(widths) <= 0).all()
    assert (widths > 0).all()


def test_an_attribute_that_is_nowhere_is_black() -> None:
    [row] = explanations_figure([scene(contributions=torch.tensor([0.0, 1.0]))]).subfigs
    _, _, (seen, unseen) = parts_of(row)
    assert seen.images[0].get_clim() == (0, 1)
    assert unseen.images[0].get_array().max() == 0
    assert unseen.images[0].get_clim()[1] > 0


def test_two_maps_at_most_stand_beside_the_picture() -> None:
    maps = {"siam": torch.ones(4, 4), "cam of scene_regressor": -torch.ones(2, 2), "third": torch.ones(4, 4)}
    [row] = explanations_figure([scene()._replace(maps=maps)]).subfigs
    _, beside, attributes = parts_of(row, maps=2)
    assert [axes.get_title() for axes in beside] == ["siam", "cam\nscene_regressor"]
    assert len(attributes) == 8


def signed(values: list[list[float]], grey: int = 255) -> NDArray[np.float64]:
    """What is drawn of a map (2, 2) over an even picture: a colour a place."""
    axes = Figure().subplots()
    draw_signed(axes, torch.full((3, 6, 8), grey, dtype=torch.uint8), torch.tensor(values))
    drawn = np.asarray(axes.images[0].get_array())
    assert drawn.shape == (6, 8, 3)
    for row in range(6):
        for column in range(8):
            np.testing.assert_array_equal(drawn[row, column], drawn[row // 3 * 3, column // 4 * 4])
    return drawn[::3, ::4]


@pytest.mark.parametrize("values", [[[2.0, 0.0], [-1.0, 0.5]], [[3.0, 0.0], [1.0, 2.0]], [[0.0, 0.0], [0.0, 0.0]]])
def test_zero_is_white_whatever_else_is_said(values: list[list[float]]) -> None:
    colours = signed(values)
    for colour, value in zip(colours.reshape(4, 3), np.ravel(values), strict=True):
        red, green, blue = colour
        if value == 0:
            assert min(colour) > 0.95
        elif value > 0:
            assert green > max(red, blue)
        else:
            assert green < min(red, blue)


def test_the_limits_are_symmetric() -> None:
    limit = np.quantile([4.0, 2.0, 2.0, 0.0], 0.995)
    colours = signed([[-4.0, 2.0], [-2.0, 0.0]])
    expected = plt.get_cmap("PiYG")((np.array([[-4.0, 2.0], [-2.0, 0.0]]) / limit + 1) / 2)[..., :3]
    np.testing.assert_allclose(colours, expected, atol=1e-6)
    np.testing.assert_allclose(signed([[-400.0, 200.0], [-200.0, 0.0]]), colours, atol=1e-6)


def test_one_place_of_a_large_map_is_seen() -> None:
    values = torch.zeros(40, 40)
    values[7, 9] = 0.01
    axes = Figure().subplots()
    draw_signed(axes, torch.full((3, 40, 40), 255, dtype=torch.uint8), values)
    np.testing.assert_allclose(axes.images[0].get_array()[7, 9], plt.get_cmap("PiYG")(1.0)[:3], atol=1e-6)


def test_the_picture_is_seen_by_its_light() -> None:
    dark, bright = signed([[1.0, 0.0], [-1.0, 0.5]], grey=0), signed([[1.0, 0.0], [-1.0, 0.5]])
    assert (dark < 0.7 * bright).all()


SCENES = 9
PREDICTED = torch.arange(SCENES, dtype=torch.float32)


def cell_of(root: Path, explainer: str, model: str, seed: int = 0, **said: Tensor) -> Cell:
    """A cell that has left `said` of scenes, or nothing."""
    folder = root / f"{explainer} {model} {seed}"
    folder.mkdir(parents=True)
    (folder / "attributes.json").write_text(json.dumps(NAMES))
    if said:
        save_file(said, folder / "scenes.safetensors")
    named = {"explainer": {"name": explainer}, "data": {"name": "photos"}, "model": {"name": model}, "seed": seed}
    return Cell(OmegaConf.create(named), folder)


def placed(votes: float | None = 3.0, value: float = -1.0) -> dict[str, Tensor]:
    """What an explainer with maps leaves of every scene."""
    return {
        "votes": torch.full((SCENES, 2), torch.nan if votes is None else votes),
        "predicted": PREDICTED[:, None].expand(-1, 2).contiguous(),
        "places": torch.full((SCENES, 4, 4), value),
    }


def stating(votes: float | None = 3.0, shown: tuple[int, ...] = ()) -> dict[str, Tensor]:
    """What one leaves that states contributions too: the first two scenes, then those of the largest errors."""
    rows = shown or ((0, 1) if votes is None else (0, 1, *range(8, 2, -1), *range(6)))
    pictures = {
        "images": torch.full((len(rows), 3, 16, 16), 255, dtype=torch.uint8),
        "attribute_maps": torch.rand(len(rows), len(NAMES), 4, 4),
    }
    contributions = CONTRIBUTIONS.expand(SCENES, -1).contiguous()
    return {**placed(votes, 1.0), "contributions": contributions, "shown": torch.tensor(rows), **pictures}


def titles_of(figure: Figure) -> list[str]:
    return [row.axes[0].get_title() for row in figure.subfigs]


def test_scenes_and_the_largest_errors_are_a_figure_each(tmp_path: Path) -> None:
    drawn = scene_figures([cell_of(tmp_path, "siam", "siam", **stating())])
    assert list(drawn) == ["scenes", "overestimates", "underestimates"]
    assert titles_of(drawn["scenes"]) == [f"crowd 3.0, network {n}.0" for n in (0, 1)]
    assert titles_of(drawn["overestimates"]) == [f"crowd 3.0, network {n}.0" for n in (8, 7, 6, 5, 4, 3)]
    assert titles_of(drawn["underestimates"]) == [f"crowd 3.0, network {n}.0" for n in range(6)]


def test_without_votes_there_is_no_error_to_show_and_no_crowd(tmp_path: Path) -> None:
    drawn = scene_figures([cell_of(tmp_path, "siam", "siam", **stating(votes=None))])
    assert list(drawn) == ["scenes"]
    assert titles_of(drawn["scenes"]) == ["network 0.0", "network 1.0"]


def test_the_map_of_another_network_stands_below_its_own(tmp_path: Path) -> None:
    cells = [
        cell_of(tmp_path, "cam", "scene_regressor", **placed()),
        cell_of(tmp_path, "siam", "siam", **stating(shown=(4,), votes=None)),
        cell_of(tmp_path, "gradient", "siam"),
    ]
    [row] = scene_figures(cells)["scenes"].subfigs
    _, (own, other), _ = parts_of(row, maps=2)
    assert (own.get_title(), other.get_title()) == ("siam", "cam\nscene_regressor")
    green, pink = (axes.images[0].get_array()[0, 0] for axes in (own, other))
    assert green[1] > max(green[0], green[2])
    assert pink[1] < min(pink[0], pink[2])


def test_of_several_seeds_the_first_is_shown(tmp_path: Path) -> None:
    said = [{**stating(votes=None, shown=(0,)), "predicted": torch.full((SCENES, 2), score)} for score in (7.0, 3.0)]
    cells = [cell_of(tmp_path, "siam", "siam", seed, **of_seed) for seed, of_seed in enumerate(said, start=1)]
    assert titles_of(scene_figures(cells)["scenes"]) == ["network 7.0"]


def test_several_networks_that_state_contributions_have_figures_of_their_own(tmp_path: Path) -> None:
    said = stating(votes=None, shown=(0,))
    cells = [cell_of(tmp_path, "siam", model, **said) for model in ("siam", "siam_dense")]
    assert set(scene_figures(cells)) == {"scenes_photos_siam", "scenes_photos_siam_dense"}


def test_where_nothing_is_stated_nothing_is_drawn(tmp_path: Path) -> None:
    cells = [cell_of(tmp_path, "cam", "scene_regressor", **placed()), cell_of(tmp_path, "gradient", "siam")]
    assert scene_figures(cells) == {}
    assert scene_figures([]) == {}


def removals(*places: tuple[str, str]) -> pd.DataFrame:
    """Changes without each attribute, by explainer and network; the last attribute's removal raises the score most."""
    rows = [
        {"explainer": explainer, "model": model, "attribute": name, "metric": metric, "mean": mean}
        for explainer, model in places
        for number, name in enumerate(NAMES[:3])
        for metric, mean in {
            "removal_network": number / 2,
            "removal_faithful": -number,
            "removal_true": number - 1.0,
            "maps_pointing": 0.5,
        }.items()
    ]
    return pd.DataFrame(rows).assign(data="landscapes", n=4)


def telling(folder: Path, *places: tuple[str, str]) -> list[Any]:
    """Cells of these explainers and networks; what SIAM and CAM say of places is there."""
    cells = []
    for explainer, model in places:
        own = folder / f"{explainer}_{model}"
        own.mkdir()
        if explainer in ("siam", "cam"):
            (own / "scenes.safetensors").touch()
        labels = {"data": "landscapes", "model": model, "explainer": explainer}
        cells.append(SimpleNamespace(labels=labels, folder=own))
    return cells


def test_removals_have_a_panel_a_network_with_its_own_explanation(tmp_path: Path) -> None:
    places = [("random", "siam"), ("siam", "siam"), ("cam", "scene_regressor"), ("gradient", "scene_regressor")]
    drawn = removal_figures(telling(tmp_path, *places), removals(*places))
    assert list(drawn) == ["removal"]
    panels = drawn["removal"].axes
    assert [axes.get_title() for axes in panels] == ["siam of siam", "cam of scene_regressor"]
    for axes in panels:
        assert [label.get_text() for label in axes.get_yticklabels()] == ["trees", "ice snow", "sand"]
        true, network, stated = axes.lines[:3]
        assert true.get_label() == "true score"
        assert list(true.get_xdata()) == [-1, 0, 1]
        assert list(network.get_xdata()) == [0, 0.5, 1]
        assert list(stated.get_xdata()) == [0, -1, -2]


def test_removals_of_many_networks_wrap_and_leave_no_empty_panel(tmp_path: Path) -> None:
    places = [("siam", f"siam_{number}") for number in range(6)]
    figure = removal_figures(telling(tmp_path, *places), removals(*places))["removal"]
    assert [axes.get_title() for axes in figure.axes] == [f"siam of siam_{number}" for number in range(6)]
    assert len({axes.get_subplotspec().rowspan.start for axes in figure.axes}) == 2


def test_what_is_stated_by_name_comes_before_the_map(tmp_path: Path) -> None:
    rows = removals(("siam", "siam"), ("cam", "scene_regressor"))
    stated = rows[(rows["metric"] == "removal_faithful") & (rows["explainer"] == "siam")]
    stated = stated.assign(metric="stated_removal_faithful", mean=7.0)
    places = telling(tmp_path, ("siam", "siam"), ("cam", "scene_regressor"))
    panels = removal_figures(places, pd.concat([rows, stated]))["removal"].axes
    assert [list(axes.lines[2].get_xdata()) for axes in panels] == [[7, 7, 7], [0, -1, -2]]


def test_attributes_stand_in_the_order_of_what_is_true(tmp_path: Path) -> None:
    reversed_rows = removals(("siam", "siam")).iloc[::-1]
    [axes] = removal_figures(telling(tmp_path, ("siam", "siam")), reversed_rows)["removal"].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["trees", "ice snow", "sand"]


def test_without_an_explanation_of_a_networks_own_no_removals_are_drawn(tmp_path: Path) -> None:
    places = (("random", "siam"), ("oracle", "siam"))
    cells = telling(tmp_path, *places)
    assert removal_figures(cells, removals(*places)) == {}
    columns = ["explainer", "data", "model", "attribute", "metric", "mean", "n"]
    assert removal_figures(cells, pd.DataFrame(columns=columns)) == {}
