"""Centres of cells: the closed formula, known networks, and values that have no place."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
import torchvision.models as zoo
from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation

from evident.errors import UserError
from evident.models.flower_net import FlowerNet
from evident.relevance.cell_centres import cell_centres

SIZE = (101, 96)


def random_chain(seed: int) -> tuple[nn.Sequential, float, int]:
    """Return a chain of convolutions and poolings, and the centre of its first cell and their distance by formula."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    layers: list[nn.Module] = []
    start, extent, jump = 0, 1, 1
    for _ in range(draw(2, 4)):
        kernel, stride, dilation, kind = draw(1, 4), draw(1, 2), draw(1, 2), draw(0, 2)
        padding = draw(0, 3 if kind == 0 else kernel // 2)
        if kind == 0:
            layers.append(nn.Conv2d(3, 3, kernel, stride, padding, dilation))
        elif kind == 1:
            layers.append(nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=draw(0, 1) == 1))
        else:
            dilation = 1
            layers.append(nn.AvgPool2d(kernel, stride, padding, ceil_mode=draw(0, 1) == 1))
        start -= padding * jump
        extent += (kernel - 1) * dilation * jump
        jump *= stride
    return nn.Sequential(nn.Sequential(*layers)), start + extent / 2, jump


@pytest.mark.parametrize("seed", range(40))
def test_centres_of_a_chain_equal_the_closed_formula(seed: int) -> None:
    model, first, jump = random_chain(seed)
    maps = model(torch.rand(1, 3, *SIZE))
    for line, cells in zip(cell_centres(model, "0", SIZE), maps.shape[2:], strict=True):
        assert line.dtype == torch.float64
        assert torch.equal(line, first + jump * torch.arange(cells).double())


@pytest.mark.parametrize(
    ("build", "layer", "size", "first", "jump", "cells"),
    [
        (lambda: FlowerNet(6), "features", 112, 0.5, 16, 7),
        (zoo.squeezenet1_1, "features", 224, 15.5, 16, 13),
        (zoo.resnet18, "layer4", 224, 0.5, 32, 7),
        (zoo.vgg11, "features", 224, 16, 32, 7),
    ],
    ids=["FlowerNet", "squeezenet1_1", "resnet18", "vgg11"],
)
def test_known_networks_have_known_centres(
    build: Callable[[], nn.Module], layer: str, size: int, first: float, jump: int, cells: int
) -> None:
    rows, columns = cell_centres(build(), layer, (size, size))
    assert torch.equal(rows, first + jump * torch.arange(cells).double())
    assert torch.equal(columns, rows)


class SamePadding(nn.Module):
    """Pad as TensorFlow does: the padding depends on the size, and the right side gets the larger half."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, stride=4)

    def forward(self, images: Tensor) -> Tensor:
        padding = [
            half
            for side in reversed(images.shape[2:])
            for total in [max((-(-side // 4) - 1) * 4 + 3 - side, 0)]
            for half in (total // 2, total - total // 2)
        ]
        return self.convolution(F.pad(images, padding))


@pytest.mark.parametrize(("side", "first"), [(32, 1.5), (33, 0.5), (34, 1.5), (35, 1.5), (37, 0.5)])
def test_padding_that_depends_on_the_size_is_measured_at_this_size(side: int, first: float) -> None:
    rows, columns = cell_centres(nn.Sequential(SamePadding()), "0", (side, side))
    assert rows[0] == columns[0] == first


def between(*modules: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), *modules, nn.Conv2d(4, 4, 3, 2, 1)))


@pytest.mark.parametrize(
    "module",
    [nn.Identity(), SqueezeExcitation(4, 2), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), nn.BatchNorm2d(4)],
    ids=lambda module: type(module).__name__,
)
def test_summary_of_the_whole_map_does_not_move_the_cells(module: nn.Module) -> None:
    rows, columns = cell_centres(between(module), "0", (40, 48))
    assert torch.equal(rows, 0.5 + 4 * torch.arange(10).double())
    assert torch.equal(columns, 0.5 + 4 * torch.arange(12).double())


def test_layers_after_the_asked_one_may_need_images_of_one_size() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 3, 2), nn.Flatten(), nn.Linear(2 * 15 * 15, 3))
    rows, _ = cell_centres(model, "0", (32, 32))
    assert torch.equal(rows, 1.5 + 2 * torch.arange(15).double())


def test_map_of_one_cell_lies_in_the_middle() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1))
    assert [line.tolist() for line in cell_centres(model, "1", (32, 40))] == [[16], [20]]


@pytest.mark.parametrize("module", [nn.AdaptiveAvgPool2d(5), nn.Linear(40, 40)])
def test_cells_without_places_raise_in_one_line(module: nn.Module) -> None:
    with pytest.raises(UserError, match=r"cells of layer='0' have no places: .* use placement=resized$"):
        cell_centres(nn.Sequential(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), module)), "0", (40, 40))


def test_layer_that_is_not_run_raises() -> None:
    model = FlowerNet(4)
    model.unused = nn.Conv2d(3, 3, 1)
    with pytest.raises(UserError, match="layer='unused' is not run"):
        cell_centres(model, "unused", (32, 32))
