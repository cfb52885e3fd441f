"""Placement of maps: planted patches on every network of conf/model, known interpolations, sums."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from entry_point import ROOT
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from samples import flower_net, smooth_noise, uniform_noise
from torch import Tensor, nn

from evident.cli import prepare
from evident.errors import UserError
from evident.explainers.grad_cam import Activations, GradCAM
from evident.explainers.shared.feature_maps import run_to_layer
from evident.explainers.shared.placement import Placement
from evident.models.reference_images import reference_images
from evident.models.untouched import untouched

# But those whose network the user names, and transformers (`test_feature_maps`).
ELSEWHERE = {"checkpoint", "huggingface", "vit_tiny_patch16_224"}
MODELS = sorted(file.stem for file in (ROOT / "conf" / "model").glob("*.yaml") if file.stem not in ELSEWHERE)
# Centres of planted patches, as shares of the side of the image.
PLACES = (0.06, 0.3, 0.5, 0.77, 0.94)


def configured(name: str) -> tuple[nn.Module, str, int]:
    """Return the network of conf/model, untrained, its configured layer, and the size of its images."""
    prepare()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        data = compose(overrides=[f"+model={name}"]).model.data
        config = compose("config", [f"model={name}", f"data={data}", "paths.data=none"])
    network = instantiate(config.model.build, _partial_=True)(classes=config.data.classes)
    return network.eval(), config.model.layer, config.data.size


def averaging(network: nn.Module) -> nn.Module:
    """Let every weighted layer average its inputs, the middle of its window most.

    The response to a patch is then largest where a cell looks, also near the border: equal weights would lose more of
    the patch to the zero padding the nearer it is.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            window = torch.outer(
                *(16.0 ** torch.arange(k).minimum(torch.arange(k).flip(0)) for k in module.kernel_size)
            )
            module.weight.data = (window / window.sum()).expand_as(module.weight).float() / module.weight.shape[1]
        elif isinstance(module, nn.Linear):
            nn.init.constant_(module.weight, 1 / module.in_features)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    return network


def response(network: nn.Module, layer: str, images: Tensor) -> Tensor:
    """Return the change of the layer's map (N, 1, h, w) from a picture of the mean colour."""
    with untouched(network), torch.no_grad():
        grey = reference_images(images[:1], network, "mean_colour")
        maps, neutral = (run_to_layer(network, layer, inputs)[0] for inputs in (images, grey))
    return (maps - neutral).abs().sum(1, keepdim=True)


def distance_to_the_peak(heatmap: Tensor, row: float, column: float) -> float:
    """Return the largest of the distances along the axes from a point to the nearest pixel of the maximum."""
    rows, columns = (heatmap >= heatmap.max() * (1 - 1e-5)).nonzero(as_tuple=True)
    return float(torch.maximum((rows + 0.5 - row).abs(), (columns + 0.5 - column).abs()).min())


