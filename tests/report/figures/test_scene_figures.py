"""Explanations of scenes: place, attribute, sign and size of every contribution."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray
from torch import Tensor

from evident.report.figures.scenes import LOWERS, RAISES, SceneExplanation, draw_signed, scenes_figure

NAMES = ["trees", "ice_snow", "sand", "road", "wire", "ocean", "clouds", "brick", "metal", "grass"]
CONTRIBUTIONS = torch.tensor([0.4, -2.0, 0.0, 0.1, -0.3, 1.5, 0.2, -0.6, 0.05, 0.8])
LARGEST = [1, 5, 9, 7, 0, 4, 6, 3]


def scene(title: str = "crowd 7.1, network 6.4", contributions: Tensor = CONTRIBUTIONS) -> SceneExplanation:
    """Return a scene whose map of attribute k is k everywhere."""
    maps = torch.arange(len(contributions), dtype=torch.float32)[:, None, None].expand(-1, 4, 4)
    image = torch.full((3, 16, 16), 255, dtype=torch.uint8)
    return SceneExplanation(image, title, {"siam": torch.randn(4, 4)}, maps, contributions, NAMES)


def parts_of(row: SubFigure | Figure, maps: int = 1) -> tuple[Axes, list[Axes], list[Axes]]:
    """Return the axes of the image, of its maps and of its attributes."""
    image, *further = row.axes
    return image, further[:maps], further[maps:]


def test_absent_attributes_are_named_in_italics() -> None:
    present = dict.fromkeys((name.replace("_", " ") for name in NAMES[::2]), "normal")
    known = scene("known")._replace(visible=torch.arange(len(NAMES)) % 2 == 0)
    first, second = (parts_of(row)[2] for row in scenes_figure([known, scene("unknown")]).subfigs)
    for axes in first:
        assert axes.title.get_fontstyle() == present.get(axes.get_title().rpartition(" ")[0], "italic")
    assert {axes.title.get_fontstyle() for axes in first} == {"normal", "italic"}
    assert {axes.title.get_fontstyle() for axes in second} == {"normal"}


def test_every_scene_has_a_row() -> None:
    rows = scenes_figure([scene("first"), scene("second"), scene("third")]).subfigs
    assert [parts_of(row)[0].get_title() for row in rows] == ["first", "second", "third"]


def test_the_eight_largest_contributions_are_shown_in_order_with_their_sign() -> None:
    [row] = scenes_figure([scene()]).subfigs
    _, _, attributes = parts_of(row)
    assert [axes.get_title() for axes in attributes] == [
        *("ice snow -2.00", "ocean +1.50", "grass +0.80", "brick -0.60"),
        *("trees +0.40", "wire -0.30", "clouds +0.20", "road +0.10"),
    ]
    assert [axes.images[0].get_array().max() for axes in attributes] == LARGEST


def test_frames_are_green_or_pink_by_sign_and_as_wide_as_the_contribution() -> None:
    [row] = scenes_figure([scene()]).subfigs
    _, _, attributes = parts_of(row)
    frames = [axes.spines["left"] for axes in attributes]
    signs = [CONTRIBUTIONS[k] > 0 for k in LARGEST]
    assert [to_hex(frame.get_edgecolor()) for frame in frames] == [RAISES if up else LOWERS for up in signs]
    widths = np.array([frame.get_linewidth() for frame in frames])
    sizes = CONTRIBUTIONS[LARGEST].abs().numpy()
    thick = sizes > 0.2  # the others have the smallest width
    np.testing.assert_allclose(widths[thick] / widths[0], sizes[thick] / sizes[0], rtol=1e-5)
    assert (np.diff(widths) <= 0).all()
    assert (widths > 0).all()


def test_map_of_an_attribute_that_is_nowhere_is_black() -> None:
    [row] = scenes_figure([scene(contributions=torch.tensor([0.0, 1.0]))]).subfigs
    _, _, (present, absent) = parts_of(row)
    assert present.images[0].get_clim() == (0, 1)
    assert absent.images[0].get_array().max() == 0
    assert absent.images[0].get_clim()[1] > 0


def test_at_most_two_maps_stand_beside_the_image() -> None:
    maps = {"siam": torch.ones(4, 4), "cam of scene_regressor": -torch.ones(2, 2), "third": torch.ones(4, 4)}
    [row] = scenes_figure([scene()._replace(maps=maps)]).subfigs
    _, beside, attributes = parts_of(row, maps=2)
    assert [axes.get_title() for axes in beside] == ["siam", "cam\nscene_regressor"]
    assert len(attributes) == 8


def signed(values: list[list[float]], grey: int = 255) -> NDArray[np.float64]:
    """Return the colours (2, 2, 3) of a map (2, 2) over an even image."""
    axes = Figure().subplots()
    draw_signed(axes, torch.full((3, 6, 8), grey, dtype=torch.uint8), torch.tensor(values))
    drawn = np.asarray(axes.images[0].get_array())
    assert drawn.shape == (6, 8, 3)
    for row in range(6):
        for column in range(8):
            np.testing.assert_array_equal(drawn[row, column], drawn[row // 3 * 3, column // 4 * 4])
    return drawn[::3, ::4]


@pytest.mark.parametrize("values", [[[2.0, 0.0], [-1.0, 0.5]], [[3.0, 0.0], [1.0, 2.0]], [[0.0, 0.0], [0.0, 0.0]]])
def test_zero_is_white_for_any_other_values(values: list[list[float]]) -> None:
    colours = signed(values)
    for colour, value in zip(colours.reshape(4, 3), np.ravel(values), strict=True):
        red, green, blue = colour
        if value == 0:
            assert min(colour) > 0.95
        elif value > 0:
            assert green > max(red, blue)
        else:
            assert green < min(red, blue)


def test_limits_are_symmetric() -> None:
    limit = np.quantile([4.0, 2.0, 2.0, 0.0], 0.995)
    colours = signed([[-4.0, 2.0], [-2.0, 0.0]])
    expected = plt.get_cmap("PiYG")((np.array([[-4.0, 2.0], [-2.0, 0.0]]) / limit + 1) / 2)[..., :3]
    np.testing.assert_allclose(colours, expected, atol=1e-6)
    np.testing.assert_allclose(signed([[-400.0, 200.0], [-200.0, 0.0]]), colours, atol=1e-6)


def test_single_position_of_a_large_map_is_visible() -> None:
    values = torch.zeros(40, 40)
    values[7, 9] = 0.01
    axes = Figure().subplots()
    draw_signed(axes, torch.full((3, 40, 40), 255, dtype=torch.uint8), values)
    np.testing.assert_allclose(axes.images[0].get_array()[7, 9], np.array(plt.get_cmap("PiYG")(1.0)[:3]), atol=1e-6)


def test_dark_image_darkens_the_map() -> None:
    dark, bright = signed([[1.0, 0.0], [-1.0, 0.5]], grey=0), signed([[1.0, 0.0], [-1.0, 0.5]])
    assert (dark < 0.7 * bright).all()
