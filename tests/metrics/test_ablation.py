"""Ablation: known answers on small networks, and one image and one set of features at a time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evident.errors import UserError
from evident.metrics.ablation import ablation, read_out
from evident.metrics.contract import Explanation, area, image_scores
from evident.relevance.relevance import Feature, Relevance

CHOICES = ("relevant", "random", "least")


def random_relevance(layers: dict[str, int], classes: int, counts: list[int], seed: int = 0) -> Relevance:
    """Return a relevance in which counts[j] random features are relevant to class j."""
    generator = torch.Generator().manual_seed(seed)
    shape = (sum(layers.values()), classes)
    weights = torch.rand(shape, generator=generator, dtype=torch.float64) + 0.1
    rank = torch.rand(shape, generator=generator).argsort(0).argsort(0)
    weights[rank >= torch.tensor(counts)] = 0
    return Relevance(layers, weights, torch.rand(shape, generator=generator, dtype=torch.float64))


def curves(images: Tensor, target: list[int], model: nn.Module, relevance: Relevance, **settings) -> dict[str, Tensor]:
    heatmap = torch.zeros(len(images), *images.shape[2:])
    result = ablation(Explanation(images, torch.tensor(target), heatmap, None, model, relevance), **settings)
    assert list(result) == [f"ablation_{choice}" for choice in CHOICES]
    return {choice: result[f"ablation_{choice}"].values for choice in CHOICES}


# A network that predicts the brightest colour: filters 0, 1 and 2 determine the classes, 3 to 9 have no effect.


def colours() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(3, 10, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(10, 3))
    for weights in model.parameters():
        weights.data.zero_()
    model[0].weight.data[:3, :, 0, 0] = torch.eye(3)
    model[4].weight.data[:, :3] = torch.eye(3)
    return model.eval()


RED_GREEN_BLUE = torch.eye(3)[:, :, None, None].expand(3, 3, 4, 4) * 0.5 + 0.25


def of_colours(relevant: list[list[int]]) -> Relevance:
    """Return a relevance with the filters relevant[j] for class j, most relevant first; low numbers gain most."""
    weights, gain = torch.zeros(10, 3), torch.arange(10.0, 0, -1)[:, None].expand(10, 3)
    for j, filters in enumerate(relevant):
        weights[filters, j] = 1 / torch.arange(1.0, len(filters) + 1)
    return Relevance({"1/relu": 10}, weights.double(), gain.double())


def test_only_zeroing_the_relevant_filter_changes_the_prediction():
    values = curves(RED_GREEN_BLUE, [0, 1, 2], colours(), of_colours([[0], [1], [2]]), draws=600)
    assert values["relevant"].tolist() == [[1, 0]] * 3
    assert values["least"].tolist() == [[1, 1]] * 3
    # A random one of ten filters is the relevant one in a tenth of the draws.
    torch.testing.assert_close(values["random"], torch.tensor([[1, 0.9]] * 3).double(), rtol=0, atol=0.04)


def test_wrongly_predicted_image_has_zero_accuracy_throughout():
    values = curves(RED_GREEN_BLUE[:1], [1], colours(), of_colours([[0], [1], [2]]))
    assert all(rows.tolist() == [[0, 0]] for rows in values.values())


def test_features_are_zeroed_by_rank():
    values = curves(RED_GREEN_BLUE, [0, 1, 2], colours(), of_colours([[0, 5, 6], [5, 1, 6], [5, 6, 2]]))
    assert values["relevant"].tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]]


def test_curve_is_constant_beyond_the_last_feature_of_a_class():
    relevance = of_colours([[0], [5, 1], [5, 6, 7, 8]])
    values = curves(RED_GREEN_BLUE, [0, 1, 2], colours(), relevance, draws=20)
    assert values["relevant"].tolist() == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 1]]
    for rows in values.values():
        assert (rows[0, 1:] == rows[0, 1]).all()
        assert (rows[1, 2:] == rows[1, 2]).all()


def test_class_without_relevant_features_is_nan():
    values = curves(RED_GREEN_BLUE, [0, 1, 2], colours(), of_colours([[0], [], [2]]))
    for rows in values.values():
        assert rows.isnan().all(1).tolist() == [False, True, False]
        assert rows[[0, 2]].isfinite().all()
    none = ablation(
        Explanation(RED_GREEN_BLUE, torch.arange(3), torch.zeros(3, 4, 4), None, colours(), of_colours([[], [], []]))
    )
    assert all(area(curve).isnan().all() for curve in none.values())


def test_classes_that_were_not_learned_do_not_take_part_where_the_name_says_so():
    relevance = of_colours([[0], [1], []])
    relevance.gain[:, 2] = 0  # no image was blue
    red = torch.tensor([0.75, 0.25, 0.5])[None, :, None, None].expand(1, 3, 4, 4)
    explanation = Explanation(red, torch.tensor([0]), torch.zeros(1, 4, 4), None, colours(), relevance)
    result = ablation(explanation, draws=2, among_learned=True)
    assert list(result) == [f"ablation_{choice}{among}" for among in ("", "_learned") for choice in CHOICES]
    # Without red the image is blue, or green if blue was not learned.
    assert result["ablation_relevant"].values.tolist() == [[1, 0]]
    assert result["ablation_relevant_learned"].values.tolist() == [[1, 0]]
    blue = torch.tensor([0.5, 0.25, 0.75])[None, :, None, None].expand(1, 3, 4, 4)
    explanation = Explanation(blue, torch.tensor([0]), torch.zeros(1, 4, 4), None, colours(), relevance)
    result = ablation(explanation, draws=2, among_learned=True)
    assert result["ablation_least"].values.tolist() == [[0, 0]]
    assert result["ablation_least_learned"].values.tolist() == [[1, 1]]
    assert result["ablation_relevant_learned"].values.tolist() == [[1, 0]]


def test_score_is_the_value_with_all_relevant_features_zeroed():
    explanation = Explanation(
        RED_GREEN_BLUE, torch.arange(3), torch.zeros(3, 4, 4), None, colours(), of_colours([[0], [5, 1], [5, 6, 7, 8]])
    )
    relevant = ablation(explanation)["ablation_relevant"]
    assert relevant.at.tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(image_scores(relevant), relevant.values[:, 4])


# The zeroed features: a network whose layers are all ones records where it finds zeros.


class Recorder(nn.Module):
    """Compute layers of ones, `a` (N, 5, 2, 2) and `b` (N, 8), and keep the zeroed filters of every row in `zeroed`."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.ReLU(), nn.ReLU()
        self.zeroed: list[frozenset[Feature]] = []

    def forward(self, images: Tensor) -> Tensor:
        maps = {"a/relu": self.a(torch.ones(len(images), 5, 2, 2)), "b/relu": self.b(torch.ones(len(images), 8))}
        for row in range(len(images)):
            zeros = {name: (maps[name][row].flatten(1 if name == "a/relu" else 0) == 0) for name in maps}
            filters = {"a/relu": zeros["a/relu"].all(1), "b/relu": zeros["b/relu"]}
            assert torch.equal(zeros["a/relu"].any(1), filters["a/relu"])
            pairs = [Feature(name, k) for name, off in filters.items() for k in off.nonzero().flatten().tolist()]
            self.zeroed.append(frozenset(pairs))
        return torch.ones(len(images), 1)


