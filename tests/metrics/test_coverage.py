"""Coverage: maps with known scores, and the definition by plain loops."""

import math

import pytest
import torch
from torch import Tensor

from evident.errors import UserError
from evident.metrics.contract import Explanation
from evident.metrics.coverage import coverage
from evident.metrics.localization import average_precision, mass_accuracy

nan = math.nan
SIDE = 50  # so that the margin of 2 % is one pixel


def explained(heatmap: Tensor, mask: Tensor) -> Explanation:
    images = torch.zeros(len(heatmap), 3, *heatmap.shape[1:])
    return Explanation(images, torch.zeros(len(heatmap)).long(), heatmap, mask)


def scores(heatmap: Tensor, mask: Tensor, **settings) -> tuple[Tensor, Tensor]:
    result = coverage(explained(heatmap, mask), **settings)
    assert list(result) == ["coverage", "coverage_excess"]
    return result["coverage"], result["coverage_excess"]


def square(side: int = 20) -> Tensor:
    mask = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    mask[:, 10 : 10 + side, 14 : 14 + side] = True
    return mask


def test_oracle_map_covers_the_mask_and_nothing_far_from_it() -> None:
    assert [score.item() for score in scores(3 * square().float(), square())] == [1, 1]


def test_constant_map_covers_everything_and_has_no_excess() -> None:
    assert [score.item() for score in scores(torch.ones(1, SIDE, SIDE), square())] == [1, 0]


def test_random_map_covers_almost_everything_and_has_almost_no_excess() -> None:
    heatmap = torch.rand(50, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    covered, excess = scores(heatmap, square().expand(50, -1, -1))
    assert covered.min() > 0.99
    assert excess.abs().max() < 0.01


def test_map_of_half_the_mask_covers_half_and_its_margin() -> None:
    mask = square()
    half = mask.float()
    half[:, :, 24:] = 0  # 10 of 20 columns
    covered, excess = scores(half, mask)
    assert covered.item() == excess.item() == pytest.approx(11 / 20)
    assert scores(half, mask, margin=0)[0].item() == pytest.approx(10 / 20)


def test_sparse_pure_map_covers_what_average_precision_denies() -> None:
    mask = square()
    lines = mask.float()
    lines[:, :, ::3] = 0
    lines[:, :, 1::3] = 0  # every third column of the mask
    pure = explained(lines, mask)
    assert mass_accuracy(pure).item() == 1
    assert average_precision(pure).item() < 0.5
    assert coverage(pure)["coverage_excess"].item() > 0.9


def test_low_values_beyond_the_share_do_not_count() -> None:
    mask = square()
    heatmap = mask.float()
    heatmap[0, 40:, 40:] = 1e-3  # a fortieth of a percent of the sum
    assert scores(heatmap, mask)[1].item() == 1
    assert scores(heatmap, mask, share=1)[1].item() < 1


def test_other_places_lower_the_excess_by_their_share() -> None:
    mask, heatmap = square(), torch.zeros(1, SIDE, SIDE)
    heatmap[0, 40:, :5] = 1
    covered, excess = scores(heatmap, mask, margin=0)
    assert covered.item() == 0
    assert excess.item() == pytest.approx(-50 / (SIDE**2 - 400))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ties", [False, True])
def test_scores_are_those_of_the_definition(seed: int, ties: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    heatmap = torch.randn(2, 13, 20, generator=generator, dtype=torch.float64)
    if ties:
        heatmap = (2 * heatmap).round()
    mask = torch.rand(2, 13, 20, generator=generator) < 0.1
    covered, excess = scores(heatmap, mask, share=0.5, margin=0.11)  # 2.2 pixels, so 2
    for n in range(2):
        positive = sorted({value for value in heatmap[n].flatten().tolist() if value > 0}, reverse=True)
        held, total = 0.0, heatmap[n].clamp(min=0).sum().item()
        for least in positive:
            held += least * int((heatmap[n] == least).sum())
            if held >= 0.5 * total - 1e-12:
                break
        chosen, evidence = (heatmap[n] >= least).nonzero().tolist(), mask[n].nonzero().tolist()

        def near(pixel: list[int], pixels: list[list[int]]) -> bool:
            return any((pixel[0] - y) ** 2 + (pixel[1] - x) ** 2 <= 4 for y, x in pixels)

        every = [[y, x] for y in range(13) for x in range(20)]
        inside = [near(pixel, chosen) for pixel in evidence]
        beyond = [near(pixel, chosen) for pixel in every if not near(pixel, evidence)]
        assert covered[n].item() == pytest.approx(sum(inside) / len(inside))
        assert excess[n].item() == pytest.approx(sum(inside) / len(inside) - sum(beyond) / len(beyond))


def test_undefined_scores_are_nan() -> None:
    mask, heatmap = square().repeat(4, 1, 1), torch.ones(4, SIDE, SIDE)
    mask[0] = False
    heatmap[1] = -1
    heatmap[2, 0, 0] = nan
    mask[3] = True
    covered, excess = scores(heatmap, mask)
    assert covered.isnan().tolist() == [True, True, True, False]
    assert excess.isnan().all()


def test_missing_or_invalid_arguments_are_named() -> None:
    heatmap = torch.ones(1, 4, 4)
    with pytest.raises(UserError, match="coverage needs masks"):
        coverage(Explanation(torch.zeros(1, 3, 4, 4), torch.zeros(1).long(), heatmap))
    for settings in ({"share": 0}, {"share": 1.1}, {"margin": -0.1}, {"margin": 1}):
        with pytest.raises(UserError, match="coverage needs 0 < share"):
            scores(heatmap, heatmap.bool(), **settings)
