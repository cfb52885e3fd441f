"""One training stage: the published loss, non-negative templates, and bit-identical frozen parts."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pytorch_lightning import Callback, Trainer, seed_everything
from pytorch_lightning.utilities import CombinedLoader
from samples import quiet_trainer
from scene_world import COLOURS, TinyBackbone, scene_network, scenes
from torch import Tensor, nn

from evident.data.images import loader
from evident.models.siam.batches import random_batches
from evident.models.siam.network import SIAM
from evident.models.siam.stage import SceneStage, normalised_sum, squared_errors

K = len(COLOURS)
SCORE = {0: "average", 1: "variance"}


def train(stage: SceneStage, *sets: str, steps: int = 6, callbacks: Sequence[Callback] = ()) -> None:
    votes, attributes = scenes(40, seed=0)
    given = {"attributes": attributes, "scenicness": votes}
    loaders = {name: random_batches(given[name], 10, steps, seed=0) for name in sets}
    trainer = quiet_trainer(max_epochs=2, deterministic=True, callbacks=[*callbacks])
    trainer.fit(stage, CombinedLoader(loaders, "min_size"), [loader(votes, 20), loader(attributes, 20)])


def batches(count: int = 7) -> dict[str, dict[str, Tensor]]:
    votes, attributes = scenes(count, seed=3)
    return {"attributes": attributes.__getitems__([*range(count)]), "scenicness": votes.__getitems__([*range(count)])}


def losses_of(network: Any, batch: dict[str, dict[str, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """Compute L_sun, L_son and T by their formulas."""
    p, y = network.attributes(batch["attributes"]["image"].double()), batch["attributes"]["attributes"].double()
    sun = -(y * p.log() + (1 - y) * (1 - p).log()).mean()
    scores = network(batch["scenicness"]["image"].double())
    son = sum(((scores[:, i] - batch["scenicness"][name].double()) ** 2).mean() for i, name in SCORE.items())
    templates = torch.cat([head.templates.flatten() for head in network.scenicness.values()])
    return sun, son, templates.abs().mean()


def double(batch: dict[str, dict[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    floats = {
        name: {k: v.double() if v.is_floating_point() else v for k, v in part.items()} for name, part in batch.items()
    }
    return floats


def loss_and_gradients(network: Any, given: dict[str, dict[str, Tensor]]) -> tuple[Tensor, list[Tensor]]:
    stage: Any = SceneStage(network)
    stage.log = lambda *_, **__: None
    loss = stage.training_step(double(given))
    return loss.detach(), gradients(loss, network)


def gradients(loss: Tensor, network: nn.Module) -> list[Tensor]:
    parameters = list(network.parameters())
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


def test_joint_loss_and_its_gradient_equal_the_papers() -> None:
    network = scene_network().double()
    sun, son, sparsity = losses_of(network, batches())
    expected = [
        a + 0.1 * (sun / son).item() * b + 0.001 * (sun / sparsity).item() * c
        for a, b, c in zip(*(gradients(loss, network) for loss in (sun, son, sparsity)), strict=True)
    ]
    loss, found = loss_and_gradients(network, batches())
    assert loss.item() == pytest.approx(sun.item() * (1 + 0.1 + 0.001))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_loss_of_the_scores_alone_equals_the_papers() -> None:
    network = scene_network().double()
    _, son, sparsity = losses_of(network, batches())
    expected = [
        b + 0.001 * (son / sparsity).item() * c
        for b, c in zip(*(gradients(loss, network) for loss in (son, sparsity)), strict=True)
    ]
    loss, found = loss_and_gradients(network, {"scenicness": batches()["scenicness"]})
    assert loss.item() == pytest.approx(son.item() * 1.001)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_loss_of_the_attributes_alone_is_cross_entropy() -> None:
    network = scene_network().double()
    loss, found = loss_and_gradients(network, {"attributes": batches()["attributes"]})
    p = network.attributes(batches()["attributes"]["image"].double())
    assert loss.item() == pytest.approx(
        F.binary_cross_entropy(p, batches()["attributes"]["attributes"].double()).item()
    )
    for parameter, gradient in zip(dict(network.named_parameters()), found, strict=True):
        assert (gradient.abs().max() > 0) != parameter.startswith("scenicness")


def test_sparsity_of_zero_drops_the_template_loss() -> None:
    network = SIAM(TinyBackbone(), K, 8, 1, sparsity=0).double()
    _, son, _ = losses_of(network, batches())
    loss, _ = loss_and_gradients(network, {"scenicness": batches()["scenicness"]})
    assert loss.item() == pytest.approx(son.item())


def test_loss_of_zero_keeps_the_sum_and_gradient_finite() -> None:
    weight = torch.ones(1, requires_grad=True)
    loss = normalised_sum((weight * 3).sum(), [(0.1, (weight - 1).abs().sum())])
    loss.backward()
    assert loss.item() == 3
    assert weight.grad.isfinite().all()


PARTS = ("backbone", "attribute_layer", "scenicness")


@pytest.mark.parametrize(
    ("kind", "trained", "sets"),
    [
        ("siam", ("backbone", "attribute_layer"), ("attributes",)),
        ("siam", ("attribute_layer",), ("attributes",)),
        ("siam", ("scenicness",), ("scenicness",)),
        ("siam", ("attribute_layer", "scenicness"), ("attributes", "scenicness")),
        ("siam", PARTS, ("attributes", "scenicness")),
        ("unconstrained", ("scenicness",), ("scenicness",)),
        ("unconstrained", PARTS, ("attributes", "scenicness")),
        ("regressor", ("scenicness",), ("scenicness",)),
        ("regressor", ("backbone", "scenicness"), ("scenicness",)),
    ],
)
def test_frozen_parts_stay_bit_identical(kind: str, trained: tuple[str, ...], sets: tuple[str, ...]) -> None:
    network = scene_network(kind)
    network.start_at(torch.tensor([5.0, 1.0]))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    train(SceneStage(network, trained=trained), *sets)
    fixed = "backbone.normalise"
    moved = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == {key for key in before if key.startswith(trained) and not key.startswith(fixed)}
    if "backbone" in trained:
        assert {"backbone.features.1.running_mean", "backbone.features.1.running_var"} <= moved


def test_templates_are_never_negative_in_training() -> None:
    network = scene_network()
    lowest: list[float] = []
    network.register_forward_pre_hook(
        lambda *_: lowest.extend(head.templates.min().item() for head in network.scenicness.values())
    )
    train(SceneStage(network, trained=("scenicness",), learning_rate=0.05), "scenicness", steps=20)
    lowest += [head.templates.min().item() for head in network.scenicness.values()]
    assert len(lowest) > 2 * 2 * 20  # both heads, two epochs
    assert min(lowest) == 0


def test_learning_rate_rises_and_falls_once_whatever_the_length_of_the_stage() -> None:
    stage = SceneStage(scene_network(), trained=("scenicness",), learning_rate=0.05)
    rates: list[float] = []

    class Rates(Callback):
        def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    train(stage, "scenicness", steps=20, callbacks=[Rates()])
    highest = rates.index(max(rates))
    assert max(rates) == pytest.approx(0.05, rel=0.02)
    assert 0.2 < highest / len(rates) < 0.4
    assert rates == sorted(rates[:highest]) + sorted(rates[highest:], reverse=True)
    assert rates[-1] < 0.01 * rates[0]


def test_unknown_votes_do_not_count() -> None:
    scores = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    error = squared_errors(scores, torch.tensor([[0.0, torch.nan], [1.0, 2.0]]))
    error.backward()
    assert error.item() == 2.5 + 4
    assert scores.grad is not None
    assert scores.grad.tolist() == [[1, 0], [2, 4]]


def test_same_seed_gives_bit_identical_weights() -> None:
    states = []
    for _ in range(2):
        seed_everything(0, verbose=False)
        network = scene_network()
        train(SceneStage(network, trained=PARTS), "attributes", "scenicness")
        states.append(network.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