def recorded(relevance: Relevance, target: int = 0, **settings) -> list[list[frozenset[Feature]]]:
    """Return the sets of k features that were zeroed, for k = 0, 1, ..."""
    network = Recorder()
    curves(torch.zeros(1, 3, 2, 2), [target], network, relevance, **settings)
    largest = max(map(len, network.zeroed))
    return [[zeroed for zeroed in network.zeroed if len(zeroed) == k] for k in range(largest + 1)]


RECORDED = {"a/relu": 5, "b/relu": 8}


def expected_sets(relevance: Relevance) -> tuple[list[frozenset[Feature]], list[frozenset[Feature]]]:
    """Return the sets of the k most relevant features of class 0, and of k least relevant ones of their layers."""
    ranked = [relevance.features[position] for position in relevance.ranking[:, 0].tolist()]
    relevant, least = ranked[: int(relevance.counts[0])], []
    for feature in relevant:
        least.append(next(f for f in ranked[::-1] if f.layer == feature.layer and f not in least))
    counts = range(1, len(relevant) + 1)
    return [frozenset(relevant[:k]) for k in counts], [frozenset(least[:k]) for k in counts]


@pytest.mark.parametrize("seed", range(4))
def test_all_choices_zero_equally_many_features_of_each_layer(seed):
    relevance = random_relevance(RECORDED, 1, [6], seed)
    [nothing], *by_count = recorded(relevance, draws=4)
    assert not nothing
    for sets, relevant, least in zip(by_count, *expected_sets(relevance), strict=True):
        assert len(sets) == 6
        assert relevant in sets
        assert least in sets
        assert len({sum(feature.layer == "a/relu" for feature in zeroed) for zeroed in sets}) == 1


