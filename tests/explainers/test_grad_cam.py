"""Grad-CAM and related methods, compared with captum where captum has them, else with a slow derivation."""

import warnings
from typing import Any

import pytest
import torch
from captum.attr import GuidedGradCam, LayerAttribution, LayerGradCam
from samples import flower_net, uniform_noise
from torch import Tensor, nn
from torchvision.models import squeezenet1_1

from evident.errors import UserError
from evident.explainers.grad_cam import Activations, GradCAM, grad_cam_pp_weights
from evident.models.flower_net import FlowerNet


@pytest.fixture
def network() -> nn.Module:
    """Return SqueezeNet without in-place modules, which captum's guided backpropagation does not support."""
    model = squeezenet1_1(num_classes=5).eval()
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return model


def assert_close(ours: Tensor, theirs: Tensor) -> None:
    assert theirs.abs().max() > 0
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6 * float(theirs.abs().max()))


@pytest.mark.parametrize("layer", ["features.3", "features.9", "features.12"])
def test_grad_cam_agrees_with_captum(network: nn.Module, layer: str) -> None:
    theirs = LayerGradCam(network, network.get_submodule(layer)).attribute(
        uniform_noise(), target=3, relu_attributions=True
    )
    theirs = LayerAttribution.interpolate(theirs, (64, 64), "bilinear").detach()
    assert_close(GradCAM(network, layer, placement="resized").attribute(uniform_noise(), 3), theirs)


def test_guided_grad_cam_agrees_with_captum(network: nn.Module) -> None:
    explainer = GuidedGradCam(network, network.get_submodule("features.9"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Setting backward hooks", UserWarning)
        theirs = explainer.attribute(uniform_noise().requires_grad_(), 3, interpolate_mode="bilinear").detach()
    assert_close(GradCAM(network, "features.9", guided=True, placement="resized").attribute(uniform_noise(), 3), theirs)


def test_grad_cam_pp_equals_a_slow_derivation() -> None:
    model = flower_net().double()
    inputs = uniform_noise(size=48).double()
    ours = GradCAM(model, "features", weights="grad_cam_pp", placement="resized").attribute(inputs, 2)
    for n in range(len(inputs)):
        maps = model.features(model.normalise(inputs[n : n + 1])).detach().requires_grad_()
        score = model.classifier(maps)[0, 2]
        # Y = exp(S): PyTorch computes the first derivative, equations 16 and 17 give the others.
        (first,) = torch.autograd.grad(score.exp(), maps)
        g = first / score.exp()
        second, third = score.exp() * g**2, score.exp() * g**3
        cam = torch.zeros(3, 3, dtype=torch.float64)
        for k in range(maps.shape[1]):
            weight = torch.zeros((), dtype=torch.float64)
            for i in range(3):
                for j in range(3):
                    if g[0, k, i, j] != 0:
                        denominator = 2 * second[0, k, i, j] + maps[0, k].sum() * third[0, k, i, j]
                        weight += second[0, k, i, j] / denominator * first[0, k, i, j].clamp(min=0)
            cam += weight * maps[0, k]
        cam = LayerAttribution.interpolate(cam.clamp(min=0)[None, None], (48, 48), "bilinear")
        # Our weights omit the positive factor Y.
        torch.testing.assert_close(ours[n] * score.exp(), cam[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("weights", "lowest"), [("hires_cam", -torch.inf), ("layer_cam", 0)])
def test_maps_with_weights_for_every_position_equal_a_slow_derivation(weights: Any, lowest: float) -> None:
    model = flower_net().double()
    inputs = uniform_noise(size=48).double()
    ours = GradCAM(model, "features", weights=weights, placement="resized").attribute(inputs, 2)
    assert ours.amax() > 0
    for n in range(len(inputs)):
        maps = model.features(model.normalise(inputs[n : n + 1])).detach().requires_grad_()
        (g,) = torch.autograd.grad(model.classifier(maps)[0, 2], maps)
        cam = torch.zeros(3, 3, dtype=torch.float64)
        for k in range(maps.shape[1]):
            for i in range(3):
                for j in range(3):
                    cam[i, j] += max(float(g[0, k, i, j]), lowest) * float(maps.detach()[0, k, i, j])
        cam = LayerAttribution.interpolate(cam.clamp(min=0)[None, None], (48, 48), "bilinear")
        torch.testing.assert_close(ours[n], cam[0], rtol=1e-9, atol=1e-12)


def test_hires_cam_sums_to_the_score_where_the_rest_is_linear() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 64, 2, bias=False))
    with torch.no_grad():
        model[3].weight.abs_()  # so that the map has no negative values to clip
    inputs = uniform_noise(size=8)
    attribution = GradCAM(model, "1", weights="hires_cam").attribute(inputs, 1)
    torch.testing.assert_close(attribution.sum((1, 2, 3)), model(inputs)[:, 1].detach())


def test_grad_cam_pp_is_finite_for_negative_activations() -> None:
    activations, gradients = torch.full((1, 1, 1, 1), -2.0), torch.ones(1, 1, 1, 1)
    assert grad_cam_pp_weights(activations, gradients).isfinite().all()


def test_map_is_read_before_an_in_place_layer_overwrites_it() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 1, 1, bias=False), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4, 2, bias=False)
    )
    with torch.no_grad():
        model[0].weight.fill_(-1)
        model[3].weight.fill_(-1)
    # The ReLU makes all maps zero; before it, they are -3 with a gradient of zero.
    assert Activations(model, "0").attribute(torch.ones(1, 3, 2, 2), 0).abs().max() == 0
    with torch.no_grad():
        model[0].weight.fill_(1)
    attribution = GradCAM(model, "0").attribute(torch.tensor([1.0, 2.0]).expand(1, 3, 2, 2), 0)
    assert torch.equal(attribution, torch.zeros(1, 1, 2, 2))
    with torch.no_grad():
        model[3].weight.fill_(1)
    attribution = GradCAM(model, "0").attribute(torch.tensor([1.0, 2.0]).expand(1, 3, 2, 2), 0)
    torch.testing.assert_close(attribution, torch.tensor([3.0, 6.0]).expand(1, 1, 2, 2))


