"""KernelSHAP and GradientSHAP: Shapley values by enumeration, and networks with known answers."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from samples import flower_net, smooth_noise
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.captum_method import CaptumMethod
from evident.explainers.kernel_shap import KernelSHAP, draw_coalitions, shapley_values
from evident.explainers.shared.super_pixels import Value, masked_values, super_pixels, value_of
from evident.models.normalise import Normalise

Game = dict[tuple[int, ...], float]


def random_game(players: int, seed: int = 0) -> Game:
    """Return a value for every coalition of the players, without any structure."""
    generator = np.random.default_rng(seed)
    return {z: float(generator.normal()) for z in itertools.product((0, 1), repeat=players)}


def shapley(game: Game, players: int) -> list[float]:
    """Return phi_i = sum over S without i of |S|! (M - |S| - 1)! / M! (v(S + i) - v(S)), the definition."""
    phi = [0.0] * players
    for z, value in game.items():
        for i in (i for i in range(players) if not z[i]):
            with_i = game[*z[:i], 1, *z[i + 1 :]]
            size = sum(z)
            weight = math.factorial(size) * math.factorial(players - size - 1) / math.factorial(players)
            phi[i] += weight * (with_i - value)
    return phi


def values_of(game: Game, coalitions: Tensor) -> Tensor:
    return torch.tensor([game[tuple(z)] for z in coalitions.int().tolist()], dtype=torch.float64)


def fitted(game: Game, players: int, samples: int, seed: int = 0) -> Tensor:
    coalitions, weights = draw_coalitions(players, samples, torch.Generator().manual_seed(seed))
    nothing, whole = values_of(game, torch.tensor([[0] * players, [1] * players]))
    return shapley_values(coalitions, weights, values_of(game, coalitions), nothing, whole)


@pytest.mark.parametrize("players", [1, 2, 3, 6, 7])
def test_all_coalitions_give_the_shapley_values(players: int) -> None:
    game = random_game(players)
    ours = fitted(game, players, samples=max(2, 2**players - 2))
    assert ours.tolist() == pytest.approx(shapley(game, players), abs=1e-9)


@pytest.mark.parametrize("samples", [2, 5, 12, 30])
def test_values_add_up_to_the_difference_of_the_scores_for_any_number_of_samples(samples: int) -> None:
    game = random_game(9)
    assert float(fitted(game, 9, samples).sum()) == pytest.approx(game[(1,) * 9] - game[(0,) * 9], abs=1e-9)


def test_additive_game_is_solved_by_as_many_coalitions_as_players() -> None:
    worth = np.random.default_rng(1).normal(size=12)
    game = {z: float(worth @ z) for z in itertools.product((0, 1), repeat=12)}
    assert fitted(game, 12, samples=24).tolist() == pytest.approx(worth.tolist(), abs=1e-9)


def test_estimates_are_unbiased_and_their_error_falls_with_the_samples() -> None:
    game = random_game(10)
    exact = torch.tensor(shapley(game, 10), dtype=torch.float64)
    errors = []
    for samples in (60, 240):
        estimates = torch.stack([fitted(game, 10, samples, seed) for seed in range(40)])
        bias, spread = estimates.mean(0) - exact, estimates.std(0)
        assert (bias.abs() < 4 * spread / 40**0.5 + 0.02).all()
        errors.append(float((estimates - exact).square().mean().sqrt()))
    assert errors[1] < 0.6 * errors[0]


@pytest.mark.parametrize(("players", "samples"), [(2, 2), (6, 62), (9, 40), (50, 300), (51, 37)])
def test_weights_of_the_coalitions_add_up_to_the_shapley_kernel(players: int, samples: int) -> None:
    coalitions, weights = draw_coalitions(players, samples, torch.Generator().manual_seed(0))
    assert len(coalitions) == len(weights) <= samples
    sizes = coalitions.sum(1)
    assert sizes.min() >= 1
    assert sizes.max() <= players - 1
    # Each coalition comes with its complement.
    assert {tuple(z) for z in coalitions.tolist()} == {tuple(z) for z in (~coalitions).tolist()}
    whole = sum((players - 1) / (size * (players - size)) for size in range(1, players))
    assert float(weights.sum()) == pytest.approx(whole)


def test_enumerated_coalitions_have_the_weight_of_the_kernel() -> None:
    coalitions, weights = draw_coalitions(8, 120, torch.Generator().manual_seed(0))
    ones = coalitions.sum(1) == 1
    assert ones.sum() == 8
    assert weights[ones].tolist() == pytest.approx([7 / (8 * 1 * 7)] * 8)


class Quarters(nn.Module):
    """Give the first class a logit that depends on the means of the four quarters of an image, with an interaction."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise = Normalise((0.5, 0.5, 0.5), (1.0, 1.0, 1.0))

    def forward(self, images: Tensor) -> Tensor:
        a, b, c, d = nn.functional.adaptive_avg_pool2d(self.normalise(images).mean(1, True), 2).flatten(1).unbind(1)
        score = 2 * a - 3 * b + 8 * a * c + d.abs()
        return torch.stack([score, -score], 1)


def quarters() -> Tensor:
    colours = torch.tensor([[[0.9, 0.8], [0.2, 0.6]], [[0.1, 0.8], [0.9, 0.2]], [[0.2, 0.1], [0.3, 0.9]]])
    return colours.repeat_interleave(12, 1).repeat_interleave(12, 2)


