"""Images on a canvas: every image at its place, every pixel drawn as it is."""

import io

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from evident.report.figures.canvas import canvas_figure, grid, picture, pixel_axes, pixel_figure


def pixels_of(figure: Figure) -> np.ndarray:
    """Return the pixels (H, W, 3) that the figure has as a file."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return np.asarray(Image.open(file).convert("RGB")).astype(float)


def test_picture_is_a_float_image_with_channels_last() -> None:
    image = torch.zeros(3, 2, 4, dtype=torch.uint8)
    image[1, 0, 3] = 255
    shown = picture(image)
    assert shown.shape == (2, 4, 3)
    assert shown[0, 3].tolist() == [0, 1, 0]
    assert shown.sum() == 1


@pytest.mark.parametrize("gap", [0, 1, 6])
def test_grid_places_pictures_in_rows_and_columns_on_white(gap: int) -> None:
    rows, columns, height, width = 2, 3, 4, 5
    strips = [[np.full((height, width, 3), 0.1 * row + 0.01 * n) for n in range(columns)] for row in range(rows)]
    canvas, down, across = grid(strips, gap)
    assert (down, across) == (height + gap, width + gap)
    assert canvas.shape == (rows * down - gap, columns * across - gap, 3)
    background = np.ones_like(canvas)
    for row in range(rows):
        for column in range(columns):
            place = np.s_[row * down : row * down + height, column * across : column * across + width]
            assert np.array_equal(canvas[place], strips[row][column])
            background[place] = 0
    assert (canvas[background == 1] == 1).all()
    assert background[:, :, 0].sum() == canvas[:, :, 0].size - rows * columns * height * width


def test_grid_leaves_out_a_fourth_channel() -> None:
    canvas, _, _ = grid([[np.dstack([np.full((2, 2, 3), 0.5), np.zeros((2, 2))])]])
    assert np.array_equal(canvas, np.full((2, 2, 3), 0.5))


@pytest.mark.parametrize("dpi", [100, 110, 120])
@pytest.mark.parametrize(("height", "width", "scale"), [(3, 5, 1), (113, 227, 1), (58, 31, 2), (28, 100, 5)])
def test_every_canvas_pixel_is_drawn_the_same_number_of_times(height: int, width: int, scale: int, dpi: int) -> None:
    canvas = np.random.default_rng(0).integers(256, size=(height, width, 3))
    figure, _ = canvas_figure(canvas / 255, scale, left=0.37, top=0.8, dpi=dpi)
    drawn = pixels_of(figure)
    left, top = round(0.37 * dpi), round(0.8 * dpi)
    assert drawn.shape == (top + scale * height, left + scale * width, 3)
    assert np.array_equal(drawn[top:, left:], canvas.repeat(scale, axis=0).repeat(scale, axis=1))
    assert (drawn[:top] == 255).all()
    assert (drawn[:, :left] == 255).all()


@pytest.mark.parametrize(("wanted", "drawn"), [(0.99, 1), (1.24, 1), (1.6, 2), (4.33, 4), (0.62, 0.5), (0.3, 1 / 3)])
def test_scale_is_rounded_to_a_whole_number_or_its_inverse(wanted: float, drawn: float) -> None:
    figure, _ = canvas_figure(np.zeros((60, 120, 3)), wanted, left=0, top=0, dpi=100)
    assert pixels_of(figure).shape == (round(60 * drawn), round(120 * drawn), 3)


def test_canvas_too_large_for_its_scale_is_averaged() -> None:
    checkerboard = (np.indices((64, 64)).sum(0) % 2)[..., None].repeat(3, axis=2)
    figure, _ = canvas_figure(checkerboard.astype(float), 0.5, left=0, top=0, dpi=100)
    assert abs(pixels_of(figure)[2:-2, 2:-2] - 127.5).max() < 3


def test_text_is_placed_in_pixels_of_the_canvas() -> None:
    _, axes = canvas_figure(np.zeros((6, 9, 3)), 3, left=0.2, top=0.1, dpi=100)
    (left, bottom), (right, top) = axes.transData.transform([(-0.5, 5.5), (8.5, -0.5)])
    assert (round(right - left, 6), round(top - bottom, 6)) == (27, 18)
    axes.contour(np.arange(40).reshape(5, 8), levels=[20])
    assert (axes.get_xlim(), axes.get_ylim()) == ((-0.5, 8.5), (5.5, -0.5))


def test_axes_cover_the_pixels_that_are_asked_for() -> None:
    figure = pixel_figure(40, 30, dpi=110)
    pixel_axes(figure, 7, 11, 20, 10).imshow(np.zeros((2, 4)), cmap="gray", aspect="auto")
    black = pixels_of(figure)[..., 0] == 0
    assert black.shape == (30, 40)
    assert black[11:21, 7:27].all()
    assert black.sum() == 200
