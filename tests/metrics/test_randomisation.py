"""Sanity checks by random weights and shuffled labels: explainers whose answer is known, and the formulas in NumPy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import Attribution
from samples import smooth_noise
from scipy.stats import spearmanr
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.captum_method import CaptumMethod
from evident.explainers.reference_rows import Centre, Constant, Edges, Oracle, Random
from evident.metrics.contract import Curve, Explanation, heatmaps, image_scores
from evident.metrics.randomisation import label_randomisation, randomisation_cascading, randomisation_independent
from evident.metrics.similarity import similarities
from evident.models.flower_net import FlowerNet
from evident.models.mnist_net import MnistNet
from evident.models.randomised import randomised

MEASURES = ("ssim", "spearman", "abs_correlation")
Build = Callable[[nn.Module], Attribution]


class Linear(nn.Module):
    """Compute class scores (N, classes) as one weighted sum of the pixels of each class."""

    def __init__(self, size: int = 16, classes: int = 3) -> None:
        super().__init__()
        self.weights = nn.Linear(3 * size * size, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.weights(images.flatten(1))


class FirstWeights(Attribution):
    """Show the size of the first and of the last weights of a `MnistNet`, beside each other."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.model = model

    def attribute(self, inputs: Tensor, target: Any) -> Tensor:
        rows = [self.model.features[0].weight.flatten()[:400], self.model.classifier[3].weight.flatten()[:400]]
        return torch.cat([row.view(1, 1, 20, 20) for row in rows], 3).abs().detach().expand(len(inputs), -1, -1, -1)

    @staticmethod
    def heatmap(attribution: Tensor) -> Tensor:
        return attribution.sum(1)


def gradient(model: nn.Module) -> CaptumMethod:
    return CaptumMethod(model, "captum.attr.Saliency", "absolute_maximum", {"abs": False})


def explained(build: Build, model: nn.Module, images: Tensor | None = None, **fields: Any) -> Explanation:
    """Return the explanation of images by an explainer, with what the metrics need."""
    images = smooth_noise(3, 16) if images is None else images
    target = torch.arange(len(images)) % 3
    mask = fields.get("mask")
    heatmap = heatmaps(build(model), images, target, mask)
    given = {"model": model, "rebuild": build, "training_images": lambda: smooth_noise(8, 16, seed=3), **fields}
    return Explanation(images, target, heatmap, **given)


def curves(explanation: Explanation, **settings: Any) -> dict[str, Curve]:
    """Return all six curves."""
    return randomisation_cascading(explanation, **settings) | randomisation_independent(explanation, **settings)


def seeded(kind: type[nn.Module], seed: int = 0, **settings: Any) -> Any:
    torch.manual_seed(seed)
    return kind(**settings).eval()


@pytest.mark.parametrize("build", [Random, Centre, Constant, Edges])
def test_map_that_ignores_the_network_has_a_similarity_of_one_everywhere(build: Build) -> None:
    explanation = explained(build, seeded(FlowerNet, classes=4), shuffled=seeded(FlowerNet, 1, classes=4))
    for name, curve in curves(explanation).items():
        assert curve.values.shape == (3, 5)
        assert curve.values.flatten().tolist() == pytest.approx([1.0] * 15, abs=1e-12), name
        assert image_scores(curve).tolist() == pytest.approx([1.0] * 3, abs=1e-12)
    for values in label_randomisation(explanation).values():
        assert values.tolist() == pytest.approx([1.0] * 3, abs=1e-12)


def test_oracle_gets_its_mask_and_depends_on_nothing() -> None:
    mask = smooth_noise(3, 16)[:, 0] > 0.5
    explanation = explained(Oracle, seeded(FlowerNet, classes=4), mask=mask)
    assert all(curve.values.eq(1).all() for name, curve in curves(explanation).items() if "spearman" in name)


def test_gradient_of_a_linear_layer_is_compared_with_its_permuted_weights() -> None:
    """Derive every similarity from the weights: the gradient of class j is row j."""
    model = seeded(Linear).double()
    explanation = explained(gradient, model, smooth_noise(3, 16, dtype=torch.float64))
    other = randomised(model, [0], seed=7).weights.weight.detach()
    maps = [weights.view(3, 3, 16, 16).abs().amax(1).numpy() for weights in (model.weights.weight.detach(), other)]
    found = randomisation_cascading(explanation, seed=7)
    pairs = [(one.flatten(), two.flatten()) for one, two in zip(*maps, strict=True)]
    spearman = [spearmanr(*pair).statistic for pair in pairs]
    assert found["cascading_spearman"].at.tolist() == [1]
    assert image_scores(found["cascading_spearman"]).tolist() == pytest.approx(spearman)
    pearson = [np.corrcoef(*pair)[0, 1] for pair in pairs]
    assert image_scores(found["cascading_abs_correlation"]).tolist() == pytest.approx(pearson)
    assert max(map(abs, spearman)) < 0.3  # about 1 / sqrt(256) for unrelated maps
    # A single layer alone is all layers.
    alone = randomisation_independent(explanation, seed=7)
    for name in MEASURES:
        assert torch.equal(alone[f"independent_{name}"].values, found[f"cascading_{name}"].values)


