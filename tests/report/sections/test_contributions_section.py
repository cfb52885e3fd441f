"""Scenes and removals in the report: which figures there are, and of which cells."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from report_samples import attribute_curves, finished_cell
from torch import Tensor

from evident.cell_folder import CONTRIBUTIONS, NETWORK, SCORES, Product
from evident.report.experiment import Cell, Experiment
from evident.report.sections.contract import PicturePart
from evident.report.sections.contributions import Contributions, removal_figures, scene_figures

NAMES = ["trees", "ice_snow", "sand", "road", "wire", "ocean", "clouds", "brick", "metal", "grass"]
SCENES = 9
PREDICTED = torch.arange(SCENES, dtype=torch.float32)


def cell_of(
    root: Path, explainer: str, model: str, seed: int = 0, kept: dict[str, Tensor] | None = None, data: str = "photos"
) -> Cell:
    """Return a cell with these contributions, or with none."""
    products: dict[Product[Any], Any] = {NETWORK: {"attributes": NAMES}}
    if kept is not None:
        products[CONTRIBUTIONS] = kept
    return finished_cell(root, explainer, model, seed, products, data)


def own_map(label: float | None = 3.0, value: float = -1.0) -> dict[str, Tensor]:
    """Return what is kept of an explainer with a map of the network's own."""
    return {
        "label": torch.full((SCENES,), torch.nan if label is None else label),
        "predicted": PREDICTED,
        "own_map": torch.full((SCENES, 4, 4), value),
    }


def stated(label: float | None = 3.0, shown: tuple[int, ...] = ()) -> dict[str, Tensor]:
    """Return what is kept of an explainer that states contributions: of two scenes, then of the largest errors."""
    rows = shown or ((0, 1) if label is None else (0, 1, *range(8, 2, -1), *range(6)))
    return {
        **own_map(label, 1.0),
        "contributions": torch.linspace(-1, 1, len(NAMES)).expand(SCENES, -1).contiguous(),
        "shown": torch.tensor(rows),
        "images": torch.full((len(rows), 3, 16, 16), 255, dtype=torch.uint8),
        "attribute_maps": torch.rand(len(rows), len(NAMES), 4, 4),
    }


def titles_of(figure: Figure) -> list[str]:
    return [row.axes[0].get_title() for row in figure.subfigs]


def test_scenes_and_the_largest_errors_have_a_figure_each(tmp_path: Path) -> None:
    figures = scene_figures([cell_of(tmp_path, "siam", "siam", kept=stated())])
    assert list(figures) == ["scenes", "overestimates", "underestimates"]
    assert titles_of(figures["scenes"]) == [f"crowd 3.0, network {n}.0" for n in (0, 1)]
    assert titles_of(figures["overestimates"]) == [f"crowd 3.0, network {n}.0" for n in (8, 7, 6, 5)]
    assert titles_of(figures["underestimates"]) == [f"crowd 3.0, network {n}.0" for n in range(4)]


def test_without_labels_there_are_no_errors(tmp_path: Path) -> None:
    figures = scene_figures([cell_of(tmp_path, "siam", "siam", kept=stated(label=None))])
    assert list(figures) == ["scenes"]
    assert titles_of(figures["scenes"]) == ["network 0.0", "network 1.0"]


def test_map_of_another_network_stands_below_its_own(tmp_path: Path) -> None:
    cells = [
        cell_of(tmp_path, "cam", "scene_regressor", kept=own_map()),
        cell_of(tmp_path, "siam", "siam", kept=stated(shown=(4,), label=None)),
        cell_of(tmp_path, "gradient", "siam"),
    ]
    [row] = scene_figures(cells)["scenes"].subfigs
    _, own, other, *_ = row.axes
    assert (own.get_title(), other.get_title()) == ("siam", "cam\nscene_regressor")
    green, pink = (axes.images[0].get_array()[0, 0] for axes in (own, other))
    assert green[1] > max(green[0], green[2])
    assert pink[1] < min(pink[0], pink[2])


def test_first_of_several_seeds_is_shown(tmp_path: Path) -> None:
    kept = [{**stated(label=None, shown=(0,)), "predicted": torch.full((SCENES,), score)} for score in (7.0, 3.0)]
    cells = [cell_of(tmp_path, "siam", "siam", seed, of_seed) for seed, of_seed in enumerate(kept, start=1)]
    assert titles_of(scene_figures(cells)["scenes"]) == ["network 7.0"]


def test_every_network_has_scenes_and_only_the_first_has_errors(tmp_path: Path) -> None:
    cells = [cell_of(tmp_path, "siam", model, kept=stated()) for model in ("siam", "siam_dense")]
    assert list(scene_figures(cells)) == [
        *("scenes_photos_siam", "overestimates_photos_siam", "underestimates_photos_siam"),
        "scenes_photos_siam_dense",
    ]


