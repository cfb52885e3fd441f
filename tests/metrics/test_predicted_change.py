"""Infidelity and sensitivity-n: a linear network, plain loops in double precision, captum and Quantus."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from captum.metrics import infidelity as captum_infidelity
from samples import smooth_noise, unbiased_network
from torch import Tensor, nn

from evident.contracts import Regressor
from evident.errors import UserError
from evident.explainers.shared.seeding import image_generator
from evident.metrics.contract import Explanation, area
from evident.metrics.cost import Cost
from evident.metrics.predicted_change import infidelity, random_squares, sensitivity_n
from evident.models.normalise import Normalise
from evident.models.reference_images import Reference, reference_images


class Linear(nn.Module):
    """Two sums of the pixels, with weights of their own; the mean colour is grey."""

    def __init__(self, height: int = 16, width: int = 24) -> None:
        super().__init__()
        self.normalise = Normalise(mean=(0.5, 0.5, 0.5), std=(1.0, 1.0, 1.0))
        generator = torch.Generator().manual_seed(0)
        weights = torch.randn(2, 3, height, width, generator=generator, dtype=torch.float64)
        self.weights = nn.Parameter(weights)

    def forward(self, images: Tensor) -> Tensor:
        return torch.einsum("nchw,kchw->nk", self.normalise(images), self.weights) + 7

    def contributions(self, images: Tensor, target: Tensor) -> Tensor:
        """Return what each pixel adds to the score (N, H, W), compared with the mean colour."""
        return (self.normalise(images) * self.weights[target]).sum(1).detach()


def linear(factor: float = 1.0) -> Explanation:
    """Return the exact attribution of a linear network, times a factor."""
    model, images, target = Linear(), smooth_noise(3, (16, 24), dtype=torch.float64), torch.tensor([0, 1, 1])
    return Explanation(images, target, factor * model.contributions(images, target), model=model)


def inexact() -> Explanation:
    """Return the attribution of `linear` with noise."""
    given, generator = linear(), torch.Generator().manual_seed(1)
    return replace(given, heatmap=given.heatmap + torch.randn(3, 16, 24, generator=generator) / 5)


def example() -> Explanation:
    """Return random heatmaps of a network that is not linear, in double precision."""
    images = smooth_noise(3, (16, 24), dtype=torch.float64)
    heatmap = torch.rand(3, 16, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return Explanation(images, torch.arange(3), heatmap, model=unbiased_network().double())


METRICS: tuple[Callable[..., Tensor], ...] = (infidelity, lambda *args, **kwargs: area(sensitivity_n(*args, **kwargs)))
both = pytest.mark.parametrize("score", METRICS, ids=["infidelity", "sensitivity_n"])


def test_exact_attribution_of_a_linear_network_is_perfect() -> None:
    torch.testing.assert_close(infidelity(linear()), torch.zeros(3).double(), rtol=0, atol=1e-12)
    curve = sensitivity_n(linear(), side=4)
    torch.testing.assert_close(curve.values, torch.ones(3, 4).double(), rtol=0, atol=1e-12)


def test_its_opposite_is_the_worst() -> None:
    assert infidelity(linear(-1)).tolist() == [1, 1, 1]
    curve = sensitivity_n(linear(-1), side=4)
    torch.testing.assert_close(curve.values, -torch.ones(3, 4).double(), rtol=0, atol=1e-12)


@both
def test_scale_of_the_heatmap_has_no_effect(score: Callable[..., Tensor]) -> None:
    given = example()
    torch.testing.assert_close(score(replace(given, heatmap=1000 * given.heatmap)), score(given))


@both
def test_sign_of_the_regressed_output_counts(score: Callable[..., Tensor]) -> None:
    class Regression(Linear, Regressor):
        def regression_names(self) -> tuple[str, ...]:
            return ("first", "second")

    given = linear()
    torch.testing.assert_close(score(replace(given, model=Regression())), score(given))


def test_constant_and_empty_heatmaps_predict_nothing() -> None:
    given = linear()
    # n squares of equal size: all sums are equal.
    constant = replace(given, heatmap=torch.full((3, 16, 24), 0.1))
    assert sensitivity_n(constant).values.tolist() == [[0] * 4] * 3
    empty = replace(given, heatmap=torch.zeros(3, 16, 24))
    assert sensitivity_n(empty).values.tolist() == [[0] * 4] * 3
    assert infidelity(empty).tolist() == [1, 1, 1]


@both
def test_network_that_does_not_react_is_nan(score: Callable[..., Tensor]) -> None:
    given = linear()
    assert isinstance(given.model, Linear)
    given.model.weights.data[1] = 0
    assert score(given).isnan().tolist() == [False, True, True]


@both
def test_non_finite_heatmap_is_nan_for_its_image_only(score: Callable[..., Tensor]) -> None:
    given = example()
    expected = score(given)
    for value in (torch.nan, torch.inf):
        heatmap = given.heatmap.clone()
        heatmap[1, 0, 0] = value
        found = score(replace(given, heatmap=heatmap))
        assert found.isnan().tolist() == [False, True, False]
        assert torch.equal(found[::2], expected[::2])


# Random choices


def test_squares_lie_in_the_image_and_have_all_sides_and_places() -> None:
    images = smooth_noise(2, (16, 24))
    squares = random_squares(images, 3000, 0.125, 0.25, seed=0)
    assert squares.shape == (2, 3000, 16, 24)
    rows, columns = squares.any(3), squares.any(2)
    side = rows.sum(2)
    assert torch.equal(side, columns.sum(2))
    assert torch.equal(side.square(), squares.sum((2, 3)))
    shares = torch.bincount(side.flatten()) / side.numel()
    torch.testing.assert_close(shares, torch.tensor([0, 0, 1, 1, 1]) / 3, rtol=0, atol=0.02)
    # The first row of squares of four pixels is one of 13.
    top = rows.int().argmax(2)[side == 4]
    torch.testing.assert_close(torch.bincount(top) / len(top), torch.ones(13) / 13, rtol=0, atol=0.02)
    assert not torch.equal(squares[0], squares[1])
    assert torch.equal(random_squares(images[1:], 3000, 0.125, 0.25, seed=0)[0], squares[1])


@pytest.mark.parametrize("scale", [1.0, -1.0])
@pytest.mark.parametrize("reference", ["mean_colour", "blur"])
def test_infidelity_equals_its_formula_by_plain_loops(reference: Reference, scale: float) -> None:
    given = replace(example(), heatmap=scale * example().heatmap)
    assert given.model is not None
    without = reference_images(given.images, given.model, reference)
    squares = random_squares(given.images, 9, 0.2, 0.6, seed=4)
    result = infidelity(given, reference, draws=9, smallest=0.2, largest=0.6, seed=4)
    for n in range(3):
        a, b = [], []
        for square in squares[n]:
            pictures = torch.stack([given.images[n], given.images[n].clone()])
            pictures[1, :, square] = without[n, :, square]
            with torch.no_grad():
                whole, part = given.model(pictures)[:, given.target[n]].tolist()
            a.append(given.heatmap[n, square].sum().item())
            b.append(whole - part)
        best = max(0, np.dot(a, b) / np.dot(a, a))
        expected = np.square(best * np.array(a) - b).sum() / np.square(b).sum()
        assert result[n].item() == pytest.approx(expected)
        # The factor is the best one.
        for factor in (0.9 * best, 1.1 * best + 0.01):
            assert np.square(factor * np.array(a) - b).sum() / np.square(b).sum() > expected or best == 0


def chosen_pixels(image: Tensor, shares: list[float], draws: int, side: int, seed: int) -> Tensor:
    """Return the pixels (shares, draws, H, W) of the random squares, by loops."""
    height, width = image.shape[-2:]
    places = [(y, x) for y in range(0, height, side) for x in range(0, width, side)]
    uniform = torch.rand(
        len(shares), draws, len(places), generator=image_generator(image, seed), dtype=torch.float64
    ).tolist()
    chosen = torch.zeros(len(shares), draws, height, width, dtype=torch.bool)
    for s, share in enumerate(shares):
        n = min(max(round(share * len(places)), 1), len(places) - 1)
        for draw in range(draws):
            for square in sorted(range(len(places)), key=lambda place: uniform[s][draw][place])[:n]:
                y, x = places[square]
                chosen[s, draw, y : y + side, x : x + side] = True
    return chosen


@pytest.mark.parametrize(("shares", "side"), [([0.01, 0.4, 0.99], 5), ([0.3], 1)])
def test_sensitivity_n_equals_its_formula_by_plain_loops(shares: list[float], side: int) -> None:
    given = example()
    assert given.model is not None
    result = sensitivity_n(given, shares, draws=7, side=side, reference="blur", seed=2)
    without = reference_images(given.images, given.model, "blur")
    assert result.at.tolist() == shares
    for n in range(3):
        for s, pixels in enumerate(chosen_pixels(given.images[n], shares, 7, side, seed=2)):
            sums = [given.heatmap[n, chosen].sum().item() for chosen in pixels]
            pictures = torch.where(pixels[:, None], without[n], given.images[n])
            with torch.no_grad():
                whole = given.model(given.images[[n]])[0, given.target[n]]
                drops = whole - given.model(pictures)[:, given.target[n]]
            assert result.values[n, s].item() == pytest.approx(np.corrcoef(sums, drops.numpy())[0, 1])


def test_score_of_the_default_shares_is_the_mean() -> None:
    curve = sensitivity_n(example())
    torch.testing.assert_close(area(curve), curve.values.mean(1))


# Peers


def captum_score(given: Explanation, draws: int, normalize: bool) -> tuple[Tensor, Tensor]:
    """Return the infidelity of captum and sum b^2 / draws, for the squares that ours draws."""
    assert given.model is not None
    removed = random_squares(given.images, draws, 0.125, 0.5, seed=0).flatten(0, 1)[:, None].double()
    without = reference_images(given.images, given.model).repeat_interleave(draws, 0)
    changed = []

    def perturb(inputs: Tensor) -> tuple[Tensor, Tensor]:
        changed.append(inputs * (1 - removed) + without * removed)
        return removed.expand_as(inputs), changed[-1]

    # Their attribution is of the shape of the image: a third of the heatmap for each colour.
    attribution = given.heatmap[:, None].expand(-1, 3, -1, -1) / 3
    target = given.target
    settings: dict[str, Any] = {"n_perturb_samples": draws, "normalize": normalize}
    theirs = captum_infidelity(given.model, perturb, given.images, attribution, target=target, **settings)
    with torch.no_grad():
        whole = given.model(given.images)[range(len(target)), target]
        parts = given.model(changed[0])[range(len(removed)), target.repeat_interleave(draws)]
    return theirs, (whole[:, None] - parts.view(-1, draws)).square().mean(1)


def test_infidelity_equals_the_normalised_one_of_captum() -> None:
    given = inexact()
    theirs, change = captum_score(given, 20, normalize=True)
    ours = infidelity(given, draws=20)
    assert (ours > 0.01).all()
    assert (ours < 0.99).all()
    torch.testing.assert_close(ours, theirs / change)


def test_opposite_of_the_truth_is_perfect_for_captum_but_not_for_us() -> None:
    theirs, _ = captum_score(linear(-1), 20, normalize=True)
    torch.testing.assert_close(theirs, torch.zeros(3).double(), rtol=0, atol=1e-10)
    assert infidelity(linear(-1), draws=20).tolist() == [1, 1, 1]


def test_sensitivity_n_of_pixels_equals_the_faithfulness_correlation_of_quantus(
    quantus: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their features are pixels of one colour, so each of our pixels is three of theirs."""
    given, draws, pixels = inexact(), 12, 16 * 24
    assert given.model is not None
    chosen = torch.stack([chosen_pixels(image, [0.25], draws, 1, seed=0)[0] for image in given.images]).flatten(2)
    subsets = iter([row[draw].nonzero()[:, 0] for draw in range(draws) for row in chosen])

    def drawn(*_: object, **__: object) -> np.ndarray:
        one = next(subsets)
        return torch.cat([one, one + pixels, one + 2 * pixels]).numpy()

    monkeypatch.setattr(np.random, "choice", drawn)
    theirs = quantus.FaithfulnessCorrelation(
        nr_runs=draws,
        subset_size=3 * pixels // 4,
        perturb_baseline=0.5,
        return_aggregate=False,
        disable_warnings=True,
        display_progressbar=False,
        abs=False,
        normalise=False,
    )(
        model=deepcopy(given.model).float().eval(),
        x_batch=given.images.numpy(),
        y_batch=given.target.numpy(),
        a_batch=given.heatmap[:, None].numpy(),
        softmax=False,
    )
    ours = sensitivity_n(given, [0.25], draws, side=1).values[:, 0]
    assert (ours.abs() < 0.99).all()
    assert ours.tolist() == pytest.approx(theirs, abs=1e-4)


