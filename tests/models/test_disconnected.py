"""Disconnected tiles: the network of a grid is that of its tiles, one by one, and its scores are those of the first."""

from collections.abc import Callable

import pytest
import torch
import torchvision
from captum.attr import Attribution
from samples import TinyTransformer, flower_net, smooth_noise
from torch import Tensor, nn

from evident.errors import NotApplicable
from evident.explainers.captum_method import CaptumMethod
from evident.explainers.deep_lift import DeepLift
from evident.explainers.excitation_backprop import ExcitationBackprop
from evident.explainers.guided import Deconvolution, GuidedBackprop
from evident.explainers.lrp import LRP
from evident.explainers.shared.backward_rules import BackwardRules
from evident.explainers.shared.feature_maps import run_to_layer
from evident.models.disconnected import Grid, check_disconnected, disconnected
from evident.models.normalise import Normalise
from evident.models.untouched import untouched

GRID = Grid(2, 2)


class Functional(nn.Module):
    """Call everything as a function: strided and padded convolutions, poolings, a sum over positions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(3, 6, 3, 2), nn.Conv2d(6, 8, 3), nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        x = nn.functional.pad(images, (1, 1, 1, 1))
        x = nn.functional.relu(self.first(x), inplace=True)
        x = nn.functional.max_pool2d(x, 3, 2, 1) + nn.functional.avg_pool2d(x, 2)
        x = self.second(nn.functional.group_norm(x, 2)).relu_()
        return self.last(x.mean((2, 3)))


def flattened() -> nn.Module:
    """Return a network with a fully connected layer on positions."""
    layers = [nn.Conv2d(3, 5, 3, 2, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(45, 4)]
    return nn.Sequential(Normalise(), *layers)


def published(name: str) -> Callable[[], nn.Module]:
    return lambda: torchvision.models.get_model(name, weights=None, num_classes=4)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "flower_net": flower_net,
    "functional": Functional,
    "flattened": flattened,
    **{name: published(name) for name in ("squeezenet1_1", "resnet18", "mobilenet_v2", "densenet121")},
}


def network(name: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return NETWORKS[name]().double().eval()


def grids(count: int = 2, tile: int = 32) -> Tensor:
    return smooth_noise(count, 2 * tile, cells=9, dtype=torch.float64)


def test_split_returns_tiles_in_reading_order_and_join_is_its_inverse() -> None:
    maps = torch.arange(2 * 3 * 4 * 6).view(2, 3, 4, 6)
    tiles = Grid(2, 3).split(maps)
    assert tiles.shape == (12, 3, 2, 2)
    assert torch.equal(tiles[0], maps[0, :, :2, :2])
    assert torch.equal(tiles[1], maps[0, :, :2, 2:4])
    assert torch.equal(tiles[9], maps[1, :, 2:, :2])
    assert torch.equal(Grid(2, 3).join(tiles), maps)


@pytest.mark.parametrize("name", NETWORKS)
def test_scores_are_those_of_the_first_tile_and_other_tiles_have_no_effect(name: str) -> None:
    model, images = network(name), grids().requires_grad_()
    with disconnected(model, GRID, (64, 64)):
        scores = model(images)
    torch.testing.assert_close(scores, model(images[:, :, :32, :32]))
    (gradient,) = torch.autograd.grad(scores.sum(), images)
    assert gradient[:, :, :32, :32].any()
    assert not gradient[:, :, 32:].any()
    assert not gradient[:, :, :, 32:].any()
    check_disconnected(model, GRID, images.detach())


def test_maps_of_a_layer_show_every_tile_as_an_image_of_its_own() -> None:
    model, images = flower_net().double(), grids()
    with untouched(model), disconnected(model, GRID, (64, 64)):
        found = run_to_layer(model, "features.20", images).maps
    with untouched(model):
        alone = run_to_layer(model, "features.20", GRID.split(images)).maps
    torch.testing.assert_close(found, GRID.join(alone))


@pytest.mark.parametrize("grid", [Grid(1, 2), Grid(2, 1), Grid(1, 1), Grid(3, 2)])
def test_any_grid_can_be_disconnected(grid: Grid) -> None:
    model, size = network("functional"), (20 * grid.rows, 20 * grid.columns)
    images = smooth_noise(2, size, dtype=torch.float64)
    with disconnected(model, grid, size):
        torch.testing.assert_close(model(images), model(images[:, :, :20, :20]))


def test_images_of_another_size_pass_as_always() -> None:
    model, images = flower_net().double(), grids(tile=24)
    expected = model(images)
    with disconnected(model, GRID, (64, 64)):
        assert torch.equal(model(images), expected)


def test_network_is_as_before_also_after_an_exception() -> None:
    model, images = flower_net().double(), grids()
    expected = model(images)

    def fail(*_: object) -> None:
        raise KeyError

    hook = model.features[3].register_forward_hook(fail)
    with pytest.raises(KeyError), disconnected(model, GRID, (64, 64)):
        model(images)
    hook.remove()
    assert torch.equal(model(images), expected)
    assert not model._forward_hooks
    assert not model._forward_pre_hooks


def methods() -> dict[str, Callable[[nn.Module], Attribution]]:
    return {
        "gradient": lambda model: CaptumMethod(model, "captum.attr.Saliency", "absolute_maximum"),
        "guided_backprop": GuidedBackprop,
        "deconvolution": Deconvolution,
        "deep_lift": DeepLift,
        "lrp": LRP,
        "excitation_backprop": lambda model: ExcitationBackprop(model, "features.5"),
    }


@pytest.mark.parametrize("method", methods())
def test_backward_methods_attribute_to_the_first_tile_as_if_it_were_alone(method: str) -> None:
    model, images, target = flower_net().double(), grids(), torch.tensor([1, 3])
    explainer = methods()[method](model)
    with disconnected(model, GRID, (64, 64)):
        found = explainer.attribute(images, target)
    own = images[:, :, :32, :32]
    alone = explainer.attribute(own, target)
    # Signals of a middle layer are placed in the whole image, over the borders of tiles.
    inner = slice(0, 30) if method == "excitation_backprop" else slice(0, 32)
    torch.testing.assert_close(found[:, :, inner, inner], alone[:, :, inner, inner])
    assert found[:, :, 34:].abs().max() == 0
    assert found[:, :, :, 34:].abs().max() == 0


def test_rules_for_strided_convolutions_do_not_cross_the_borders_of_tiles() -> None:
    model, images = flower_net().double(), grids()
    own = images[:, :, :32, :32].clone()
    signals: list[Tensor] = []
    with untouched(model):
        for pixels in (images.requires_grad_(), own.requires_grad_()):
            with disconnected(model, GRID, (64, 64)), BackwardRules("guided", "resampled"):
                scores = model(pixels)
            signals += torch.autograd.grad(scores[:, 0].sum(), pixels)
    torch.testing.assert_close(signals[0][:, :, :32, :32], signals[1])
    assert signals[0][:, :, 32:].abs().max() == signals[0][:, :, :, 32:].abs().max() == 0


class Gated(nn.Module):
    """Scale maps by a summary of themselves, as squeeze-and-excitation does."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3), nn.Linear(6, 4)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.first(images)
        return self.last(self.second(maps * maps.mean((2, 3), keepdim=True).sigmoid()).mean((2, 3)))


class Shifted(nn.Module):
    """Roll maps, so that every tile sees others."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 6, 3), nn.Linear(6, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.first(images.roll(20, 2)).mean((2, 3)))


@pytest.mark.parametrize("make", [Gated, Shifted, TinyTransformer])
def test_networks_whose_tiles_cannot_be_told_apart_are_refused(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    with pytest.raises(NotApplicable, match="tiles of a grid cannot be disconnected"):
        check_disconnected(make().double().eval(), GRID, grids())
