"""Average visualisations of filters that detect colours, on images of coloured squares at known positions."""

from collections.abc import Sequence
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torchvision.transforms.functional import resized_crop

from evident.data.images import ImageSet
from evident.explainers.vebi import deconvolved
from evident.models.mnist_net import MnistNet
from evident.relevance.interpretation import interpret
from evident.relevance.relevance import Feature, Relevance
from evident.relevance.responses import responses
from evident.values import Interpretation

CELL, CELLS = 4, 4  # images have 4x4 cells of 4x4 pixels; a square fills a cell
RED, GREEN, BLUE = range(3)
REDS = [40, 80, 120, 160, 200, 240]
BLUES = {1: 60, 4: 60}
NEAR, WIDE = "relu", "relu#2"  # receptive fields: a cell, and a cell with its neighbours


class SquareNet(nn.Module):
    """Detect the cells of each colour with one filter, and copy it with one filter of a second layer."""

    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Conv2d(3, 3, CELL, stride=CELL, bias=False)
        self.wide = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.scores = nn.Linear(3, 3)
        with torch.no_grad():
            self.near.weight.fill_(-1 / CELL**2)
            self.wide.weight.zero_()
            for colour in range(3):
                self.near.weight[colour, colour] *= -1
                self.wide.weight[colour, colour, 1, 1] = 1

    def forward(self, images: Tensor) -> Tensor:
        maps = torch.relu(self.wide(torch.relu(self.near(images))))
        return self.scores(maps.mean((2, 3)))


def position(colour: int, n: int) -> tuple[int, int]:
    """Return row and column of the cell with the square of this colour in image n, at the border or inside."""
    return divmod((n + 6 * colour) % CELLS**2, CELLS)


def squares() -> ImageSet:
    """Return images of a red square of increasing brightness, a green square and, in two images, a blue square.

    The share of the red filter in the response increases from image to image, that of the green filter decreases, and
    that of the blue filter is zero in four images.
    """
    images = torch.zeros(len(REDS), 3, CELL * CELLS, CELL * CELLS, dtype=torch.uint8)
    for n, red in enumerate(REDS):
        for colour, brightness in ((RED, red), (GREEN, 100), (BLUE, BLUES.get(n, 0))):
            row, column = position(colour, n)
            images[n, colour, CELL * row : CELL * (row + 1), CELL * column : CELL * (column + 1)] = brightness
    return ImageSet(images, 10 + torch.arange(len(REDS)), [str(n) for n in range(len(REDS))])


ORDER = {RED: [5, 4, 3, 2, 1, 0], GREEN: [0, 1, 2, 3, 4, 5], BLUE: [1, 4]}


def relevant(*features: tuple[str, int]) -> Relevance:
    """Return a relevance in which exactly these features are relevant, each to one class."""
    weights = torch.zeros(6, 3, dtype=torch.float64)
    for number, (layer, filter) in enumerate(features):
        weights[filter + 3 * (layer == WIDE), number % 3] = 1
    return Relevance({NEAR: 3, WIDE: 3}, weights, torch.zeros_like(weights))


