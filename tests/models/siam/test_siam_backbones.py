"""Backbones: sizes of features, receptive fields and published weights."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from evident.errors import UserError
from evident.models.normalise import mean_colour
from evident.models.pretrained import TorchvisionClassifier
from evident.models.siam.backbones import Backbone, SceneNet, TorchvisionFeatures, load_published_backbone
from evident.models.siam.baselines import SceneRegressor


def test_scene_net_features_have_an_eighth_of_the_side() -> None:
    backbone = SceneNet().eval()
    assert backbone(torch.rand(2, 3, 96, 96)).shape == (2, backbone.channels, 12, 12)
    assert next(backbone.children()) is backbone.normalise


def test_scene_net_has_a_receptive_field_of_59_pixels() -> None:
    backbone, images = SceneNet().eval(), torch.rand(1, 3, 96, 96, requires_grad=True)
    backbone(images)[0, :, 6, 6].sum().backward()
    touched = images.grad[0].abs().sum(0)
    assert (touched.sum(0) > 0).sum() == (touched.sum(1) > 0).sum() == 59


def test_torchvision_features_equal_those_of_the_classifier() -> None:
    torch.manual_seed(0)
    backbone = TorchvisionFeatures("resnet18", "layer4").eval()
    torch.manual_seed(0)
    whole = TorchvisionClassifier("resnet18", classes=1000).eval()
    images = torch.rand(2, 3, 64, 64)
    scores = whole.network.fc(backbone(images).mean((2, 3)))
    torch.testing.assert_close(scores, whole(images))
    assert backbone.channels == 512
    assert torch.equal(mean_colour(backbone), mean_colour(whole))


def test_counting_channels_changes_no_state() -> None:
    backbone = TorchvisionFeatures("resnet18", "layer4")
    assert backbone.training
    assert all(module.training for module in backbone.modules())
    assert backbone.features.bn1.running_mean.abs().max() == 0


@pytest.mark.parametrize("make", [SceneNet, partial(TorchvisionFeatures, "resnet18", "layer4")])
def test_batch_normalisation_has_momentum_of_one_percent(make: Callable[[], Backbone]) -> None:
    normalising = [module for module in make().modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(normalising) > 5
    assert {module.momentum for module in normalising} == {0.01}


def test_unknown_layer_raises_user_error() -> None:
    with pytest.raises(UserError, match=r"layer='layer5' is not a child of ResNet; use one of conv1, .*layer4"):
        TorchvisionFeatures("resnet18", "layer5")


def test_published_weights_are_loaded_into_the_backbone(tmp_path: Path) -> None:
    torch.manual_seed(1)
    published = TorchvisionClassifier("squeezenet1_1", classes=1000)
    (tmp_path / "weights").mkdir()
    save_file(published.network.state_dict(), tmp_path / "weights" / "squeezenet1_1.safetensors")
    network = SceneRegressor(TorchvisionFeatures("squeezenet1_1", "features", weights="file 0123456789abcdef"))
    load_published_backbone(network, tmp_path)
    own, given = network.backbone.features.features.state_dict(), published.network.features.state_dict()
    assert all(torch.equal(own[key], given[key]) for key in given)


def test_networks_without_published_backbone_are_unchanged(tmp_path: Path) -> None:
    for network in (nn.Linear(1, 1), SceneRegressor(TorchvisionFeatures("squeezenet1_1", "features"))):
        before = {key: value.clone() for key, value in network.state_dict().items()}
        load_published_backbone(network, tmp_path)
        assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