@pytest.mark.parametrize("seed", range(4))
def test_random_features_of_step_k_are_kept_in_step_k_plus_one(seed):
    relevance = random_relevance(RECORDED, 1, [6], seed)
    before: frozenset[Feature] = frozenset()
    for sets, relevant, least in zip(recorded(relevance, draws=1)[1:], *expected_sets(relevance), strict=True):
        sets.remove(relevant)
        sets.remove(least)
        [random] = sets
        assert before < random
        before = random


def test_random_features_are_uniform_within_the_layer():
    relevance = Relevance(RECORDED, torch.eye(13, 1).double(), torch.zeros(13, 1).double())
    sets = recorded(relevance, draws=2000)[1]
    share = [sum(Feature("a/relu", k) in zeroed for zeroed in sets) / 2000 for k in range(5)]
    assert share == pytest.approx([0.2] * 5, abs=0.03)


def test_fully_relevant_layer_is_zeroed_completely_by_all_choices():
    weights = torch.zeros(13, 1, dtype=torch.float64)
    weights[:5] = 1
    sets = recorded(Relevance(RECORDED, weights, torch.zeros_like(weights)), draws=3)[5]
    assert sets == [frozenset(Feature("a/relu", k) for k in range(5))] * 5


def test_draws_depend_on_seed_class_and_draw_only():
    relevance = random_relevance(RECORDED, 2, [4, 4])
    same = Relevance(RECORDED, relevance.weights[:, :1].expand(13, 2), relevance.gain[:, :1].expand(13, 2))
    first = recorded(same, draws=5, seed=3)
    assert recorded(same, draws=5, seed=3) == first
    assert recorded(same, draws=5, seed=4) != first
    assert recorded(same, target=1, draws=5, seed=3) != first
    assert all(set(few) <= set(many) for few, many in zip(recorded(same, draws=2, seed=3), first, strict=True))


def test_each_ablation_is_evaluated_once():
    network = Recorder()
    relevance = random_relevance(RECORDED, 3, [2, 5, 0])
    curves(torch.zeros(4, 3, 2, 2), [0, 1, 2, 1], network, relevance, draws=3)
    assert len(network.zeroed) == sum(1 + (2 + 3) * features for features in (2, 5, 5))


# A network with several layers of features: rectified maps, maps before normalisation, a fully connected layer.


def small_network(in_place: bool = False) -> nn.Module:
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(3, 6, 3, stride=2, padding=1),
        nn.ReLU(in_place),
        nn.Conv2d(6, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(in_place),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(72, 12),
        nn.ReLU(in_place),
        nn.Linear(12, 4),
    ]
    model = nn.Sequential(*layers).double().eval()
    for name, weights in model.named_parameters():
        # Without biases the prediction depends on the features only.
        weights.data.mul_(0 if name.endswith("bias") else 1)
    return model


LAYERS = {"1/relu": 6, "2/conv2d": 8, "8/relu": 12}


