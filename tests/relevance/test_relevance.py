"""Relevant features: known answers on networks that detect colours, and the optimality conditions."""

import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from samples import training_set
from scene_world import Scenes, TinyBackbone, scenes
from torch import Tensor, nn

from evident.contracts import Regressor
from evident.data.images import ImageSet, loader
from evident.errors import UserError
from evident.models.flower_net import FlowerNet
from evident.models.siam.baselines import SceneRegressor
from evident.relevance.mu_lasso import mu_lasso
from evident.relevance.relevance import Feature, Labels, Relevance, learn_relevance
from evident.relevance.responses import responses
from evident.values import Batch

COLOURS = 3  # red, green and blue are the classes


class ColourNet(nn.Module):
    """Detect one colour with each filter, in the order `detects`, and every colour with the last filter.

    An image of colour j is predicted as class j + `shift`.
    """

    def __init__(self, detects: tuple[int, ...] = (0, 1, 2), shift: int = 0) -> None:
        super().__init__()
        self.detectors, self.relu = nn.Conv2d(3, COLOURS + 1, 1, bias=False), nn.ReLU()
        self.scores = nn.Linear(COLOURS + 1, COLOURS, bias=False)
        with torch.no_grad():
            self.detectors.weight.fill_(-1)
            self.detectors.weight[COLOURS] = 0.5
            self.scores.weight.zero_()
            for k, colour in enumerate(detects):
                self.detectors.weight[k, colour] = 1
                self.scores.weight[(colour + shift) % COLOURS, k] = 1

    def forward(self, images: Tensor) -> Tensor:
        return self.scores(self.relu(self.detectors(images)).mean((2, 3)))


class ColourRegressor(ColourNet, Regressor):
    """Predict regression outputs by the layers of a `ColourNet`."""

    def regression_names(self) -> tuple[str, ...]:
        return ("average", "variance")


def colours(count: int = 24) -> ImageSet:
    """Return images of one colour each, from dark to bright."""
    labels = torch.arange(count) % COLOURS
    images = torch.zeros(count, 3, 5, 5, dtype=torch.uint8)
    images[torch.arange(count), labels] = torch.linspace(80, 255, count).byte()[:, None, None]
    return ImageSet(images, labels, [str(n) for n in range(count)])


@pytest.fixture
def flower_net() -> Iterator[nn.Module]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield FlowerNet(4).double().eval()


def in_memory(images: ImageSet, model: nn.Module, layers: str | list[str]) -> tuple[Tensor, Tensor]:
    """Return X (m, N) and L (C, N) of all images at once."""
    batch = images.__getitems__(list(range(len(images))))
    one_hot = nn.functional.one_hot(batch["label"], 4).double()
    return responses(model, batch["image"], layers).double().T, one_hot.T


@pytest.mark.parametrize("detects", [(0, 1, 2), (2, 0, 1)])
def test_filter_that_detects_a_class_is_its_relevant_feature(detects: tuple[int, ...]) -> None:
    relevance = learn_relevance(ColourNet(detects), loader(colours(), 8))
    assert relevance.layers == {"relu": 4}
    assert relevance.features == [Feature("relu", k) for k in range(4)]
    assert relevance.counts.tolist() == [1, 1, 1]
    for k, colour in enumerate(detects):
        assert relevance.ranking[0, colour] == k
        # An image of one colour has energy 1 in the filter of the colour and 1/4 in the last filter.
        assert relevance.weights[k, colour].item() == pytest.approx((1 + 1 / 16) ** 0.5)


def test_relevant_filter_is_found_among_all_layers() -> None:
    relevance = learn_relevance(ColourNet((2, 0, 1)), loader(colours(), 8), layers="all")
    assert relevance.layers == {"detectors/conv2d": 4, "relu": 4}
    # The convolution responds to other colours too, with negative values that the rectifier removes.
    assert [relevance.features[k] for k in relevance.ranking[0].tolist()] == [
        *(Feature("relu", 1), Feature("relu", 2), Feature("relu", 0))
    ]


def test_mu_bounds_the_weights_of_each_class() -> None:
    relevance = learn_relevance(ColourNet(), loader(colours(), 8), mu=0.25)
    torch.testing.assert_close(relevance.weights[:COLOURS], 0.25 * torch.eye(3, dtype=torch.float64))
    assert relevance.counts.tolist() == [1, 1, 1]


@pytest.mark.parametrize(("labels", "shift"), [("given", 0), ("predicted", 1)])
def test_labels_are_given_or_predicted(labels: Labels, shift: int) -> None:
    relevance = learn_relevance(ColourNet(shift=1), loader(colours(), 8), labels=labels)
    assert relevance.ranking[0].roll(-shift).tolist() == [0, 1, 2]
    assert relevance.counts.tolist() == [1, 1, 1]