@pytest.mark.parametrize("value", ["score", "probability"])
def test_super_pixels_get_their_exact_shapley_values(value: Value) -> None:
    model, image = Quarters(), quarters()
    labels = super_pixels(image, 4)
    assert labels.max() == 3
    game = {}
    for z in itertools.product((0, 1), repeat=4):
        visible = torch.tensor(z)[labels].bool()
        outputs = model(torch.where(visible, image, torch.tensor(0.5))[None])
        game[z] = float((outputs if value == "score" else outputs.softmax(1))[0, 0])
    expected = torch.tensor(shapley(game, 4))[labels]
    attribution = KernelSHAP(model, segments=4, samples=14, value=value).attribute(image[None], 0)
    torch.testing.assert_close(attribution[0, 0], expected, rtol=1e-4, atol=1e-6)


def test_super_pixel_values_add_up_to_the_difference_of_the_scores() -> None:
    model, images = flower_net(), smooth_noise(2)
    attribution = KernelSHAP(model, segments=9, samples=40).attribute(images, 2)
    reference = model.normalise.mean.expand(1, 3, *images.shape[-2:])
    with torch.no_grad():
        difference = (model(images) - model(reference))[:, 2]
    for n, image in enumerate(images):
        labels = super_pixels(image, 9)
        values = [attribution[n, 0][labels == label][0] for label in range(int(labels.max()) + 1)]
        assert float(torch.stack(values).sum()) == pytest.approx(float(difference[n]), abs=1e-5)


def test_hidden_super_pixels_show_the_reference() -> None:
    image, hidden = torch.rand(3, 4, 4), torch.rand(3, 4, 4)
    labels = torch.arange(4).repeat_interleave(4).view(4, 4)
    seen: list[Tensor] = []

    def value(images: Tensor) -> Tensor:
        seen.extend(images)
        return images.sum((1, 2, 3))

    visible = torch.tensor([[True, False, True, False], [False, False, False, True], [True] * 4])
    values = masked_values(value, image, hidden, labels, visible, batch_size=2)
    assert torch.equal(seen[0], torch.stack([image[:, 0], hidden[:, 1], image[:, 2], hidden[:, 3]], 1))
    assert torch.equal(seen[2], image)
    torch.testing.assert_close(values, torch.stack(seen).sum((1, 2, 3)))


def test_value_is_the_score_or_the_probability_of_the_class() -> None:
    model, images = Quarters(), torch.rand(5, 3, 24, 24)
    assert torch.equal(value_of(model, 1, "score")(images), model(images)[:, 1])
    torch.testing.assert_close(value_of(model, 1, "probability")(images), model(images).softmax(1)[:, 1])
    unknown: Any = "logit"
    with pytest.raises(UserError, match="value='logit' is unknown; use score or probability"):
        value_of(model, 1, unknown)


def test_kernel_shap_draws_differ_by_seed() -> None:
    model, image = flower_net(), smooth_noise(1)
    first, second = (KernelSHAP(model, segments=20, samples=10, seed=seed).attribute(image, 0) for seed in (0, 1))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("settings", [{"segments": 1}, {"samples": 1}])
def test_kernel_shap_without_coalitions_raises(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="KernelSHAP needs two or more of each"):
        KernelSHAP(Quarters(), **settings)


# GradientSHAP, captum's


class Linear(nn.Module):
    """Compute scores that are linear in the image."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise = Normalise((0.4, 0.5, 0.6), (0.2, 0.25, 0.5))
        self.weight = nn.Parameter(torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0)))

    def forward(self, images: Tensor) -> Tensor:
        return torch.einsum("nchw,kchw->nk", self.normalise(images), self.weight)


def gradient_shap(model: nn.Module, samples: int, stdevs: float = 0.0, seed: int | None = 0) -> CaptumMethod:
    settings = {"n_samples": samples, "stdevs": stdevs}
    method = "captum.attr.GradientShap"
    return CaptumMethod(model, method, "positive_sum", settings, baseline="mean_colour", seed=seed)


def test_gradient_shap_of_a_linear_model_is_its_contributions() -> None:
    model, images = Linear(), torch.rand(2, 3, 8, 8)
    attribution = gradient_shap(model, samples=3).attribute(images, 1)
    expected = model.weight[1] * model.normalise(images)
    torch.testing.assert_close(attribution, expected.detach(), rtol=1e-4, atol=1e-5)


def test_noise_of_gradient_shap_averages_out_on_a_linear_model() -> None:
    model, images = Linear(), torch.rand(1, 3, 8, 8)
    expected = (model.weight[1] * model.normalise(images)).detach()
    errors = [
        float((gradient_shap(model, samples, stdevs=0.1).attribute(images, 1) - expected).square().mean().sqrt())
        for samples in (4, 400)
    ]
    assert 0 < errors[1] < 0.2 * errors[0]


def test_gradient_shap_sums_to_the_difference_of_the_scores() -> None:
    model, images = flower_net(), smooth_noise(1)
    reference = model.normalise.mean.expand_as(images)
    with torch.no_grad():
        difference = float((model(images) - model(reference))[0, 2])
    total = float(gradient_shap(model, samples=500).attribute(images, 2).sum())
    assert total == pytest.approx(difference, rel=0.2, abs=0.03)


def test_gradient_shap_needs_a_seed_because_captum_draws_from_numpy() -> None:
    with pytest.raises(UserError, match="GradientShap draws random numbers"):
        gradient_shap(Linear(), samples=3, seed=None).attribute(torch.rand(1, 3, 8, 8), 0)


def test_gradient_shap_leaves_the_generator_of_numpy_as_it_was() -> None:
    np.random.seed(5)  # noqa: NPY002
    gradient_shap(flower_net(), samples=3).attribute(smooth_noise(1), 0)
    after = np.random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    assert after == np.random.random()  # noqa: NPY002