def example(seed: int = 0) -> tuple[Tensor, list[int], nn.Module, Relevance]:
    """Return six images with their predicted classes, the last one wrong; class 3 has 9 relevant features."""
    model = small_network()
    images = torch.randn(6, 3, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    target = model(images).argmax(1).tolist()
    return images, [*target[:-1], (target[-1] + 1) % 4], model, random_relevance(LAYERS, 4, [7, 8, 6, 9], seed)


@contextmanager
def zeroed(model: nn.Module, features: list[Feature]) -> Iterator[None]:
    """Zero features of `model` by hooks."""

    def hook(filters: list[int]) -> Callable[..., Tensor]:
        def zero(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
            output = output.clone()
            for k in filters:
                output[:, k] = 0
            return output

        return zero

    handles = []
    for layer in LAYERS:
        filters = [feature.filter for feature in features if feature.layer == layer]
        handles.append(model[int(layer.split("/")[0])].register_forward_hook(hook(filters)))
    yield
    for handle in handles:
        handle.remove()


def chosen(relevance: Relevance, target: int, seed: tuple[int, ...] | None, least: bool = False) -> list[Feature]:
    """Return the zeroed features in order: relevant, least relevant, or random by `seed` (seed, class, draw)."""
    ranked = [relevance.features[position] for position in relevance.ranking[:, target].tolist()]
    relevant = [f for f in ranked if relevance.weights[relevance.features.index(f), target] > 0]
    order = ranked[::-1] if least else ranked
    if seed is not None:
        order = [relevance.features[position] for position in np.random.default_rng(seed).permutation(len(ranked))]
    features: list[Feature] = []
    for feature in relevant:
        features.append(next(f for f in order if f.layer == feature.layer and f not in features))
    return features


@pytest.mark.parametrize("seed", range(3))
def test_curves_equal_one_image_and_one_set_at_a_time(seed):
    images, target, model, relevance = example(seed)
    values = curves(images, target, model, relevance, draws=3, seed=seed)
    for n, j in enumerate(target):
        sets = {
            "relevant": [chosen(relevance, j, None)],
            "random": [chosen(relevance, j, (seed, j, draw)) for draw in range(3)],
            "least": [chosen(relevance, j, None, least=True)],
        }
        for choice, drawn in sets.items():
            for k in range(10):
                hits = 0.0
                for features in drawn:
                    with zeroed(model, features[:k]):
                        hits += model(images[n : n + 1]).argmax().item() == j
                assert values[choice][n, k].item() == pytest.approx(hits / len(drawn), abs=1e-15)
    assert len(values["random"].unique()) == 4


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_batch_size_changes_no_curve(batch_size):
    images, target, model, relevance = example()
    sizes: list[int] = []
    handle = model.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    chunked = curves(images, target, model, relevance, batch_size=batch_size)
    handle.remove()
    assert all(size == batch_size for size in sizes[:-1])
    assert sizes[-1] <= batch_size
    for choice, rows in curves(images, target, model, relevance).items():
        assert torch.equal(chunked[choice], rows)


def test_curves_of_an_image_do_not_depend_on_its_batch():
    images, target, model, relevance = example()
    together = curves(images, target, model, relevance)
    for n in range(len(images)):
        alone = curves(images[n : n + 1], target[n : n + 1], model, relevance)
        assert all(torch.equal(alone[choice][0], together[choice][n]) for choice in CHOICES)


def test_in_place_layers_have_the_same_curves():
    images, target, model, relevance = example()
    expected = curves(images, target, model, relevance)
    for choice, rows in curves(images, target, small_network(in_place=True), relevance).items():
        assert torch.equal(rows, expected[choice])


def test_infinite_features_are_zeroed_too():
    model = colours()
    model[0].bias.data[5] = torch.inf
    values = curves(RED_GREEN_BLUE, [0, 1, 2], model, of_colours([[5], [5], [5]]))
    # Infinite maps times zero weights are NaN; with the feature zeroed the prediction is right.
    assert values["relevant"][:, 1].tolist() == [1, 1, 1]


def test_network_in_training_mode_is_ablated_in_evaluation_mode_and_unchanged_afterwards():
    images, target, model, relevance = example()
    expected = curves(images, target, model, relevance)
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for choice, rows in curves(images, target, model, relevance).items():
        assert torch.equal(rows, expected[choice])
        assert not rows.requires_grad
    assert all(module.training for module in model.modules())
    assert all(weights.requires_grad and weights.grad is None for weights in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_relevance_of_another_network_is_an_error_that_names_the_layer():
    images, target, model, _ = example()
    hooks = [len(module._forward_hooks) for module in model.modules()]
    with pytest.raises(UserError, match="Sequential has no layer features/relu"):
        curves(images, target, model, random_relevance({"1/relu": 6, "features/relu": 3}, 4, [1, 1, 1, 1]))
    assert [len(module._forward_hooks) for module in model.modules()] == hooks


def test_missing_or_invalid_arguments_are_named():
    images, target, model, relevance = example()
    with pytest.raises(UserError, match="draws=0"):
        curves(images, target, model, relevance, draws=0)
    for given in ({"model": model}, {"relevance": relevance}):
        with pytest.raises(UserError, match="needs the model and the relevance"):
            ablation(Explanation(images, torch.tensor(target), torch.zeros(6, 6, 6), **given))


def test_read_out_of_relevant_features_gives_their_class():
    relevance = of_colours([[0], [1], [2]])
    explanation = Explanation(RED_GREEN_BLUE, torch.arange(3), torch.zeros(3, 4, 4), None, colours(), relevance)
    assert read_out(explanation).tolist() == [1, 1, 1]
    wrong = Explanation(RED_GREEN_BLUE, torch.tensor([0, 2, 2]), torch.zeros(3, 4, 4), None, colours(), relevance)
    assert read_out(wrong).tolist() == [1, 0, 1]
    with pytest.raises(UserError, match="needs the model and the relevance"):
        read_out(Explanation(RED_GREEN_BLUE, torch.arange(3), torch.zeros(3, 4, 4)))
