"""VEBI compared with a slow derivation of Oramas et al. 2019, feature by feature, and the options of the paper."""

from typing import Any

import pytest
import torch
from samples import flower_net, smooth_noise, training_set
from torch import Tensor, nn

from evident.data.images import loader
from evident.errors import UserError
from evident.explainers.shared.backward_rules import BackwardRules
from evident.explainers.vebi import VEBI, deconvolved
from evident.relevance.relevance import Feature
from evident.relevance.responses import responses


@pytest.fixture
def model() -> nn.Module:
    return flower_net()


def some_images(count: int) -> Tensor:
    return smooth_noise(count, cells=6, seed=0)


def fitted(model: nn.Module, **settings: Any) -> VEBI:
    explainer = VEBI(model, **settings)
    explainer.fit(loader(training_set(), batch_size=8))
    return explainer


def single_heatmap(model: nn.Module, image: Tensor, feature: Feature, resampled: bool) -> Tensor:
    """Return the heatmap (H, W) of one feature in one image, by a hook at the module with the layer's name."""
    outputs: list[Tensor] = []
    module = model.get_submodule(feature.layer.partition("/")[0])
    handle = module.register_forward_hook(lambda module, args, output: outputs.append(output))
    pixels = image[None].clone().requires_grad_()
    with BackwardRules("guided", "resampled" if resampled else None):
        model(pixels)
    handle.remove()
    [activation] = outputs
    signal = torch.zeros_like(activation)
    signal[0, feature.filter] = activation[0, feature.filter].detach()
    (gradient,) = torch.autograd.grad(activation, pixels, signal)
    heatmap = gradient[0].clamp(min=0).square().sum(0).sqrt()
    low, high = heatmap.min(), heatmap.max()
    return (heatmap - low) / (high - low) if high > low else torch.zeros_like(heatmap)