def test_without_stated_contributions_there_are_no_scenes(tmp_path: Path) -> None:
    cells = [cell_of(tmp_path, "cam", "scene_regressor", kept=own_map()), cell_of(tmp_path, "gradient", "siam")]
    assert scene_figures(cells) == {}
    assert scene_figures([]) == {}


def removals(*networks: tuple[str, str]) -> pd.DataFrame:
    """Return the change without each of three attributes, by explainer and network."""
    rows = [
        {"explainer": explainer, "model": model, "attribute": name, "metric": metric, "mean": mean}
        for explainer, model in networks
        for number, name in enumerate(NAMES[:3])
        for metric, mean in {
            "removal_network": number / 2,
            "removal_faithful": -number,
            "removal_true": number - 1.0,
            "maps_pointing": 0.5,
        }.items()
    ]
    return pd.DataFrame(rows).assign(data="landscapes", n=4)


def cells_of(root: Path, *networks: tuple[str, str]) -> list[Cell]:
    """Return cells of these explainers and networks, of which SIAM and CAM have a map of the network's own."""
    return [
        cell_of(root, explainer, model, kept=own_map() if explainer in ("siam", "cam") else None, data="landscapes")
        for explainer, model in networks
    ]


def test_removals_have_a_panel_per_network_with_a_map_of_its_own(tmp_path: Path) -> None:
    networks = [("random", "siam"), ("siam", "siam"), ("cam", "scene_regressor"), ("gradient", "scene_regressor")]
    figures = removal_figures(cells_of(tmp_path, *networks), removals(*networks))
    assert list(figures) == ["removal"]
    panels = figures["removal"].axes
    assert [axes.get_title() for axes in panels] == ["siam of siam", "cam of scene_regressor"]
    for axes in panels:
        assert [np.asarray(line.get_xdata()).tolist() for line in axes.lines[:3]] == [
            [-1, 0, 1],
            [0, 0.5, 1],
            [0, -1, -2],
        ]


def test_stated_contributions_come_before_those_of_the_map(tmp_path: Path) -> None:
    networks = ("siam", "siam"), ("cam", "scene_regressor")
    rows = removals(*networks)
    by_name = rows[(rows["metric"] == "removal_faithful") & (rows["explainer"] == "siam")]
    by_name = by_name.assign(metric="stated_removal_faithful", mean=7.0)
    panels = removal_figures(cells_of(tmp_path, *networks), pd.concat([rows, by_name]))["removal"].axes
    assert [np.asarray(axes.lines[2].get_xdata()).tolist() for axes in panels] == [[7, 7, 7], [0, -1, -2]]


def test_without_a_map_of_the_networks_own_no_removals_are_drawn(tmp_path: Path) -> None:
    networks = ("random", "siam"), ("oracle", "siam")
    cells = cells_of(tmp_path, *networks)
    assert removal_figures(cells, removals(*networks)) == {}
    columns = ["explainer", "data", "model", "attribute", "metric", "mean", "n"]
    assert removal_figures(cells, pd.DataFrame(columns=columns)) == {}


def test_section_draws_scenes_and_removals_of_its_cells(tmp_path: Path) -> None:
    labels: dict[str, Any] = {"explainer": "siam", "model": "siam", "data": "landscapes"}
    of_metric = {"removal_true": 1.0, "removal_network": 0.5, "removal_faithful": -1.0}
    curves = [attribute_curves(metric, [[value] * len(NAMES)] * 2, **labels) for metric, value in of_metric.items()]
    cell = cell_of(tmp_path, "siam", "siam", kept=stated(), data="landscapes")
    cell.folder.write(SCORES, pd.concat(curves, ignore_index=True))
    part = Contributions().report(Experiment([cell]))
    assert list(part.figures) == ["scenes", "overestimates", "underestimates", "removal"]
    assert (part.tables, part.text) == ({}, "")
    lines = [np.asarray(line.get_xdata()).tolist() for line in part.figures["removal"].axes[0].lines[:3]]
    assert lines == [[1.0] * len(NAMES), [0.5] * len(NAMES), [-1.0] * len(NAMES)]


def test_picture_lists_contributions_by_their_size(tmp_path: Path) -> None:
    kept = stated(label=None, shown=(0,))
    cell = cell_of(tmp_path, "siam", "siam", kept=kept)
    part = Contributions().picture(cell)
    assert list(part.figures) == ["explanation"]
    contributions = part.values["contributions"]
    sizes = [abs(value) for value in contributions.values()]
    assert sizes == sorted(sizes, reverse=True)
    assert contributions == dict(zip(NAMES, kept["contributions"][0].tolist(), strict=True))


def test_picture_without_stated_contributions_lists_none(tmp_path: Path) -> None:
    for explainer, kept in {"cam": own_map(), "gradient": None}.items():
        cell = cell_of(tmp_path, explainer, "scene_regressor", kept=kept)
        assert Contributions().picture(cell) == PicturePart()