class ColourChannel:
    """Return the image in the colour of the feature instead of a deconvolution, and keep all calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Tensor, Feature]] = []
        self.batches: list[int] = []

    def __call__(self, model: nn.Module, images: Tensor, features: Sequence[Feature]) -> Tensor:
        self.calls += zip(images, features, strict=True)
        self.batches.append(len(images))
        return torch.stack([image[feature.filter] for image, feature in self.calls[-len(images) :]])


def show(*features: tuple[str, int], count: int = 3, size: int = CELL, batch_size: int = 64) -> Interpretation:
    return interpret(SquareNet(), relevant(*features), squares(), ColourChannel(), count, size, batch_size)


def field(layer: str, colour: int, n: int) -> tuple[int, int, int, int]:
    """Return top, left, height and width of the receptive field of the strongest position."""
    row, column = position(colour, n)
    margin = 0 if layer == NEAR else 1
    top, left = max(row - margin, 0), max(column - margin, 0)
    bottom, right = min(row + margin + 1, CELLS), min(column + margin + 1, CELLS)
    return top * CELL, left * CELL, (bottom - top) * CELL, (right - left) * CELL


def test_crop_is_the_square_that_the_filter_detects() -> None:
    shown = show((NEAR, RED), count=3)
    assert shown.places.tolist() == [RED]
    assert shown.crops.shape == (1, 3, 3, CELL, CELL)
    for rank, brightness in enumerate((240, 200, 160)):
        colour = torch.tensor([brightness / 255, 0, 0]).view(3, 1, 1)
        torch.testing.assert_close(shown.crops[0, rank], colour.expand(3, CELL, CELL))


def test_average_shows_the_colour() -> None:
    shown = show((NEAR, RED), (NEAR, GREEN), count=2, size=6)
    expected = torch.zeros(2, 3, 6, 6)
    expected[0, RED], expected[1, GREEN] = 220 / 255, 100 / 255
    torch.testing.assert_close(shown.crop, expected)


@pytest.mark.parametrize("layer", [NEAR, WIDE])
@pytest.mark.parametrize("colour", [RED, GREEN, BLUE])
def test_crops_are_clipped_receptive_fields_strongest_first(layer: str, colour: int) -> None:
    shown = show((layer, colour), count=6, size=10)
    pixels = squares().__getitems__(list(range(6)))["image"]
    for rank, n in enumerate(ORDER[colour]):
        expected = resized_crop(pixels[n], *field(layer, colour, n), [10, 10], antialias=True)
        torch.testing.assert_close(shown.crops[0, rank], expected)
        assert expected[colour].max() > 0


def test_averages_are_the_means_of_the_crops() -> None:
    shown = show((NEAR, RED), (WIDE, RED), (WIDE, GREEN), count=4, size=9)
    assert shown.places.tolist() == [0, 3, 4]
    assert shown.crops.shape == (3, 4, 3, 9, 9)
    torch.testing.assert_close(shown.crop, shown.crops.mean(1))
    # The signal is cropped like the image; here it is the image in the colour of the feature.
    expected = torch.stack([shown.crops[n, :, colour] for n, colour in enumerate((RED, RED, GREEN))])
    torch.testing.assert_close(shown.signal, expected.mean(1))


def test_average_is_over_images_with_a_positive_response() -> None:
    shown = show((NEAR, BLUE), (NEAR, RED), count=4)
    assert shown.places.tolist() == [RED, BLUE]
    assert (shown.crops[0].flatten(1).amax(1) > 0).all()
    assert (shown.crops[1].flatten(1).amax(1) > 0).tolist() == [True, True, False, False]
    torch.testing.assert_close(shown.crop[1, BLUE], torch.full((CELL, CELL), 60 / 255))
    torch.testing.assert_close(shown.signal[1], torch.full((CELL, CELL), 60 / 255))


def test_labels_are_those_of_the_cropped_images() -> None:
    shown = show((NEAR, RED), (NEAR, GREEN), (NEAR, BLUE), count=4)
    assert shown.labels.tolist() == [[15, 14, 13, 12], [10, 11, 12, 13], [11, 14, -1, -1]]


def test_evidence_is_the_share_of_the_deconvolution_inside_the_mask() -> None:
    images = squares()
    assert show((NEAR, RED), count=3).evidence.isnan().all()
    # The mask covers each red square, the upper half of each green square, and no blue square.
    images.masks = images.images[:, RED] > 0
    for n in range(len(REDS)):
        row, column = position(GREEN, n)
        images.masks[n, CELL * row : CELL * row + CELL // 2, CELL * column : CELL * (column + 1)] = True
    relevance = relevant((NEAR, RED), (NEAR, GREEN), (NEAR, BLUE))
    shown = interpret(SquareNet(), relevance, images, ColourChannel(), 3, CELL)
    expected = torch.tensor([[1, 1, 1], [0.5, 0.5, 0.5], [0, 0, torch.nan]])
    torch.testing.assert_close(shown.evidence, expected, equal_nan=True)


def test_count_may_exceed_the_number_of_images() -> None:
    shown = show((NEAR, GREEN), count=20)
    assert shown.crops.shape[1] == 6
    torch.testing.assert_close(shown.crop[0, GREEN], torch.full((CELL, CELL), 100 / 255))


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_each_feature_is_deconvolved_in_its_strongest_images(batch_size: int) -> None:
    deconvolve, features = ColourChannel(), [(NEAR, RED), (NEAR, BLUE), (WIDE, GREEN)]
    interpret(SquareNet(), relevant(*features), squares(), deconvolve, 3, CELL, batch_size)
    pixels = squares().__getitems__(list(range(6)))["image"]
    pairs = [(Feature(layer, colour), n) for layer, colour in features for n in ORDER[colour][:3]]
    assert max(deconvolve.batches) <= batch_size
    assert len(deconvolve.calls) == len(pairs) == 8
    for (image, feature), (expected, n) in zip(deconvolve.calls, pairs, strict=True):
        assert feature == expected
        assert torch.equal(image, pixels[n])


@pytest.mark.parametrize("batch_size", [1, 4])
def test_batch_size_changes_no_result(batch_size: int) -> None:
    features = [(NEAR, RED), (NEAR, BLUE), (WIDE, RED), (WIDE, GREEN)]
    for found, expected in zip(show(*features, batch_size=batch_size), show(*features), strict=True):
        torch.testing.assert_close(found, expected, equal_nan=True)


def test_signal_is_the_average_deconvolution_of_the_same_crops() -> None:
    deconvolve = partial(deconvolved, resampled=False)  # resampling would blur the square
    shown = interpret(SquareNet(), relevant((NEAR, RED), (WIDE, GREEN)), squares(), deconvolve, 3, 12)
    # The filter responds to all pixels of its square, and to no other pixel.
    torch.testing.assert_close(shown.signal[0], torch.ones(12, 12))
    marks = (squares().images[:, GREEN] > 0).float()[:, None]
    expected = [resized_crop(marks[n], *field(WIDE, GREEN, n), [12, 12], antialias=True)[0] for n in (0, 1, 2)]
    torch.testing.assert_close(shown.signal[1], torch.stack(expected).mean(0))


def test_crop_of_a_fully_connected_feature_is_the_whole_image() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MnistNet(10)
    pixels = torch.randint(0, 256, (5, 1, 28, 28), generator=torch.Generator().manual_seed(1)).byte()
    digits = ImageSet(pixels, torch.zeros(5), list("abcde"))
    whole, layer = digits.__getitems__([0, 1, 2, 3, 4])["image"], "classifier.2/relu"
    always_active = int(responses(model, whole, [layer]).amin(0).argmax())
    weights = torch.zeros(500, 1, dtype=torch.float64)
    weights[always_active] = 1
    shown = interpret(model, Relevance({layer: 500}, weights, weights), digits, lambda m, x, f: x[:, 0], 5, 28)
    torch.testing.assert_close(shown.crop[0], whole.mean(0))


def test_feature_without_positive_responses_has_zero_crops() -> None:
    black = ImageSet(torch.zeros(3, 3, 16, 16, dtype=torch.uint8), torch.zeros(3), list("abc"))
    deconvolve = ColourChannel()
    shown = interpret(SquareNet(), relevant((NEAR, RED), (WIDE, BLUE)), black, deconvolve, 2, 5)
    assert deconvolve.calls == []
    assert shown.crops.shape == (2, 2, 3, 5, 5)
    assert all((values == 0).all() for values in (shown.crops, shown.crop, shown.signal))
    assert (shown.labels == -1).all()
    assert shown.evidence.isnan().all()


def test_model_is_unchanged() -> None:
    model = SquareNet().train()
    interpret(model, relevant((NEAR, RED)), squares(), deconvolved, 2, CELL)
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