@pytest.mark.parametrize("name", MODELS)
def test_peak_of_a_planted_patch_is_within_half_a_cell_of_it(name: str) -> None:
    network, layer, size = configured(name)
    averaging(network)
    side = max(2, size // 28)
    corners = [round(place * size - side / 2) for place in PLACES]
    images = reference_images(torch.zeros(len(PLACES), 3, size, size), network, "mean_colour").clone()
    for image, corner in enumerate(corners):
        across = corners[-1 - image]
        # Faint, so that no rectifier with a ceiling saturates.
        images[image, :, corner : corner + side, across : across + side] += 0.001
    maps = response(network, layer, images)
    cell = size / maps.shape[-1]
    placed = Placement(network, layer)(maps, images)
    for image, corner in enumerate(corners):
        place = corner + side / 2, corners[-1 - image] + side / 2
        assert distance_to_the_peak(placed[image, 0], *place) <= cell / 2 + 1, (name, place)


def test_resize_misses_a_planted_patch_by_more_than_half_a_cell() -> None:
    # FlowerNet's cells look 7.5 pixels further to the upper left than a resize assumes.
    network, layer, size = flower_net(), "features", 112
    averaging(network)
    images = reference_images(torch.zeros(1, 3, size, size), network, "mean_colour").clone()
    images[0, :, 62:66, 30:34] += 0.001
    maps = response(network, layer, images)
    measured, resized = (Placement(network, layer, kind)(maps, images)[0, 0] for kind in ("measured", "resized"))
    assert distance_to_the_peak(measured, 64, 32) <= 1
    assert distance_to_the_peak(resized, 64, 32) > 7


def test_placed_map_interpolates_between_centres_and_is_constant_beyond() -> None:
    network, images = nn.Sequential(nn.Conv2d(3, 1, 2, stride=4)), torch.rand(2, 3, 10, 14)
    maps = torch.rand(2, 5, 3, 4)
    placed = Placement(network, "0")(maps, images)
    for n, k, row, column in torch.cartesian_prod(*map(torch.arange, (2, 5, 10, 14))).tolist():
        # The cells look at pixels 0 and 1, 4 and 5, ...: their centres are 1, 5, ...
        y, x = ((place + 0.5 - 1) / 4 for place in (row, column))
        y, x = min(max(y, 0), 2), min(max(x, 0), 3)
        top, left = min(int(y), 1), min(int(x), 2)
        v, u = y - top, x - left
        a = maps[n, k].double()
        expected = (1 - v) * ((1 - u) * a[top, left] + u * a[top, left + 1])
        expected += v * ((1 - u) * a[top + 1, left] + u * a[top + 1, left + 1])
        assert float(placed[n, k, row, column]) == pytest.approx(float(expected), abs=1e-6)


def test_resized_placement_equals_bilinear_interpolation() -> None:
    network, images = flower_net(), uniform_noise(2, 50)
    maps = torch.rand(2, 3, 4, 7)
    expected = F.interpolate(maps, (50, 50), mode="bilinear", align_corners=False)
    torch.testing.assert_close(Placement(network, "features", "resized")(maps, images), expected)


@pytest.mark.parametrize("kind", ["measured", "resized"])
@pytest.mark.parametrize("cells", [(7, 7), (3, 7), (4, 5)])
def test_spread_keeps_the_sum_also_of_averaged_cells(kind: Any, cells: tuple[int, int]) -> None:
    maps = torch.randn(2, 3, *cells)
    spread = Placement(flower_net(), "features", kind).spread(maps, torch.rand(2, 3, 112, 112))
    torch.testing.assert_close(spread.sum((2, 3)), maps.sum((2, 3)), rtol=1e-4, atol=1e-4)


def test_averaged_cells_lie_at_the_mean_of_their_centres() -> None:
    network, images = nn.Sequential(nn.Conv2d(3, 1, 2, stride=2)), torch.rand(1, 3, 8, 8)
    maps = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])
    # Four cells at 1, 3, 5 and 7 are averaged to two, at 2 and 6.
    expected = torch.tensor([0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1])
    torch.testing.assert_close(Placement(network, "0")(maps, images), expected.expand(1, 1, 8, 8))


@pytest.mark.parametrize("explainer", [GradCAM, Activations])
def test_explainers_take_both_placements(explainer: Any) -> None:
    network, images = flower_net(), smooth_noise(2, 112)
    measured, resized = (
        explainer(network, "features", placement=kind).attribute(images, 1) for kind in ("measured", "resized")
    )
    # The same cells: the same largest and smallest value, elsewhere.
    torch.testing.assert_close(measured.amax((2, 3)), resized.amax((2, 3)), rtol=0.05, atol=0)
    assert not torch.allclose(measured, resized, rtol=0.05)


def test_unknown_placement_or_layer_raises() -> None:
    with pytest.raises(UserError, match="placement='nearest' is unknown; use measured or resized"):
        Placement(flower_net(), "features", "nearest")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="layer='nothing' is not a module"):
        Placement(flower_net(), "nothing")