def test_fewer_pairs_of_larger_images_pass_at_once(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pair keeps all maps of the network, so 48 pairs of 448 x 448 pixels took 20 GB with ResNet-50."""
    explainer, images = fitted(model, batch_size=8), some_images(3)
    expected, passed = explainer.feature_maps(images, 1), []
    monkeypatch.setattr("evident.explainers.vebi.PIXELS", images[0, 0].numel() // 4)

    def counted(model: nn.Module, images: Tensor, *rest: Any) -> Tensor:
        passed.append(len(images))
        return deconvolved(model, images, *rest)

    monkeypatch.setattr("evident.explainers.vebi.deconvolved", counted)
    again = explainer.feature_maps(images, 1)
    assert sum(passed) == int((expected.features >= 0).sum())
    assert max(passed) == 2
    torch.testing.assert_close(again.maps, expected.maps)


@pytest.mark.parametrize("resampled", [True, False])
@pytest.mark.parametrize("layers", ["relu", "all", ["features.8/relu", "features.18/conv2d"]])
def test_explanation_equals_the_formula_by_feature(model: nn.Module, layers: str | list, resampled: bool) -> None:
    explainer = fitted(model, layers=layers, mu=5.0, top=3, resampled=resampled)
    images, target = some_images(5), torch.tensor([0, 1, 2, 3, 1])
    explanation = explainer.feature_maps(images, target)
    combined = explainer.attribute(images, target)
    relevance = explainer.relevance()
    for n, image in enumerate(images):
        x = responses(model, image[None], layers)[0].double()
        w = relevance.weights[:, target[n]]
        f = x * w / w.sum()
        expected = [(k, f[k]) for k in f.argsort(descending=True).tolist() if f[k] > 0][:3]
        found = [index for index in explanation.features[n].tolist() if index >= 0]
        assert found == [index for index, _ in expected]
        maps = [single_heatmap(model, image, relevance.features[index], resampled) for index in found]
        torch.testing.assert_close(explanation.maps[n, : len(maps)], torch.stack(maps), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(combined[n, 0], torch.stack(maps).amax(0), rtol=1e-3, atol=1e-4)
        shares = torch.stack([share for _, share in expected]).float()
        torch.testing.assert_close(explanation.shares[n, : len(maps)], shares)


def test_weighted_explanation_is_the_mean_of_the_heatmaps_by_share(model: nn.Module) -> None:
    images, target = some_images(5), torch.tensor([0, 1, 2, 3, 1])
    explainer = fitted(model, layers="all", mu=5.0, top=3, combined="weighted")
    explanation = explainer.feature_maps(images, target)
    found = explainer.attribute(images, target)
    several = 0
    for n in range(len(images)):
        shown = [k for k in range(3) if explanation.features[n, k] >= 0]
        several += len(shown) > 1
        shares = [float(explanation.shares[n, k]) for k in shown]
        expected = sum(
            (share / sum(shares) * explanation.maps[n, k].double() for share, k in zip(shares, shown, strict=True)),
            torch.zeros(images.shape[2:], dtype=torch.float64),
        )
        torch.testing.assert_close(found[n, 0].double(), expected, rtol=1e-5, atol=1e-6)
    assert several  # otherwise the weights would not matter
    with pytest.raises(UserError, match=r"^combined=mean is unknown; use maximum or weighted$"):
        fitted(model, combined="mean")


def test_feature_below_other_activations_has_a_guided_heatmap(model: nn.Module) -> None:
    network: Any = model
    for index in (5, 11):
        network.features[index] = nn.SiLU(inplace=True)
    image, feature = some_images(1), Feature("features.20/relu", 5)
    guided = deconvolved(model, image, [feature], resampled=False)
    pixels = image.requires_grad_()
    activation = network.features(network.normalise(pixels))
    signal = torch.zeros_like(activation)
    signal[0, 5] = activation.detach()[0, 5]
    plain = torch.autograd.grad(activation, pixels, signal)[0].clamp(min=0).square().sum(1).sqrt()
    assert guided.isfinite().all()
    assert (guided - plain / plain.max()).abs().max() > 0.1


def test_features_of_one_pass_equal_those_of_separate_passes(model: nn.Module) -> None:
    images = some_images(4)
    features = [Feature("features.2/relu", 3), Feature("features.20/relu", 5), Feature("features.8/relu", 1)]
    features.append(Feature("classifier.3/relu", 7))
    together = deconvolved(model, images, features)
    alone = [deconvolved(model, images[n : n + 1], [feature])[0] for n, feature in enumerate(features)]
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-4, atol=1e-5)


def test_heatmaps_are_in_zero_one(model: nn.Module) -> None:
    explanation = fitted(model).feature_maps(some_images(3), 1)
    active = explanation.features >= 0
    assert active.any()
    assert (explanation.maps >= 0).all()
    assert (explanation.maps <= 1).all()
    assert (explanation.maps.flatten(2).amax(2)[active] == 1).all()
    assert (explanation.shares[~active] == 0).all()
    assert (explanation.maps[~active] == 0).all()


def test_class_without_relevant_features_has_an_empty_explanation(model: nn.Module) -> None:
    explainer = fitted(model)
    explainer.relevance().weights[:, 2] = 0
    assert (explainer.attribute(some_images(2), torch.tensor([2, 2])) == 0).all()


def test_top_above_the_number_of_features_shows_all_of_them(model: nn.Module) -> None:
    explainer = fitted(model, layers=["features.2/relu"], top=40)
    assert explainer.feature_maps(some_images(2), 0).maps.shape[1] == 16


def test_in_place_layers_do_not_change_the_result(model: nn.Module) -> None:
    features = [Feature("features.1/batch_norm", 3), Feature("features.3/conv2d", 5)]
    expected = deconvolved(model, some_images(2), features)
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = True
    torch.testing.assert_close(deconvolved(model, some_images(2), features), expected)


def test_explaining_before_fit_raises(model: nn.Module) -> None:
    with pytest.raises(UserError, match="call fit"):
        VEBI(model).attribute(some_images(1), 0)


def test_class_without_training_images_is_named(model: nn.Module) -> None:
    batch = next(iter(loader(training_set(40), 40)))
    known = {name: values[batch["label"] < 2] for name, values in batch.items()}
    explainer = VEBI(model)
    explainer.fit([known])
    assert explainer.attribute(known["image"][:1], target=1).shape == (1, 1, *known["image"].shape[2:])
    with pytest.raises(UserError, match="no relevant features of class 2, 3, of which the training set has no images"):
        explainer.attribute(known["image"][:4], target=torch.tensor([0, 3, 1, 2]))
    predicted = VEBI(model, labels="predicted")
    predicted.fit([known])
    predicted.attribute(known["image"][:4], target=torch.tensor([0, 3, 1, 2]))


def test_top_below_one_raises(model: nn.Module) -> None:
    with pytest.raises(UserError, match="top=0"):
        VEBI(model, top=0)