@pytest.mark.parametrize("layers", ["relu", "all", ["features.2/relu", "features.8/relu"]])
def test_batch_size_changes_no_weight(flower_net: nn.Module, layers: str | list[str]) -> None:
    whole, chunked = (learn_relevance(flower_net, loader(training_set(60), size), layers, mu=0.5) for size in (60, 7))
    assert whole.layers == chunked.layers
    assert (whole.counts > 0).all()
    torch.testing.assert_close(chunked.weights, whole.weights, rtol=0, atol=1e-10)
    torch.testing.assert_close(chunked.gain, whole.gain, rtol=0, atol=1e-10)


def test_batches_are_read_once(flower_net: nn.Module) -> None:
    read = []

    def batches() -> Iterator[Batch]:
        for batch in loader(training_set(60), 16):
            read.append(len(batch["label"]))
            yield batch

    expected = learn_relevance(flower_net, loader(training_set(60), 16))
    assert torch.equal(learn_relevance(flower_net, batches()).weights, expected.weights)
    assert read == [16, 16, 16, 12]


@pytest.mark.parametrize("layers", ["relu", "all", ["features.2/relu", "features.8/relu"]])
@pytest.mark.parametrize("mu", [0.1, 1.0, 10.0])
def test_weights_and_gain_satisfy_the_optimality_conditions(
    flower_net: nn.Module, layers: str | list[str], mu: float
) -> None:
    relevance = learn_relevance(flower_net, loader(training_set(60), 16), layers, mu=mu)
    x, labels = in_memory(training_set(60), flower_net, layers)
    weights, gain = relevance.weights, relevance.gain
    assert weights.dtype == gain.dtype == torch.float64
    torch.testing.assert_close(gain, x @ (labels.T - x.T @ weights), rtol=0, atol=1e-9)
    assert (weights >= 0).all()
    assert (weights.sum(0) <= mu * (1 + 1e-9)).all()
    assert (relevance.counts > 0).all()
    for w, g in zip(weights.T, gain.T, strict=True):
        lowest, highest = g[w > 0].aminmax()
        assert highest - lowest < 1e-9  # all features with weight have the same lambda,
        assert g.max() < lowest + 1e-9  # no feature exceeds it,
        assert lowest > -1e-9
        assert lowest < 1e-9 or w.sum() == pytest.approx(mu)  # and it is zero if mu does not bind


def test_ranking_is_by_weight_and_then_by_gain(flower_net: nn.Module) -> None:
    relevance = learn_relevance(flower_net, loader(training_set(60), 16), mu=1.0)
    m, classes = relevance.weights.shape
    assert relevance.ranking.shape == (m, classes)
    assert (relevance.ranking.sort(0).values == torch.arange(m)[:, None]).all()
    for j, order in enumerate(relevance.ranking.T):
        keys = [(float(relevance.weights[k, j]), float(relevance.gain[k, j])) for k in order.tolist()]
        assert keys == sorted(keys, reverse=True)
        assert (relevance.weights[order[: relevance.counts[j]], j] > 0).all()


def test_ranking_of_equal_features_is_their_order() -> None:
    flat = torch.zeros(5, 2, dtype=torch.float64)
    assert Relevance({"relu": 5}, flat, flat).ranking.T.tolist() == [[0, 1, 2, 3, 4]] * 2


def test_loaded_relevance_equals_the_saved_one(flower_net: nn.Module, tmp_path: Path) -> None:
    relevance = learn_relevance(flower_net, loader(training_set(60), 16), "all", mu=1.0)
    relevance.save(tmp_path)
    loaded = Relevance.load(tmp_path)
    assert list(loaded.layers.items()) == list(relevance.layers.items())
    assert torch.equal(loaded.weights, relevance.weights)
    assert torch.equal(loaded.gain, relevance.gain)
    assert loaded.features == relevance.features
    assert str(loaded.features[17]) == "features.1/batch_norm:1"


def test_at_most_one_batch_is_in_memory() -> None:
    served: list[weakref.ref[Tensor]] = []

    def batches() -> Iterator[Batch]:
        for batch in loader(colours(), 3):
            assert sum(image() is not None for image in served) <= 1
            served.append(weakref.ref(batch["image"]))
            yield {**batch}
            del batch

    learn_relevance(ColourNet(), batches())
    assert len(served) == 8


