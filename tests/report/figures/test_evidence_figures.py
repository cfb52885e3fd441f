"""Figures of explanations that are images: from files written by hand, every picture at its place."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import Tensor

from evident.report.cells import Cell
from evident.report.figures.canvas import grid, picture
from evident.report.figures.evidence import (
    CLASSES,
    GAMES_SHOWN,
    colour_figures,
    evidence_figures,
    explanations_figure,
    games_figure,
)

PICTURES = ["images", "explanations", "complements", "evidence_masks"]


def examples(count: int = 4, size: int = 16, seed: int = 0) -> dict[str, Tensor]:
    """What an explainer with evidence leaves of `count` images."""
    generator = torch.Generator().manual_seed(seed)
    shown = {name: torch.randint(256, (count, 3, size, size), generator=generator).byte() for name in PICTURES}
    scores = {name: torch.rand(count, generator=generator) for name in ("scores", "explanation_scores")}
    return {**shown, **scores, "complement_scores": torch.rand(count, generator=generator)}


def cell_of(
    folder: Path, explainer: str, kept: dict[str, Tensor], seed: int = 0, data: str = "photos", model: str = "net"
) -> Cell:
    folder.mkdir(parents=True)
    save_file(kept, folder / "examples.safetensors")
    named = {"explainer": {"name": explainer}, "data": {"name": data}, "model": {"name": model}, "seed": seed}
    return Cell(OmegaConf.create(named), folder)


def without_evidence() -> dict[str, Tensor]:
    return {"images": examples()["images"], "heatmaps": torch.rand(4, 16, 16)}


def drawn(figure: Figure) -> np.ndarray:
    """The figure's canvas, after it was written as the report writes it; any warning fails the test."""
    figure.savefig(io.BytesIO())
    [axes] = figure.axes
    return np.asarray(axes.images[0].get_array())


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def at(canvas: np.ndarray, row: int, column: int, size: int = 16, gap: int = 8) -> np.ndarray:
    """The picture in that row and column."""
    step = size + gap
    return canvas[row * step : row * step + size, column * step : column * step + size]


def test_a_picture_is_an_image_between_zero_and_one_channels_last() -> None:
    image = torch.zeros(3, 2, 4, dtype=torch.uint8)
    image[1, 0, 3] = 255
    shown = picture(image)
    assert shown.shape == (2, 4, 3)
    assert shown[0, 3].tolist() == [0, 1, 0]
    assert shown.sum() == 1


@pytest.mark.parametrize("gap", [0, 1, 6])
def test_pictures_stand_in_rows_and_columns_on_white(gap: int) -> None:
    rows, columns, height, width = 2, 3, 4, 5
    strips = [[np.full((height, width, 3), 0.1 * row + 0.01 * n) for n in range(columns)] for row in range(rows)]
    canvas, down, across = grid(strips, gap)
    assert (down, across) == (height + gap, width + gap)
    assert canvas.shape == (rows * down - gap, columns * across - gap, 3)
    left = np.ones_like(canvas)
    for row in range(rows):
        for column in range(columns):
            place = np.s_[row * down : row * down + height, column * across : column * across + width]
            assert np.array_equal(canvas[place], strips[row][column])
            left[place] = 0
    assert (canvas[left == 1] == 1).all()
    assert left[:, :, 0].sum() == canvas[:, :, 0].size - rows * columns * height * width


def test_of_four_channels_the_last_is_left_out() -> None:
    canvas, _, _ = grid([[np.dstack([np.full((2, 2, 3), 0.5), np.zeros((2, 2))])]])
    assert np.array_equal(canvas, np.full((2, 2, 3), 0.5))


def test_explanations_stand_beside_their_image_with_their_probability() -> None:
    kept = {"fgvis": examples(3), "fgvis_deletion": examples(3, seed=1)}
    figure = explanations_figure(kept)
    canvas = drawn(figure)
    assert canvas.shape == (3 * 24 - 8, 3 * 24 - 8, 3)
    for row in range(3):
        assert np.array_equal(at(canvas, row, 0), picture(kept["fgvis"]["images"][row]))
        for column, of in enumerate(kept.values(), start=1):
            assert np.array_equal(at(canvas, row, column), picture(of["explanations"][row]))
    labels = [
        [kept["fgvis"]["scores"][row], *(of["explanation_scores"][row] for of in kept.values())] for row in range(3)
    ]
    assert texts(figure) == ["image", "fgvis", "fgvis\ndeletion", *(f"p = {p:.3f}" for row in labels for p in row)]


