"""Explanations that are images: every image at its place, with its probability."""

import io

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

from evident.report.figures.canvas import picture
from evident.report.figures.evidence import GAMES_SHOWN, STRETCHED, explanations_figure, games_figure, stretched

PICTURES = ["images", "explanation", "complement", "mask"]
SCORES = ["score", "explanation_score", "complement_score"]


def evidence(count: int = 4, size: int = 16, seed: int = 0) -> dict[str, Tensor]:
    """Return random images of each kind and random probabilities for `count` images."""
    generator = torch.Generator().manual_seed(seed)
    shown = {name: torch.randint(256, (count, 3, size, size), generator=generator).byte() for name in PICTURES}
    return {**shown, **{name: torch.rand(count, generator=generator) for name in SCORES}}


def canvas_of(figure: Figure) -> np.ndarray:
    """Return the canvas of a figure once it is drawn; any warning fails the test."""
    figure.savefig(io.BytesIO())
    [axes] = figure.axes
    return np.asarray(axes.images[0].get_array())


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def at(canvas: np.ndarray, row: int, column: int, size: int = 16, gap: int = 8) -> np.ndarray:
    """Return the picture in that row and column."""
    step = size + gap
    return canvas[row * step : row * step + size, column * step : column * step + size]


def test_explanations_stand_beside_their_image_with_their_probability() -> None:
    kept = {"fgvis": evidence(3), "fgvis_deletion": evidence(3, seed=1)}
    kept["fgvis_deletion"]["score"] = kept["fgvis"]["score"]  # one network
    figure = explanations_figure(kept)
    canvas = canvas_of(figure)
    assert canvas.shape == (3 * 24 - 8, 5 * 24 - 8, 3)
    labels = []
    for row in range(3):
        assert np.array_equal(at(canvas, row, 0), picture(kept["fgvis"]["images"][row]))
        labels.append(f"p = {kept['fgvis']['score'][row]:.3f}")
        for column, of in enumerate(kept.values()):
            larger, factor = stretched(of, row)
            assert np.array_equal(at(canvas, row, 1 + 2 * column), picture(of["explanation"][row]))
            assert np.array_equal(at(canvas, row, 2 + 2 * column), larger)
            labels += [f"p = {of['explanation_score'][row]:.3f}", f"contrast x {factor:.1f}"]
    titles = ["image", "fgvis", "fgvis\nstretched", "fgvis\ndeletion", "fgvis\ndeletion\nstretched"]
    assert texts(figure) == [*titles, *labels]


def test_more_explainers_than_images_are_rows_with_the_probability_of_each_network() -> None:
    kept = {"fgvis": evidence(2), "fgvis_deletion": evidence(2, seed=1), "net\nfgvis": evidence(2, seed=2)}
    figure = explanations_figure(kept)
    canvas = canvas_of(figure)
    assert canvas.shape == (4 * 24 - 8, 4 * 24 - 8, 3)
    labels = []
    for image in range(2):
        assert np.array_equal(at(canvas, 0, 2 * image), picture(kept["fgvis"]["images"][image]))
        assert (at(canvas, 0, 2 * image + 1) == 1).all()
        labels += ["", ""]
    for row, of in enumerate(kept.values(), start=1):
        for image in range(2):
            larger, factor = stretched(of, image)
            assert np.array_equal(at(canvas, row, 2 * image), picture(of["explanation"][image]))
            assert np.array_equal(at(canvas, row, 2 * image + 1), larger)
            both = f"p = {of['explanation_score'][image]:.3f} of {of['score'][image]:.3f}"
            labels += [both, f"contrast x {factor:.1f}"]
    names = ["image", "fgvis", "fgvis\ndeletion", "net\nfgvis"]
    assert texts(figure) == ["", "stretched", "", "stretched", *labels, *names]


@pytest.mark.parametrize(("contrast", "factor"), [(1.0, 1.0), (0.25, 4.0), (0.01, STRETCHED)])
def test_stretched_explanation_has_the_contrast_of_the_image(contrast: float, factor: float) -> None:
    neutral = torch.tensor([0.5, 0.4, 0.6]).view(3, 1, 1)
    image = neutral + 0.4 * (torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    mask = torch.zeros(3, 32, 32)
    mask[:, :16] = contrast
    shown = {"images": image, "explanation": torch.lerp(neutral.expand_as(image), image, mask)}
    shown["complement"] = torch.lerp(image, neutral.expand_as(image), mask)
    of = {name: (255 * value).round().byte()[None] for name, value in shown.items()}
    larger, found = stretched(of, 0)
    assert found == pytest.approx(factor, rel=0.05)
    expected = neutral + factor * mask * (image - neutral)
    assert np.abs(larger - expected.permute(1, 2, 0).numpy()).max() < 0.012 * factor
    # Where the mask is zero, the mean colour stays.
    assert np.abs(larger[16:] - neutral.flatten().numpy()).max() < 0.005 * factor


def test_name_of_a_network_stays_on_one_line() -> None:
    figure = explanations_figure({"net_1\nfgvis_deletion": evidence(1)})
    assert texts(figure)[1:3] == ["net_1\nfgvis\ndeletion", "net_1\nfgvis\ndeletion\nstretched"]


@pytest.mark.parametrize("count", [1, 2, GAMES_SHOWN, GAMES_SHOWN + 2])
def test_game_shows_image_explanation_complement_and_both_masks(count: int) -> None:
    kept = {"fgvis": evidence(count), "fgvis_deletion_unfiltered": evidence(count, seed=1)}
    figure = games_figure(kept)
    canvas, shown = canvas_of(figure), min(count, GAMES_SHOWN)
    assert canvas.shape == (2 * 24 - 8, shown * 5 * 24 - 8, 3)
    for row, of in enumerate(kept.values()):
        for image in range(shown):
            for column, name in enumerate(PICTURES[:3]):
                assert np.array_equal(at(canvas, row, 5 * image + column), picture(of[name][image]))
            mask = of["mask"][image].double() / 255
            assert np.allclose(at(canvas, row, 5 * image + 3), mask.sqrt().permute(1, 2, 0))
            mean = mask.mean(0).sqrt().numpy()[..., None].repeat(3, axis=2)
            assert np.allclose(at(canvas, row, 5 * image + 4), mean)
    titles, rest = texts(figure)[: 5 * shown], texts(figure)[5 * shown :]
    assert titles == ["image", "explanation", "complement", "mask", "mean mask"] * shown
    assert rest[-2:] == ["fgvis", "fgvis\ndeletion\nunfiltered"]
    first = kept["fgvis"]
    scores = [f"p = {first[name][0]:.3f}" for name in SCORES]
    assert rest[:5] == [*scores, "", f"{(first['mask'][0].double() / 255).mean():.2%} kept"]


def test_share_kept_is_the_mean_of_all_channels() -> None:
    kept = evidence(1, size=8)
    kept["mask"] = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    kept["mask"][0, 0, :4] = 255
    assert "16.67% kept" in texts(games_figure({"fgvis": kept}))


@pytest.mark.parametrize("size", [8, 28, 112, 224])
def test_images_of_every_size_leave_room_for_a_line_of_text(size: int) -> None:
    figure = explanations_figure({"fgvis": evidence(2, size)})
    gap = canvas_of(figure).shape[0] - 2 * size
    assert gap == max(size // 8, 8)


def test_titles_of_many_words_are_inside_the_figure() -> None:
    figure = explanations_figure({"fgvis_of_a_name_with_many_words": evidence(1)})
    figure.savefig(io.BytesIO())
    [axes] = figure.axes
    for text in axes.texts:
        assert text.get_window_extent().y1 <= figure.bbox.height
