"""Networks: their normalisation, their published layers, and reference images."""

from typing import Any

import pytest
import torch
from torch import nn

from evident.errors import UserError
from evident.models.flower_net import FlowerNet
from evident.models.mnist_net import MnistNet
from evident.models.normalise import Normalise, mean_colour
from evident.models.reference_images import Reference, reference_images


def test_measure_gives_exact_mean_and_deviation() -> None:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (7, 3, 5, 4), dtype=torch.uint8)
    normalise = Normalise()
    normalise.measure(images)
    pixels = images.double() / 255
    assert normalise.mean.flatten().double() == pytest.approx(pixels.mean((0, 2, 3)).numpy(), abs=1e-6)
    assert normalise.std.flatten().double() == pytest.approx(pixels.std((0, 2, 3), correction=0).numpy(), abs=1e-6)
    normalised = normalise(images.float() / 255)
    assert normalised.mean((0, 2, 3)) == pytest.approx(torch.zeros(3), abs=1e-5)


def test_measure_allows_images_of_a_single_colour() -> None:
    normalise = Normalise()
    normalise.measure(torch.full((2, 1, 3, 3), 17, dtype=torch.uint8))
    assert normalise(torch.full((1, 3, 3, 3), 17 / 255)).abs().max() < 1e-6


def test_mean_colour_normalises_to_zero() -> None:
    network = FlowerNet(6)
    network.normalise.measure(torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8))
    assert network.normalise(mean_colour(network)).abs().max() == 0


def test_mean_colour_without_normalise_raises_user_error() -> None:
    with pytest.raises(UserError, match="Linear has no Normalise module"):
        mean_colour(nn.Linear(1, 1))


def test_flower_net_has_nine_layers_and_four_strides() -> None:
    network = FlowerNet(12)
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(layers) == 9
    assert sum(layer.stride == (2, 2) for layer in layers if isinstance(layer, nn.Conv2d)) == 4
    assert network.eval()(torch.rand(2, 3, 112, 112)).shape == (2, 12)


def test_mnist_net_has_the_papers_layers() -> None:
    network = MnistNet(10)
    kinds = [type(module).__name__ for module in network.modules() if not list(module.children())]
    assert kinds == ["Normalise", "Conv2d", "MaxPool2d", "Conv2d", "MaxPool2d", "Flatten", "Linear", "ReLU", "Linear"]
    assert sum(parameter.numel() for parameter in network.parameters()) == 431_080
    assert network(torch.rand(2, 3, 28, 28)).shape == (2, 10)


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (28, 28), (40, 17)])
@pytest.mark.parametrize("kind", ["mean_colour", "blur"])
def test_reference_images_keep_shape_and_range(size: tuple[int, int], kind: Reference) -> None:
    images = torch.rand(2, 3, *size)
    reference = reference_images(images, FlowerNet(6), kind)
    assert reference.shape == images.shape
    assert reference.min() >= 0
    assert reference.max() <= 1


def test_unknown_reference_raises_user_error() -> None:
    unknown: Any = "black"
    with pytest.raises(UserError, match="reference='black' is unknown; use mean_colour or blur"):
        reference_images(torch.rand(1, 3, 4, 4), FlowerNet(6), unknown)
