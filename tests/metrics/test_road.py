"""ROAD: known answers on a model of brightness, and plain loops with a direct solver on a small network."""

from typing import Any

import pytest
import torch
from samples import Brightness, smooth_noise, unbiased_network
from test_imputation import exact
from torch import Tensor, nn

from evident.contracts import Regressor
from evident.errors import UserError
from evident.explainers.shared.seeding import image_generator
from evident.metrics.contract import Explanation, area
from evident.metrics.cost import Cost
from evident.metrics.road import SHARES, road
from evident.models.normalise import Normalise


def curves(image: Tensor, heatmap: Tensor, model: nn.Module | None = None, **settings) -> tuple[Tensor, Tensor]:
    """Return the values of both curves for grey images (N, H, W), with the brightness as the probability."""
    images = image[:, None].expand(-1, 3, -1, -1)
    target = torch.zeros(len(images), dtype=torch.long)
    result = road(Explanation(images, target, heatmap, model=model or Brightness()), **settings)
    return result["road_most"].values, result["road_least"].values


def example(count: int = 3) -> Explanation:
    images = smooth_noise(count, (14, 12))
    heatmap = torch.rand(count, 14, 12, generator=torch.Generator().manual_seed(0))
    return Explanation(images, torch.arange(count), heatmap, model=unbiased_network())


def lit(size: int = 12) -> Tensor:
    """Return a black image (1, size, size) with a white square in its centre, a quarter of its side long."""
    image = torch.zeros(1, size, size)
    image[:, size // 4 : size // 2, size // 4 : size // 2] = 1
    return image


def test_nothing_is_left_of_a_bright_square_that_is_removed_first() -> None:
    most, _ = curves(lit(), lit(), shares=[0.01, 9 / 144, 0.5], noise=0, least=0)
    assert 0 < most[0, 0] < 1
    assert most[0, 1:].abs().max() < 1e-6


def test_bright_square_is_left_if_it_is_removed_last() -> None:
    image = lit()
    # Pixels beside the square last but itself: those far from it are imputed from black ones only.
    distance = torch.nn.functional.avg_pool2d(image, 3, 1, 1)
    _, least = curves(image, distance + image, shares=[0.2, 0.6], noise=0, least=0)
    torch.testing.assert_close(least, torch.ones(1, 2).double(), rtol=0, atol=1e-3)


def test_constant_image_keeps_its_score() -> None:
    heatmap = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(0))
    for values in curves(torch.full((2, 16, 16), 0.5), heatmap, noise=0):
        torch.testing.assert_close(values, torch.ones(2, 7).double(), rtol=0, atol=1e-3)


def test_noise_is_that_of_the_image_and_clipped() -> None:
    white, grey = torch.ones(1, 16, 16), torch.full((1, 16, 16), 0.5)
    heatmap = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0))
    most, least = curves(white, heatmap, shares=[0.999], noise=0.1)
    assert 0.9 < most.item() < 1  # only darker
    most, least = curves(grey, heatmap, shares=[0.999], noise=0.1)
    pixels = grey[:, None].expand(-1, 3, -1, -1)[0]
    noise = 0.1 * torch.randn(3, 16, 16, generator=image_generator(pixels, 0), dtype=torch.float64).view(3, -1)
    for values, kept in ((most, heatmap.flatten().argmin()), (least, heatmap.flatten().argmax())):
        noise_here = noise.clone()
        noise_here[:, kept] = 0
        assert values.item() == pytest.approx(1 + noise_here.mean().item() / 0.5, abs=1e-3)
    assert curves(grey, heatmap, seed=1)[0].tolist() != curves(grey, heatmap, seed=0)[0].tolist()


@pytest.mark.parametrize("shares", [SHARES, (0.37,)])
def test_curves_equal_their_formula_by_plain_loops(shares: tuple[float, ...]) -> None:
    explanation = example()
    assert explanation.model is not None
    result = road(explanation, shares, seed=3, least=0)
    for n in range(3):
        image, target = explanation.images[n], explanation.target[n]
        noise = 0.01 * torch.randn(3, 14, 12, generator=image_generator(image, 3), dtype=torch.float64)
        order = explanation.heatmap[n].flatten().argsort(descending=True)
        for name, pixels in (("road_most", order), ("road_least", order.flip(0))):
            shown = []
            for share in shares:
                removed = torch.zeros(14 * 12, dtype=torch.bool)
                removed[pixels[: round(share * 14 * 12)]] = True
                removed = removed.view(14, 12)
                imputed = (exact(image, removed) + noise).clamp(0, 1)
                shown.append(torch.where(removed, imputed, image.double()).float())
            with torch.no_grad():
                probability = explanation.model(torch.stack([image, *shown])).double().softmax(1)[:, target]
            values = result[name].values[n]
            torch.testing.assert_close(values, probability[1:] / probability[0], rtol=1e-3, atol=0)
            torch.testing.assert_close(result[name].at, torch.tensor(shares).double())


def test_score_weights_each_share_by_the_shares_that_are_nearest_to_it() -> None:
    weights = torch.tensor([0.15, 0.1, 0.1, 0.1, 0.15, 0.2, 0.2]).double()
    for curve in road(example(), least=0).values():
        torch.testing.assert_close(area(curve), curve.values @ weights)


def test_inverted_heatmap_swaps_the_curves() -> None:
    explanation = example()
    inverted = Explanation(explanation.images, explanation.target, -explanation.heatmap, model=explanation.model)
    ours, swapped = road(explanation, least=0), road(inverted, least=0)
    torch.testing.assert_close(ours["road_most"].values, swapped["road_least"].values)
    torch.testing.assert_close(ours["road_least"].values, swapped["road_most"].values)


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_each_share_takes_two_forward_passes_and_the_image_one(batch_size: int) -> None:
    explanation = example()
    assert explanation.model is not None
    with Cost(explanation.model) as cost:
        road(explanation, batch_size=batch_size)
    assert (cost.forward_passes, cost.backward_passes) == (3 * 15, 0)


def test_unseen_class_and_non_finite_heatmap_are_nan_for_their_image_only() -> None:
    image, heatmap = torch.full((3, 8, 8), 0.5), torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    image[0], heatmap[1, 2, 3] = 0.05, torch.inf
    for values in curves(image, heatmap):
        assert values.isnan().all(1).tolist() == [True, True, False]
        assert values[2].isfinite().all()


def test_curves_of_a_regression_follow_the_output_itself() -> None:
    class Sum(nn.Module, Regressor):
        def __init__(self) -> None:
            super().__init__()
            self.normalise = Normalise(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))

        def forward(self, images: Tensor) -> Tensor:
            return self.normalise(images).double().mean((1, 2, 3))[:, None] - 1

        def regression_names(self) -> tuple[str, ...]:
            return ("sum",)

    most, _ = curves(lit(), lit(), Sum(), shares=[9 / 144], noise=0)
    assert most.item() == pytest.approx(-1)


def test_missing_or_invalid_arguments_are_named() -> None:
    explanation = example()
    with pytest.raises(UserError, match="needs the model"):
        road(Explanation(explanation.images, explanation.target, explanation.heatmap))
    wrong: list[dict[str, Any]] = [*({"shares": shares} for shares in ([], [0.5, 0.5], [0.0], [1.0])), {"noise": -1}]
    for settings in wrong:
        with pytest.raises(UserError, match=r"increasing shares in \(0, 1\) and noise >= 0"):
            road(explanation, **settings)