def test_cascading_randomises_from_the_output_and_independent_one_layer_alone() -> None:
    """Half of the map shows the first layer, half the last one."""
    model = seeded(MnistNet, classes=4)
    whole = FirstWeights(model).attribute(torch.zeros(1), None)[0, 0]
    left, right = whole.split(20, dim=1)
    last, first = (randomised(model, [layer]) for layer in (3, 0))
    halves = [FirstWeights(made).attribute(torch.zeros(1), None)[0, 0].split(20, dim=1) for made in (last, first)]
    maps = {
        "last": torch.cat([left, halves[0][1]], 1),
        "first": torch.cat([halves[1][0], right], 1),
        "both": torch.cat([halves[1][0], halves[0][1]], 1),
    }
    expected = {name: similarities(whole[None], other[None])["spearman"].item() for name, other in maps.items()}
    blank = torch.zeros(1, 3, 20, 40)
    given = Explanation(blank, torch.zeros(1).long(), whole[None], model=model, rebuild=FirstWeights)
    cascading = randomisation_cascading(given)["cascading_spearman"]
    assert cascading.at.tolist() == [0.25, 0.5, 0.75, 1]
    assert cascading.values[0].tolist() == [expected[name] for name in ("last", "last", "last", "both")]
    assert cascading.score.tolist() == [expected["both"]]
    independent = randomisation_independent(given)["independent_spearman"]
    assert independent.at.tolist() == [0.25, 0.5, 0.75, 1]
    assert independent.values[0].tolist() == [expected["last"], 1, 1, expected["first"]]
    assert independent.score.item() == pytest.approx((expected["last"] + 2 + expected["first"]) / 4)


@pytest.mark.parametrize(
    ("depths", "expected"), [(5, [1, 3, 5, 7, 9]), (2, [1, 9]), (9, list(range(1, 10))), (20, list(range(1, 10)))]
)
def test_depths_are_spread_evenly_from_the_last_layer_to_all(depths: int, expected: list[int]) -> None:
    explanation = explained(Edges, seeded(FlowerNet, classes=4))
    found = randomisation_cascading(explanation, depths=depths)["cascading_ssim"]
    assert (found.at * 9).tolist() == pytest.approx(expected)


def test_gradient_of_a_deep_network_changes_with_its_weights() -> None:
    explanation = explained(gradient, seeded(FlowerNet, classes=4))
    for name, curve in curves(explanation).items():
        assert (image_scores(curve) < 0.6).all(), name


def test_seed_draws_other_weights_and_the_same_seed_the_same() -> None:
    explanation = explained(gradient, seeded(FlowerNet, classes=4))
    first, again, other = (curves(explanation, seed=seed)["cascading_spearman"].values for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("score", [randomisation_cascading, randomisation_independent])
def test_model_comes_back_bit_for_bit_also_after_an_exception(score: Callable[..., Any]) -> None:
    model = seeded(FlowerNet, classes=4)
    model.features[0].train()
    model.classifier[2].weight.requires_grad_(False)
    calls: list[nn.Module] = []

    def build(network: nn.Module) -> Attribution:
        calls.append(network)
        if len(calls) == 3:
            raise ZeroDivisionError
        return Edges(network)

    explanation = explained(Edges, model, rebuild=build)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [(module.training, len(module._forward_hooks)) for module in model.modules()]
    frozen = [parameter.requires_grad for parameter in model.parameters()]
    with pytest.raises(ZeroDivisionError):
        score(explanation)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [(module.training, len(module._forward_hooks)) for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == frozen
    assert model not in calls


def test_shuffled_network_is_explained_by_the_rebuilt_explainer() -> None:
    model, shuffled = seeded(FlowerNet, classes=4), seeded(FlowerNet, 1, classes=4)
    explanation = explained(gradient, model, shuffled=shuffled)
    theirs = gradient(shuffled)
    heatmap = theirs.heatmap(theirs.attribute(explanation.images, explanation.target))
    expected = similarities(explanation.heatmap, heatmap)
    found = label_randomisation(explanation)
    assert list(found) == [f"label_{name}" for name in MEASURES]
    for name in MEASURES:
        torch.testing.assert_close(found[f"label_{name}"], expected[name])
    same = label_randomisation(explained(gradient, model, shuffled=model))
    assert same["label_spearman"].tolist() == [1, 1, 1]


def test_missing_or_invalid_arguments_are_named() -> None:
    explanation = explained(Edges, seeded(FlowerNet, classes=4))
    lean = Explanation(explanation.images, explanation.target, explanation.heatmap)
    with pytest.raises(UserError, match="needs the model that was explained"):
        randomisation_cascading(lean)
    with pytest.raises(UserError, match="rebuilds the explainer"):
        randomisation_cascading(explained(Edges, seeded(Linear), rebuild=None))
    with pytest.raises(UserError, match="depths=1 must be 2 or more"):
        randomisation_independent(explanation, depths=1)
    with pytest.raises(UserError, match="give training images"):
        randomisation_independent(explained(Edges, seeded(FlowerNet, classes=4), training_images=None))
    with pytest.raises(UserError, match="Identity has no layers with weights"):
        randomisation_cascading(explained(Edges, nn.Identity()))
    with pytest.raises(UserError, match="needs a network trained on shuffled labels"):
        label_randomisation(explanation)
