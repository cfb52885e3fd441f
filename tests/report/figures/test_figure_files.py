"""Figures as files: format, colours, names."""

import errno
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from evident.errors import UserError
from evident.report.figures.canvas import canvas_figure
from evident.report.figures.files import LONGEST, encode, encode_pdf, write_figures, write_whole
from evident.report.figures.separation import separation_figure

CHECKERBOARD = (np.indices((64, 64)).sum(0) % 2).astype(float)[..., None]


def canvas_of(image: np.ndarray) -> Figure:
    """Return a figure that shows an image (H, W, 1 or 3) pixel by pixel and nothing else."""
    figure, _ = canvas_figure(np.broadcast_to(image, (*image.shape[:2], 3)), 1, left=0, top=0, dpi=100)
    return figure


def line(slope: float = 1) -> Figure:
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1], [0, slope])
    return figure


def bars() -> Figure:
    """Return a figure whose layout is computed when it is drawn."""
    return separation_figure(
        pd.DataFrame({"explainer": "gradient", "kind": "present", "value": [0.1, 0.2]}), ["present"]
    )


def decoded(figure: Figure) -> np.ndarray:
    _, content = encode(figure)
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")) / 255


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.2, 0.5), (0.45, 0.55)])
def test_checkerboard_of_single_pixels_keeps_its_contrast(low: float, high: float) -> None:
    image = low + (high - low) * CHECKERBOARD
    assert abs(decoded(canvas_of(image)) - image).max() < 0.06


def test_smooth_image_is_not_dithered() -> None:
    red, green = np.indices((64, 64)) / 63
    smooth = np.stack([red, green, 1 - red], axis=2)
    error = decoded(canvas_of(smooth)) - smooth
    assert abs(error).max() < 0.06
    # Dithering moves every second pixel up and the others down.
    assert abs((error * (2 * CHECKERBOARD - 1)).mean()) < 1e-3


def test_colour_pattern_of_single_pixels_keeps_its_brightness() -> None:
    red, blue = np.array([0.8, 0.1, 0.1]), np.array([0.1, 0.1, 0.8])
    grey = [0.299, 0.587, 0.114]
    image = CHECKERBOARD * red + (1 - CHECKERBOARD) * blue
    assert abs(decoded(canvas_of(image)) @ grey - image @ grey).max() < 0.06


def test_figures_are_webp_and_only_lines_are_kept_without_loss() -> None:
    inside = Figure(figsize=(2, 1))
    inside.subfigures(1, 2)[1].subplots().imshow(CHECKERBOARD[..., 0])
    for figure, kind in ((canvas_of(CHECKERBOARD), b"VP8 "), (inside, b"VP8 "), (line(), b"VP8L")):
        suffix, content = encode(figure)
        image = Image.open(io.BytesIO(content))
        assert (suffix, image.format, image.mode, content[12:16]) == (".webp", "WEBP", "RGB", kind)


def test_lines_keep_every_pixel() -> None:
    drawn = io.BytesIO()
    line().savefig(drawn, format="png")
    assert np.array_equal(decoded(line()), np.asarray(Image.open(drawn).convert("RGB")) / 255)


@pytest.mark.parametrize(("width", "suffix"), [(LONGEST, ".webp"), (LONGEST + 1, ".png")])
def test_figure_too_long_for_webp_is_png(width: int, suffix: str) -> None:
    found, content = encode(canvas_of(np.zeros((2, width, 1))))
    assert found == suffix
    assert Image.open(io.BytesIO(content)).size == (width, 2)


@pytest.mark.parametrize("draw", [line, bars, lambda: canvas_of(CHECKERBOARD)])
def test_the_same_figure_has_the_same_bytes(draw: Callable[[], Figure]) -> None:
    figure = draw()
    first = encode(figure)
    assert encode(figure) == first
    assert encode(draw()) == first


@pytest.mark.parametrize("draw", [line, lambda: canvas_of(np.zeros((2, LONGEST + 1, 1)))])
def test_file_does_not_name_the_software(draw: Callable[[], Figure]) -> None:
    _, content = encode(draw())
    assert not Image.open(io.BytesIO(content)).info.keys() & {"exif", "Software", "icc_profile"}
    assert b"atplotlib" not in content


def test_every_figure_has_its_file(tmp_path: Path) -> None:
    files = write_figures({"curves": line(), "examples_v1.1": canvas_of(CHECKERBOARD)}, tmp_path)
    assert files == {"curves": "curves.webp", "examples_v1.1": "examples_v1.1.webp"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.webp", "examples_v1.1.webp"]
    assert (tmp_path / "curves.webp").read_bytes() == encode(line())[1]


def test_figures_of_the_same_content_share_a_file(tmp_path: Path) -> None:
    files = write_figures({"first": line(), "other": line(2), "second": line()}, tmp_path)
    assert files == {"first": "first.webp", "other": "other.webp", "second": "first.webp"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.webp", "other.webp"]


def test_figures_of_an_earlier_run_are_removed(tmp_path: Path) -> None:
    for name in ("curves.png", "examples.png", "second.webp", "scores.png", "curves.csv"):
        (tmp_path / name).touch()
    write_figures({"curves": line(), "examples": canvas_of(CHECKERBOARD), "second": line()}, tmp_path)
    # `second` shares the file of `curves`; `scores` is no figure of this run, and a table is no figure.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.csv", "curves.webp", "examples.webp"]


def test_pdf_stands_beside_its_figure_until_it_is_not_asked_for(tmp_path: Path) -> None:
    for vector, expected in (
        ({"curves"}, ["curves.pdf", "curves.webp", "other.webp"]),
        ((), ["curves.webp", "other.webp"]),
    ):
        write_figures({"curves": line(), "other": line(2)}, tmp_path, vector)
        assert sorted(path.name for path in tmp_path.iterdir()) == expected


def test_pdf_has_the_same_bytes_and_neither_date_nor_software() -> None:
    content = encode_pdf(line())
    assert content.startswith(b"%PDF")
    assert content == encode_pdf(line())
    assert not any(word in content for word in (b"CreationDate", b"atplotlib"))


def test_without_figures_nothing_is_written(tmp_path: Path) -> None:
    assert write_figures({}, tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_one_line_and_leaves_no_scratch_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UserError, match=r"cannot write to .*: no space is left; free some space or set paths.results"):
        write_whole(tmp_path / "table.csv", "numbers")
    assert not list(tmp_path.iterdir())