@pytest.mark.parametrize("count", [1, 2, GAMES_SHOWN, GAMES_SHOWN + 2])
def test_a_game_shows_image_explanation_complement_and_both_masks(count: int) -> None:
    kept = {"fgvis": examples(count), "fgvis_deletion_undefended": examples(count, seed=1)}
    figure = games_figure(kept)
    canvas, shown = drawn(figure), min(count, GAMES_SHOWN)
    assert canvas.shape == (2 * 24 - 8, shown * 5 * 24 - 8, 3)
    for row, of in enumerate(kept.values()):
        for image in range(shown):
            for column, name in enumerate(PICTURES[:3]):
                assert np.array_equal(at(canvas, row, 5 * image + column), picture(of[name][image]))
            mask = of["evidence_masks"][image].double() / 255
            assert np.allclose(at(canvas, row, 5 * image + 3), mask.sqrt().permute(1, 2, 0))
            mean = mask.mean(0).sqrt().numpy()[..., None].repeat(3, axis=2)
            assert np.allclose(at(canvas, row, 5 * image + 4), mean)
    titles, rest = texts(figure)[: 5 * shown], texts(figure)[5 * shown :]
    assert titles == ["image", "explanation", "complement", "mask", "mean mask"] * shown
    assert rest[-2:] == ["fgvis", "fgvis\ndeletion\nundefended"]
    first = kept["fgvis"]
    scores = [f"p = {first[name][0]:.3f}" for name in ("scores", "explanation_scores", "complement_scores")]
    assert rest[:5] == [*scores, "", f"{(first['evidence_masks'][0].double() / 255).mean():.2%} kept"]


def test_the_share_kept_is_that_of_all_channels() -> None:
    kept = examples(1, size=8)
    kept["evidence_masks"] = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    kept["evidence_masks"][0, 0, :4] = 255
    assert "16.67% kept" in texts(games_figure({"fgvis": kept}))


