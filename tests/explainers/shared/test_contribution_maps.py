"""SIAM and CAM: signed maps that sum exactly to the score of their network."""

import pytest
import torch
from scene_world import scene_network
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.cam import CAM
from evident.explainers.grad_cam import GradCAM
from evident.explainers.siam import SIAM
from evident.models.flower_net import FlowerNet
from evident.models.siam import network as siam
from evident.models.siam.baselines import SceneRegressor, UnconstrainedAttributes

IMAGES = torch.rand(3, 3, 24, 24, generator=torch.Generator().manual_seed(0))


def network(kind: str = "siam") -> nn.Module:
    """Return a network with random parameters, such as training would not give."""
    made = scene_network(kind, seed=1, noise=0.3)
    if isinstance(made, siam.SIAM):
        made.clamp_templates()
    return made.eval()


@pytest.mark.parametrize("target", [0, 1, torch.tensor([1, 0, 1])])
@pytest.mark.parametrize("kind", ["siam", "regressor", "unconstrained"])
def test_pixels_sum_to_the_score_without_its_bias(kind: str, target: int | Tensor) -> None:
    model = network(kind).double()
    explainer = SIAM(model) if kind == "siam" else CAM(model)
    attribution = explainer.attribute(IMAGES.double(), target)
    assert attribution.shape == (3, 1, 24, 24)
    index = torch.as_tensor(target).expand(3)
    with torch.no_grad():
        expected = (model(IMAGES.double()) - model.output_bias())[torch.arange(3), index]
    torch.testing.assert_close(attribution.sum((1, 2, 3)), expected)
    torch.testing.assert_close(explainer.own_map(IMAGES.double(), target).sum((1, 2, 3)), expected)
    assert attribution.min() < 0
    assert torch.equal(explainer.heatmap(attribution), attribution[:, 0].clamp(min=0))


def test_pixels_sum_to_the_score_if_positions_are_not_whole_numbers_of_pixels() -> None:
    model = network().double()
    images = torch.rand(2, 3, 29, 31, dtype=torch.float64)
    with torch.no_grad():
        expected = model(images)[:, 0] - model.output_bias()[0]
    torch.testing.assert_close(SIAM(model).attribute(images, 0).sum((1, 2, 3)), expected)


@pytest.mark.parametrize("target", [0, 1])
def test_contributions_by_attribute_sum_to_the_score(target: int) -> None:
    model = network()
    explainer = SIAM(model)
    contributions = explainer.contributions(IMAGES, target)
    assert contributions.shape == (3, 3)
    torch.testing.assert_close(contributions.sum(1), explainer.attribute(IMAGES, target).sum((1, 2, 3)))
    maps = explainer.attribute_maps(IMAGES)
    kernel = [*model.scenicness.values()][target].kernel().detach()
    torch.testing.assert_close((maps * kernel).sum((2, 3)), contributions)


def test_positive_part_of_cam_is_grad_cam_of_a_network_that_averages_its_features() -> None:
    model = network("regressor")
    theirs = GradCAM(model, "backbone.features").attribute(IMAGES, 0)
    # A position covers three pixels; the middle one has the value of the position.
    torch.testing.assert_close(theirs[..., 1::3, 1::3], CAM(model).own_map(IMAGES, 0).clamp(min=0))


def test_cam_has_attribute_maps_of_networks_with_attributes_only() -> None:
    assert CAM(network("regressor")).attribute_maps(IMAGES) is None
    model = network("unconstrained")
    with torch.no_grad():
        torch.testing.assert_close(CAM(model).attribute_maps(IMAGES), model.attribute_maps(IMAGES))


@pytest.mark.parametrize(
    ("explainer", "kind", "message"),
    [
        (SIAM, "regressor", "explainer=siam explains networks of class SIAM; SceneRegressor is not"),
        (CAM, "siam", "explainer=cam explains networks of class SceneRegressor; SIAM is not"),
    ],
)
def test_unsupported_network_raises(explainer: type, kind: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        explainer(network(kind))
    with pytest.raises(UserError, match="FlowerNet is not"):
        explainer(FlowerNet(2))


def test_supported_networks_are_found_by_class() -> None:
    assert [SIAM.supports(kind) for kind in (siam.SIAM, SceneRegressor, FlowerNet)] == [True, False, False]
    assert [CAM.supports(kind) for kind in (UnconstrainedAttributes, SceneRegressor, siam.SIAM)] == [True, True, False]


def test_target_outside_the_scores_raises() -> None:
    with pytest.raises(UserError, match="outside the network's scores; use 0 to 1"):
        SIAM(network()).attribute(IMAGES, 2)
