"""SIAM's explanation and CAM: exact sums, of either sign, of the networks that they belong to."""

import pytest
import torch
from scene_world import TinyBackbone
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
    """With parameters by lot, as training never leaves them."""
    torch.manual_seed(1)
    made = {
        "siam": lambda: siam.SIAM(TinyBackbone(), 3, size=4, border=1),
        "regressor": lambda: SceneRegressor(TinyBackbone()),
        "unconstrained": lambda: UnconstrainedAttributes(TinyBackbone(), 3, border=1),
    }[kind]()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
        if kind == "siam":
            made.clamp_templates()
    return made.eval()


@pytest.mark.parametrize("target", [0, 1, torch.tensor([1, 0, 1])])
@pytest.mark.parametrize("kind", ["siam", "regressor", "unconstrained"])
def test_the_pixels_sum_to_the_score_without_its_bias(kind: str, target: int | Tensor) -> None:
    model = network(kind).double()
    explainer = SIAM(model) if kind == "siam" else CAM(model)
    attribution = explainer.attribute(IMAGES.double(), target)
    assert attribution.shape == (3, 1, 24, 24)
    own = torch.as_tensor(target).expand(3)
    with torch.no_grad():
        expected = (model(IMAGES.double()) - model.bias())[torch.arange(3), own]
    torch.testing.assert_close(attribution.sum((1, 2, 3)), expected)
    torch.testing.assert_close(explainer.places(IMAGES.double(), target).sum((1, 2, 3)), expected)
    assert attribution.min() < 0
    assert torch.equal(explainer.heatmap(attribution), attribution[:, 0].clamp(min=0))


def test_they_do_so_where_places_do_not_fit_into_pixels() -> None:
    model = network().double()
    images = torch.rand(2, 3, 29, 31, dtype=torch.float64)
    with torch.no_grad():
        expected = model(images)[:, 0] - model.bias()[0]
    torch.testing.assert_close(SIAM(model).attribute(images, 0).sum((1, 2, 3)), expected)


@pytest.mark.parametrize("target", [0, 1])
def test_contributions_by_attribute_sum_to_the_same(target: int) -> None:
    model = network()
    explainer = SIAM(model)
    contributions = explainer.contributions(IMAGES, target)
    assert contributions.shape == (3, 3)
    torch.testing.assert_close(contributions.sum(1), explainer.attribute(IMAGES, target).sum((1, 2, 3)))
    maps = explainer.attribute_maps(IMAGES)
    kernel = [*model.scenicness.values()][target].kernel().detach()
    torch.testing.assert_close((maps * kernel).sum((2, 3)), contributions)


def test_what_raises_the_score_in_cam_is_grad_cam_of_a_network_that_averages_its_features() -> None:
    model = network("regressor")
    theirs = GradCAM(model, "backbone.features").attribute(IMAGES, 0)
    # Of three pixels to a place, the middle one has the place's own value.
    torch.testing.assert_close(theirs[..., 1::3, 1::3], CAM(model).places(IMAGES, 0).clamp(min=0))


def test_only_a_network_with_attributes_tells_where_it_sees_them() -> None:
    assert not hasattr(CAM(network("regressor")), "attribute_maps")
    model = network("unconstrained")
    with torch.no_grad():
        torch.testing.assert_close(CAM(model).attribute_maps(IMAGES), model.attribute_maps(IMAGES))


@pytest.mark.parametrize(
    ("explainer", "of", "said"),
    [
        (SIAM, "regressor", "explainer=siam explains SIAM alone, and not SceneRegressor"),
        (CAM, "siam", "explainer=cam explains SceneRegressor alone, and not SIAM"),
    ],
)
def test_another_network_is_an_error(explainer: type, of: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        explainer(network(of))
    with pytest.raises(UserError, match="and not FlowerNet"):
        explainer(FlowerNet(2))


def test_a_score_that_there_is_none_of_is_an_error() -> None:
    with pytest.raises(UserError, match="outside the network's scores; use 0 to 1"):
        SIAM(network()).attribute(IMAGES, 2)