@pytest.mark.parametrize("size", [8, 28, 112, 224])
def test_pictures_of_every_size_leave_room_for_a_line_of_text(size: int) -> None:
    figure = explanations_figure({"fgvis": examples(2, size)})
    gap = drawn(figure).shape[0] - 2 * size
    assert gap == max(size // 8, 8)


def test_one_network_has_its_explanations_and_its_games(tmp_path: Path) -> None:
    kept = {"fgvis": examples(), "fgvis_generation": examples(seed=1)}
    cells = [cell_of(tmp_path / name, name, of) for name, of in kept.items()]
    # Heatmaps have figures of their own.
    cells.insert(0, cell_of(tmp_path / "gradient", "gradient", without_evidence()))
    figures = evidence_figures(cells)
    assert list(figures) == ["explanations", "games"]
    assert np.array_equal(drawn(figures["explanations"]), drawn(explanations_figure(kept)))
    assert np.array_equal(drawn(figures["games"]), drawn(games_figure(kept)))


def test_without_evidence_nothing_is_drawn(tmp_path: Path) -> None:
    kept = {"gradient": without_evidence(), "random": {}}
    assert evidence_figures([cell_of(tmp_path / name, name, of) for name, of in kept.items()]) == {}


def test_the_first_seed_is_shown(tmp_path: Path) -> None:
    cells = [cell_of(tmp_path / str(seed), "fgvis", examples(seed=seed), seed) for seed in (7, 3, 5)]
    figures = evidence_figures(cells)
    assert np.array_equal(drawn(figures["explanations"]), drawn(explanations_figure({"fgvis": examples(seed=3)})))


def test_several_networks_have_a_figure_each_and_one_together(tmp_path: Path) -> None:
    kept = {
        (model, name): examples(seed=2 * m + n) for m, model in enumerate(("a_1", "b")) for n, name in enumerate("xy")
    }
    cells = [cell_of(tmp_path / "".join(key), key[1], of, model=key[0]) for key, of in kept.items()]
    figures = evidence_figures(cells)
    of_one = [f"{kind}_photos_{model}" for model in ("a_1", "b") for kind in ("explanations", "games")]
    assert list(figures) == [*of_one, "networks"]
    ours = {name: of for (model, name), of in kept.items() if model == "b"}
    assert np.array_equal(drawn(figures["explanations_photos_b"]), drawn(explanations_figure(ours)))
    canvas = drawn(figures["networks"])
    for column, of in enumerate(kept.values(), start=1):
        assert np.array_equal(at(canvas, 0, column), picture(of["explanations"][0]))
    assert texts(figures["networks"])[:5] == ["image", "a_1\nx", "a_1\ny", "b\nx", "b\ny"]


def test_networks_stand_together_over_the_same_images_alone(tmp_path: Path) -> None:
    places = [("flowers", "a"), ("photos", "a"), ("photos", "b"), ("digits", "c"), ("digits", "d")]
    cells = [cell_of(tmp_path / f"{data}{model}", "fgvis", examples(), 0, data, model) for data, model in places]
    together = [name for name in evidence_figures(cells) if name.startswith("networks")]
    assert together == ["networks_photos", "networks_digits"]


def colours(count: int, seeds: tuple[int, ...] = (0,), explainer: str = "fgvis") -> pd.DataFrame:
    """`count` classes in the order of their numbers, the first of which falls least."""
    rows = [
        {
            **{"explainer": explainer, "data": "photos", "model": "net", "seed": seed, "target": n},
            **{"class": f"class {n}, of some kind", "metric": metric, "mean": scale * n / count + 0.1 * seed, "n": 2},
        }
        for seed in seeds
        for n in range(count)
        for metric, scale in (("colour_swap", -0.5), ("colour_grey", -1.0))
    ]
    return pd.DataFrame(rows)


def shown_classes(figure: Figure) -> list[str]:
    figure.savefig(io.BytesIO())
    [axes] = figure.axes
    return [label.get_text() for label in axes.get_yticklabels()]


def points(figure: Figure, name: str) -> Any:
    [line] = [line for line in figure.axes[0].lines if line.get_label() == name]
    return line.get_xydata()


def test_the_class_that_loses_most_in_grey_stands_on_top() -> None:
    [(name, figure)] = colour_figures(colours(5)).items()
    assert name == "colour"
    assert shown_classes(figure) == [f"class {n}" for n in (4, 3, 2, 1, 0)]
    low, high = figure.axes[0].get_ylim()
    assert low > high  # the first is on top
    assert points(figure, "colour grey").tolist() == [[-n / 5, 4 - n] for n in (4, 3, 2, 1, 0)]
    assert points(figure, "colour swap")[:, 0].tolist() == [-n / 10 for n in (4, 3, 2, 1, 0)]
    assert figure.axes[0].get_title() == "fgvis, net"


def test_the_networks_of_all_seeds_count() -> None:
    [figure] = colour_figures(colours(3, seeds=(0, 1, 2))).values()
    assert np.allclose(points(figure, "colour grey")[:, 0], [0.1 - 2 / 3, 0.1 - 1 / 3, 0.1])


@pytest.mark.parametrize("count", [CLASSES, CLASSES + 1, 96])
def test_of_many_classes_the_most_and_the_least_are_shown(count: int) -> None:
    [figure] = colour_figures(colours(count)).values()
    ordered = [f"class {n}" for n in range(count)][::-1]
    assert shown_classes(figure) == (ordered if count == CLASSES else [*ordered[:16], *ordered[-8:]])
    told = "" if count == CLASSES else f": {CLASSES} of {count} classes"
    assert figure.axes[0].get_title() == f"fgvis, net{told}"


def test_every_network_has_the_colours_of_its_first_explainer() -> None:
    both = pd.concat([colours(3), colours(3, explainer="fgvis_deletion")])
    several = pd.concat([both, both.assign(model="other")])
    assert list(colour_figures(several)) == ["colour_photos_net", "colour_photos_other"]
    assert [figure.axes[0].get_title() for figure in colour_figures(several).values()] == ["fgvis, net", "fgvis, other"]
    assert colour_figures(both.iloc[:0]) == {}