# Cost and errors


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_cost_is_that_of_the_docstrings(batch_size: int) -> None:
    given = example()
    assert given.model is not None
    for score, passes in ((infidelity, 33), (sensitivity_n, 64)):
        with Cost(given.model) as cost:
            score(given, batch_size=batch_size)
        assert (cost.forward_passes, cost.backward_passes) == (3 * passes, 0)


def test_missing_or_invalid_arguments_are_named() -> None:
    given = example()
    without_model = replace(given, model=None)
    for score in (infidelity, sensitivity_n):
        with pytest.raises(UserError, match="needs the model"):
            score(without_model)
    for settings in ({"draws": 0}, {"smallest": 0}, {"smallest": 0.6}, {"largest": 1.1}):
        with pytest.raises(UserError, match="0 < smallest <= largest <= 1"):
            infidelity(given, **settings)
    choices: list[dict[str, Any]] = [{"shares": []}, {"shares": [0.4, 0.2]}, {"shares": [0.5, 1.0]}, {"draws": 1}]
    for choice in choices:
        with pytest.raises(UserError, match=r"increasing shares in \(0, 1\) and draws >= 2"):
            sensitivity_n(given, **choice)
    with pytest.raises(UserError, match=r"side=24: .* use a side below 24"):
        sensitivity_n(given, side=24)
    with pytest.raises(UserError, match="reference='noise' is unknown"):
        infidelity(given, "noise")  # type: ignore[arg-type]
