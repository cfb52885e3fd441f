"""Local contributions: known answers on a network of separate patches, and the formulas by plain loops."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from committed_numbers import by_formula
from samples import smooth_noise, uniform_noise
from scipy.stats import pearsonr, rankdata, spearmanr
from torch import Tensor, nn

from evident.contracts import SumsContributions
from evident.errors import UserError
from evident.metrics.contract import Explanation
from evident.metrics.local_contributions import field_means, local_contributions, position_fields
from evident.models.patch_net import PatchNet

nan = math.nan


class Patches(nn.Module, SumsContributions):
    """Weigh the brightness of patches of `side` pixels, which do not overlap, by weights (classes, h, w)."""

    def __init__(self, weights: Tensor, side: int = 4, padding: int = 0) -> None:
        super().__init__()
        self.weights, self.side = nn.Parameter(weights.double()), side
        self.sums = nn.Conv2d(3, 1, side, side, padding, bias=False).double()
        nn.init.ones_(self.sums.weight)

    def forward(self, images: Tensor) -> Tensor:
        return self.contribution_map(images).sum((2, 3)) + self.output_bias()

    def contribution_map(self, images: Tensor) -> Tensor:
        return self.sums(images) * self.weights

    def output_bias(self) -> Tensor:
        return torch.full((len(self.weights),), 0.5, dtype=torch.float64)


def spread(values: Tensor, side: int = 4) -> Tensor:
    """Return maps (N, H, W) with the values (N, h, w) in patches of `side` pixels."""
    return values.repeat_interleave(side, 1).repeat_interleave(side, 2)


def explained(model: nn.Module | None, images: Tensor, target: list[int], heatmap: Tensor) -> Explanation:
    return Explanation(images, torch.tensor(target), heatmap, model=model)


def scores(explanation: Explanation) -> list[list[float]]:
    """Return [rank correlation, correlation] of each image."""
    found = local_contributions(explanation)
    return torch.stack([found["local_rank_correlation"], found["local_correlation"]], 1).tolist()


def order(explanation: Explanation) -> list[float]:
    return local_contributions(explanation)["local_order"].tolist()


WEIGHTS = torch.tensor([[[3.0, -1.0, 2.0], [0.5, 1.0, -2.0]], [[0.0, 0.0, 1.0], [0.0, 2.0, 0.0]]])
BRIGHT = torch.ones(1, 3, 8, 12, dtype=torch.float64)


# Known answers


def test_exact_contributions_spread_over_separate_fields_score_one():
    images = uniform_noise(2, 12, dtype=torch.float64)[:, :, :8]
    model = Patches(WEIGHTS)
    contributions = model.contribution_map(images)[[0, 1], [0, 1]]
    found = scores(explained(model, images, [0, 1], spread(contributions.detach())))
    assert found == pytest.approx(np.ones((2, 2)))


@pytest.mark.parametrize(("change", "expected"), [(lambda c: -c, [-1, -1]), (lambda c: 2 * c + 7, [1, 1])])
def test_linear_changes_keep_the_size_of_the_correlation(change: Any, expected: list[float]):
    [found] = scores(explained(Patches(WEIGHTS), BRIGHT, [0], change(spread(WEIGHTS[:1]))))
    assert found == pytest.approx(expected)


def test_rank_correlation_depends_on_the_order_only():
    rank, linear = scores(explained(Patches(WEIGHTS), BRIGHT, [0], spread(WEIGHTS[:1]).exp()))[0]
    assert rank == pytest.approx(1)
    assert 0.5 < linear < 0.95


def test_order_of_positions_finds_contributions_whatever_the_values():
    for change, expected in ((torch.exp, 1), (torch.neg, -1), (torch.zeros_like, 0)):
        assert order(explained(Patches(WEIGHTS), BRIGHT, [0], change(spread(WEIGHTS[:1])))) == [pytest.approx(expected)]


def test_map_cut_at_zero_ties_where_contributions_are_negative():
    [found] = scores(explained(Patches(WEIGHTS), BRIGHT, [0], spread(WEIGHTS[:1]).clamp(min=0)))
    cut = WEIGHTS[0].clamp(min=0).flatten()
    assert found == pytest.approx(
        [spearmanr(WEIGHTS[0].flatten(), cut).statistic, pearsonr(WEIGHTS[0].flatten(), cut)[0]]
    )


def test_pixels_inside_a_field_count_by_their_mean():
    heatmap = torch.zeros(1, 8, 12)
    heatmap[:, ::4, ::4] = 16 * WEIGHTS[0]
    assert scores(explained(Patches(WEIGHTS), BRIGHT, [0], heatmap)) == pytest.approx(np.ones((1, 2)))


def test_constant_added_to_all_positions_has_no_effect():
    class Shifted(Patches):
        def contribution_map(self, images: Tensor) -> Tensor:
            return super().contribution_map(images) + 5

    heatmap = torch.rand(1, 8, 12, generator=torch.Generator().manual_seed(0))
    plain, shifted = (scores(explained(kind(WEIGHTS), BRIGHT, [0], heatmap)) for kind in (Patches, Shifted))
    assert shifted == pytest.approx(np.array(plain))


@pytest.mark.parametrize("heatmap", [torch.zeros(1, 8, 12), torch.ones(1, 8, 12), torch.full((1, 8, 12), nan)])
def test_constant_or_undefined_heatmap_has_no_score(heatmap: Tensor):
    assert np.isnan(scores(explained(Patches(WEIGHTS), BRIGHT, [0], heatmap))).all()


def test_constant_contributions_have_no_score():
    heatmap = torch.rand(1, 8, 12, generator=torch.Generator().manual_seed(0))
    assert np.isnan(scores(explained(Patches(torch.ones(1, 2, 3)), BRIGHT, [0], heatmap))).all()


def test_positions_that_see_only_padding_are_left_out():
    weights = torch.full((1, 4, 5), 9.0)
    weights[0, 1:3, 1:4] = WEIGHTS[0]
    model = Patches(weights, padding=4)
    assert scores(explained(model, BRIGHT, [0], spread(WEIGHTS[:1]))) == pytest.approx(np.ones((1, 2)))


def test_spread_contributions_of_overlapping_fields_score_high():
    model = by_formula(PatchNet(6))
    images = smooth_noise(2, 112, dtype=torch.float64)
    contributions = model.contribution_map(images)[[0, 1], [0, 1]].detach()
    top, left, bottom, right = position_fields(model, torch.Size((112, 112))).flatten(1).tolist()
    heatmap = torch.zeros(2, 112, 112, dtype=torch.float64)
    for p, values in enumerate(contributions.flatten(1).T):
        heatmap[:, top[p] : bottom[p], left[p] : right[p]] += values[:, None, None]
    for rank, linear in scores(explained(model, images, [0, 1], heatmap)):
        assert rank > 0.6
        assert linear > 0.6


# The formulas


def test_scores_are_the_formulas():
    model = by_formula(PatchNet(6))
    images = uniform_noise(3, 40, dtype=torch.float64)[:, :, :32]
    heatmap = torch.rand(3, 32, 40, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    heatmap[1, 10:] = 0  # many ties
    target = [2, 0, 5]
    expected = []
    top, left, bottom, right = position_fields(model, torch.Size((32, 40))).flatten(1).tolist()
    for n in range(3):
        c = model.contribution_map(images[n : n + 1])[0, target[n]].detach().flatten().numpy()
        boxes = zip(top, bottom, left, right, strict=True)
        h = np.array([heatmap[n, t:b, i:j].double().mean().item() for t, b, i, j in boxes]).round(12)
        own, best = (np.cov(c, rankdata(ranked))[0, 1] for ranked in (h, c))
        expected.append([spearmanr(c, h).statistic, pearsonr(c, h)[0], own / best])
    given = explained(model, images, target, heatmap)
    assert np.column_stack([scores(given), order(given)]) == pytest.approx(np.array(expected), abs=1e-9)


def test_mean_of_zeros_is_exactly_zero():
    heatmap = torch.rand(1, 112, 112, generator=torch.Generator().manual_seed(0))
    heatmap[:, 40:80, 40:80] = 0
    means, _ = field_means(heatmap, position_fields(PatchNet(6), torch.Size((112, 112))))
    assert means.view(28, 28)[12:16, 12:16].abs().max() == 0


# Errors


@pytest.mark.parametrize("model", [nn.Identity(), None])
def test_network_without_sums_is_an_error(model: nn.Module | None):
    with pytest.raises(UserError, match="use model=patch_net"):
        local_contributions(explained(model, BRIGHT, [0], torch.ones(1, 8, 12)))
