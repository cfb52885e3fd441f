"""VEBI against a slow derivation of PAPERS 1.3, feature by feature, and the options that its authors' paper names."""

import pytest
import torch
from torch import Tensor, nn

from evident.data.images import ImageSet, loader
from evident.errors import UserError
from evident.explainers.shared.backward_rules import BackwardRules
from evident.explainers.vebi import VEBI, deconvolved
from evident.models.flower_net import FlowerNet
from evident.relevance.relevance import Feature
from evident.relevance.responses import responses

CLASSES = 4


@pytest.fixture
def model() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = FlowerNet(CLASSES)
        for weight in network.parameters():
            if weight.dim() > 1:
                nn.init.kaiming_normal_(weight)
    return network.eval()


def pictures(count: int, seed: int = 0) -> Tensor:
    noise = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(noise, (32, 32), mode="bilinear")


def training_set() -> ImageSet:
    images = (pictures(24, seed=1) * 255).byte()
    return ImageSet(images, torch.arange(24) % CLASSES, [str(n) for n in range(24)])


def fitted(model: nn.Module, **settings: object) -> VEBI:
    explainer = VEBI(model, **settings)
    explainer.fit(loader(training_set(), batch_size=8))
    return explainer


def one_by_one(model: nn.Module, image: Tensor, feature: Feature, resampled: bool) -> Tensor:
    """The heatmap (H, W) of one feature in one image, by a hook at a module that bears the layer's name."""
    kept: list[Tensor] = []
    module = model.get_submodule(feature.layer.partition("/")[0])
    handle = module.register_forward_hook(lambda module, args, output: kept.append(output))
    pixels = image[None].clone().requires_grad_()
    with BackwardRules("guided", "resampled" if resampled else None):
        model(pixels)
    handle.remove()
    [activation] = kept
    signal = torch.zeros_like(activation)
    signal[0, feature.filter] = activation[0, feature.filter].detach()
    (gradient,) = torch.autograd.grad(activation, pixels, signal)
    heatmap = gradient[0].clamp(min=0).square().sum(0).sqrt()
    low, high = heatmap.min(), heatmap.max()
    return (heatmap - low) / (high - low) if high > low else torch.zeros_like(heatmap)


@pytest.mark.parametrize("resampled", [True, False])
@pytest.mark.parametrize("layers", ["relu", "all", ["features.8/relu", "features.18/conv2d"]])
def test_it_is_what_the_paper_says_feature_by_feature(model: nn.Module, layers: str | list, resampled: bool) -> None:
    explainer = fitted(model, layers=layers, mu=5.0, top=3, resampled=resampled)
    images, target = pictures(5), torch.tensor([0, 1, 2, 3, 1])
    explanation = explainer.decoupled(images, target)
    combined = explainer.attribute(images, target)
    relevance = explainer.relevance
    for n, image in enumerate(images):
        x = responses(model, image[None], layers)[0].double()
        w = relevance.weights[:, target[n]]
        f = x * w / w.sum()
        expected = [(k, f[k]) for k in f.argsort(descending=True).tolist() if f[k] > 0][:3]
        found = [place for place in explanation.features[n].tolist() if place >= 0]
        assert found == [place for place, _ in expected]
        maps = [one_by_one(model, image, relevance.features[place], resampled) for place in found]
        torch.testing.assert_close(explanation.maps[n, : len(maps)], torch.stack(maps), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(combined[n, 0], torch.stack(maps).amax(0), rtol=1e-3, atol=1e-4)
        shares = torch.stack([share for _, share in expected]).float()
        torch.testing.assert_close(explanation.shares[n, : len(maps)], shares)


def test_all_features_take_one_pass_as_they_take_one_each(model: nn.Module) -> None:
    images = pictures(4)
    features = [Feature("features.2/relu", 3), Feature("features.20/relu", 5), Feature("features.8/relu", 1)]
    features.append(Feature("classifier.3/relu", 7))
    together = deconvolved(model, images, features)
    alone = [deconvolved(model, images[n : n + 1], [feature])[0] for n, feature in enumerate(features)]
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-4, atol=1e-5)


def test_heatmaps_lie_between_zero_and_one(model: nn.Module) -> None:
    explanation = fitted(model).decoupled(pictures(3), 1)
    active = explanation.features >= 0
    assert active.any()
    assert (explanation.maps >= 0).all()
    assert (explanation.maps <= 1).all()
    assert (explanation.maps.flatten(2).amax(2)[active] == 1).all()
    assert (explanation.shares[~active] == 0).all()
    assert (explanation.maps[~active] == 0).all()


def test_a_class_without_relevant_features_has_an_empty_explanation(model: nn.Module) -> None:
    explainer = fitted(model)
    explainer.relevance.weights[:, 2] = 0
    assert (explainer.attribute(pictures(2), torch.tensor([2, 2])) == 0).all()


def test_top_beyond_all_features_shows_those_there_are(model: nn.Module) -> None:
    explainer = fitted(model, layers=["features.2/relu"], top=40)
    assert explainer.decoupled(pictures(2), 0).maps.shape[1] == 16


def test_in_place_layers_leave_the_start_signal_as_it_was(model: nn.Module) -> None:
    features = [Feature("features.1/batch_norm", 3), Feature("features.3/conv2d", 5)]
    expected = deconvolved(model, pictures(2), features)
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = True
    torch.testing.assert_close(deconvolved(model, pictures(2), features), expected)


def test_before_fit_it_says_what_is_missing(model: nn.Module) -> None:
    with pytest.raises(UserError, match="call fit"):
        VEBI(model).attribute(pictures(1), 0)


def test_no_feature_is_none_to_show(model: nn.Module) -> None:
    with pytest.raises(UserError, match="top=0"):
        VEBI(model, top=0)