def test_activations_are_the_mean_of_the_positive_parts(network: nn.Module) -> None:
    maps = network.features[:1](uniform_noise())
    expected = LayerAttribution.interpolate(maps.clamp(min=0).mean(1, True), (64, 64), "bilinear").detach()
    assert_close(Activations(network, "features.0", placement="resized").attribute(uniform_noise(), 0), expected)


@pytest.mark.parametrize("explainer", [GradCAM, Activations])
def test_unknown_layer_raises_and_existing_ones_are_named(network: nn.Module, explainer: type) -> None:
    with pytest.raises(UserError, match=r"layer='layer4' is not a module of SqueezeNet; .* classifier\.1"):
        explainer(network, "layer4")


def test_layer_without_maps_raises() -> None:
    with pytest.raises(UserError, match=r"layer='classifier.2' returns \(2, 96\), not feature maps"):
        GradCAM(FlowerNet(4), "classifier.2").attribute(uniform_noise(), 0)


def test_layer_that_is_not_run_raises() -> None:
    model = FlowerNet(4)
    model.spare = nn.Conv2d(3, 3, 1)
    with pytest.raises(UserError, match="layer='spare' is not run by the forward pass of FlowerNet"):
        GradCAM(model, "spare").attribute(uniform_noise(), 0)


def test_unknown_weights_raise() -> None:
    weights: Any = "plus"
    with pytest.raises(UserError, match="weights='plus' is unknown; use grad_cam, grad_cam_pp, hires_cam, layer_cam"):
        GradCAM(FlowerNet(4), "features", weights=weights)


def test_target_outside_the_classes_raises() -> None:
    with pytest.raises(UserError, match=r"target \[4, 4\] is outside the network's classes; use 0 to 3"):
        GradCAM(FlowerNet(4), "features").attribute(uniform_noise(), 4)