def test_model_is_unchanged() -> None:
    model = FlowerNet(4).train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    learn_relevance(model, loader(training_set(16), 4))
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": "first"}, "labels='first' is unknown; use given or predicted"),
        ({"layers": "softmax"}, "layers=softmax names no intermediate layer of ColourNet"),
        ({"layers": ["relu", "scores/linear"]}, "layers=scores/linear names no intermediate layer of ColourNet"),
        ({"mu": 0.0}, "mu=0.0 "),
        ({"mu": float("inf")}, "mu=inf "),
    ],
)
def test_invalid_settings_are_named(settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        learn_relevance(ColourNet(), loader(colours(), 8), **settings)
    assert "\n" not in str(error.value)


def test_empty_training_set_is_an_error() -> None:
    with pytest.raises(UserError, match="there are no training images to learn relevance from"):
        learn_relevance(ColourNet(), [])


def test_class_that_is_never_predicted_has_no_relevant_features() -> None:
    class NeverBlue(ColourNet):
        def forward(self, images: Tensor) -> Tensor:
            scores = super().forward(images)
            return scores - torch.tensor([0.0, 0.0, 100.0])

    relevance = learn_relevance(NeverBlue(), loader(colours(), 8), labels="predicted")
    assert (relevance.counts > 0).tolist() == [True, True, False]


def test_class_without_images_has_no_relevant_features() -> None:
    reds = ImageSet(colours().images, torch.zeros(24), colours().names)
    relevance = learn_relevance(ColourNet(), loader(reds, 8))
    assert relevance.learned.tolist() == [True, False, False]
    assert (relevance.counts > 0).tolist() == [True, False, False]


def test_single_images_of_some_classes_are_no_training_set() -> None:
    few = ImageSet(colours().images, torch.tensor([0] * 23 + [2]), colours().names)
    with pytest.raises(UserError, match="no image of 1 classes and a single one of 1, whose features would be"):
        learn_relevance(ColourNet(), loader(few, 8))
    learn_relevance(ColourNet(), loader(few, 8), labels="predicted")
    every = ImageSet(colours().images, torch.tensor([0] * 22 + [1, 2]), colours().names)
    learn_relevance(ColourNet(), loader(every, 8))


def test_ranking_and_files_hold_learned_classes_only(tmp_path: Path) -> None:
    some = ImageSet(colours().images, torch.tensor([0, 2]).repeat(12), colours().names)
    relevance = learn_relevance(ColourNet(), loader(some, 8))
    assert relevance.ranking[:, 1].tolist() == list(range(len(relevance.features)))
    relevance.save(tmp_path)
    loaded = Relevance.load(tmp_path)
    assert torch.equal(loaded.weights, relevance.weights)
    assert torch.equal(loaded.gain, relevance.gain)
    assert torch.equal(loaded.ranking, relevance.ranking)
    assert load_file(tmp_path / "relevance.safetensors")["weights"].shape == (len(relevance.features), 2)


def test_features_that_raise_a_score_are_relevant_to_it() -> None:
    model = ColourRegressor((2, 0, 1))
    red, green, _ = nn.functional.one_hot(colours().labels).float().T
    votes = Scenes(torch.as_tensor(colours().images), {"average": 3 + 4 * red, "variance": -green})
    relevance = learn_relevance(model, loader(votes, 8))
    # Scaled to [0, 1], the average is the label of class red; the variance is high for the other classes.
    of_class = learn_relevance(ColourNet((2, 0, 1)), loader(colours(), 8))
    torch.testing.assert_close(relevance.weights[:, 0], of_class.weights[:, 0])
    assert relevance.counts.tolist() == [1, 2]
    assert set(relevance.ranking[:2, 1].tolist()) == {0, 1}  # the filters of blue and red


def regressor(scores: float = 1.0) -> nn.Module:
    """Return a network of scenes; with `scores` zero, its second output is the same for all images."""
    torch.manual_seed(1)
    model = SceneRegressor(TinyBackbone())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
        model.scenicness.weight[1] *= scores
    return model.double().eval()


def pixels(split: Scenes) -> Tensor:
    return split.images.float() / 255


@pytest.mark.parametrize("mu", [0.2, 5.0])
@pytest.mark.parametrize("labels", ["given", "predicted"])
def test_labels_of_a_regression_are_scores_scaled_to_zero_to_one(labels: Labels, mu: float) -> None:
    split, model = scenes(50, seed=0)[0], regressor()
    relevance = learn_relevance(model, loader(split, 16), mu=mu, labels=labels)
    with torch.no_grad():
        predicted = model(pixels(split))
    given = torch.stack([split.labels["average"], split.labels["variance"]], 1).double()
    scores = (given if labels == "given" else predicted).numpy()
    scaled = (scores - scores.min(0)) / (scores.max(0) - scores.min(0))
    x = responses(model, pixels(split)).double().numpy().T
    weights = mu_lasso(x @ x.T, x @ scaled, mu)
    np.testing.assert_allclose(relevance.weights.numpy(), weights, atol=1e-8)
    np.testing.assert_allclose(relevance.gain.numpy(), x @ (scaled - x.T @ weights), atol=1e-8)
    assert (relevance.counts > 0).all()


@pytest.mark.parametrize("labels", ["given", "predicted"])
def test_constant_score_has_no_relevant_features(labels: Labels) -> None:
    split = scenes(50, seed=0)[0]
    same = Scenes(split.images, {"average": split.labels["average"], "variance": torch.full((50,), 1.7)})
    relevance = learn_relevance(regressor(scores=0), loader(same, 16), labels=labels)
    assert (relevance.counts > 0).tolist() == [True, False]
    assert not relevance.weights[:, 1].any()
    assert not relevance.gain[:, 1].any()
