"""Searches for the smallest mask: known optima, each search redone by hand, and images that do not influence others."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from evident.explainers.shared.mask_search import SEARCHES, Evaluated, within_budget

GRID = torch.Generator().manual_seed(0)
WEIGHTS = torch.rand(4, 3, 5, 5, generator=GRID, dtype=torch.float64) ** 3 - 0.05
GOAL = 0.5  # the share of the sum of all positive weights that a mask has to keep
every_search = pytest.mark.parametrize("search", SEARCHES)
both_starts = pytest.mark.parametrize("full", [True, False])


def linear(weights: Tensor, goal: float = GOAL) -> Callable[[Tensor, bool], Evaluated]:
    """Score a mask by the sum of its weights, relative to that of all positive weights."""
    whole = weights.clamp(min=0).sum((1, 2, 3))

    def evaluate(mask: Tensor, noisy: bool) -> Evaluated:
        margin = (weights * mask).sum((1, 2, 3)) / whole - goal
        return Evaluated(margin, -weights / weights.abs().amax((1, 2, 3), keepdim=True))

    return evaluate


def smallest(weights: Tensor, goal: float = GOAL) -> float:
    """Return the mean of the smallest mask of one image: the largest weights first, the last one in part."""
    missing, size = goal * weights.clamp(min=0).sum().item(), 0.0
    for weight in weights.flatten().sort(descending=True).values.tolist():
        part = min(1.0, missing / weight)
        size, missing = size + part, missing - part * weight
        if missing <= 1e-12:
            return size / weights.numel()
    raise AssertionError


def start_of(weights: Tensor, full: bool) -> Tensor:
    return torch.ones_like(weights) if full else torch.zeros_like(weights)


# Known optima ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("search", ["budget", "lagrangian"])
@both_starts
def test_mask_of_a_linear_score_is_nearly_the_smallest(search: str, full: bool) -> None:
    evaluate = linear(WEIGHTS)
    mask = SEARCHES[search](evaluate, start_of(WEIGHTS, full), 200, 0.1)
    assert (evaluate(mask, False).margin >= 0).all()
    for size, weights in zip(mask.mean((1, 2, 3)).tolist(), WEIGHTS, strict=True):
        assert smallest(weights) <= size + 1e-12 < 1.15 * smallest(weights)


@every_search
@both_starts
def test_mask_reaches_the_goal_and_is_smaller_than_a_faded_image(search: str, full: bool) -> None:
    evaluate = linear(WEIGHTS)
    mask = SEARCHES[search](evaluate, start_of(WEIGHTS, full), 100, 0.1)
    assert (evaluate(mask, False).margin >= 0).all()
    assert ((mask >= 0) & (mask <= 1)).all()
    assert (mask.mean((1, 2, 3)) < 0.8 * GOAL).all()


@every_search
def test_goal_that_no_mask_reaches_gives_the_mask_nearest_to_it(search: str) -> None:
    evaluate = linear(WEIGHTS, goal=1.1)
    mask = SEARCHES[search](evaluate, start_of(WEIGHTS, False), 100, 0.1)
    assert (evaluate(mask, False).margin > 0.9 - 1.1).all()


@pytest.mark.parametrize("search", ["budget", "lagrangian", "recipe"])
def test_more_steps_never_give_a_larger_mask(search: str) -> None:
    found = [SEARCHES[search](linear(WEIGHTS), start_of(WEIGHTS, True), steps, 0.1) for steps in (10, 40, 160)]
    sizes = [mask.mean((1, 2, 3)) for mask in found]
    assert (sizes[1] < sizes[0]).all()
    assert (sizes[2] <= sizes[1]).all()


@every_search
def test_number_of_evaluations_is_the_number_of_steps(search: str) -> None:
    calls = []
    evaluate = linear(WEIGHTS)

    def counted(mask: Tensor, noisy: bool) -> Evaluated:
        calls.append(mask)
        return evaluate(mask, noisy)

    found = SEARCHES[search](counted, start_of(WEIGHTS, True), 23, 0.1)
    assert len(calls) == 23
    # Every image's result is a mask that was evaluated.
    for n, mask in enumerate(found):
        assert any(torch.equal(mask, tried[n]) for tried in calls)


@every_search
def test_images_do_not_influence_each_other(search: str) -> None:
    together = SEARCHES[search](linear(WEIGHTS), start_of(WEIGHTS, True), 60, 0.1)
    for n in range(len(WEIGHTS)):
        part = WEIGHTS[n : n + 1]
        alone = SEARCHES[search](linear(part), start_of(part, True), 60, 0.1)
        torch.testing.assert_close(alone[0], together[n], rtol=1e-9, atol=1e-9)


def test_only_the_recipe_asks_for_noise() -> None:
    for name, search in SEARCHES.items():
        asked: set[bool] = set()

        def evaluate(mask: Tensor, noisy: bool, asked: set[bool] = asked) -> Evaluated:
            asked.add(noisy)
            return linear(WEIGHTS)(mask, noisy)

        search(evaluate, start_of(WEIGHTS, True), 3, 0.1)
        assert asked == {name == "recipe"}


@pytest.mark.parametrize("search", ["budget", "lagrangian", "recipe"])
def test_sharpened_masks_have_fewer_and_larger_entries(search: str) -> None:
    """Score masks by the root of each channel's sum, for which faint masks of many entries are best."""

    def evaluate(mask: Tensor, noisy: bool) -> Evaluated:
        sums = (mask * WEIGHTS.abs()).sum((2, 3)).clamp(min=1e-9)
        slope = -WEIGHTS.abs() / sums.sqrt()[..., None, None]
        margin = sums.sqrt().sum(1) / WEIGHTS.abs().sum((2, 3)).sqrt().sum(1) - GOAL
        return Evaluated(margin, slope / slope.abs().amax((1, 2, 3), keepdim=True))

    plain, sharp = (SEARCHES[search](evaluate, start_of(WEIGHTS, True), 60, 0.1, sharpen) for sharpen in (0.0, 0.1))
    between = [(mask * (1 - mask)).sum((1, 2, 3)) / mask.sum((1, 2, 3)) for mask in (plain, sharp)]
    assert (evaluate(sharp, False).margin >= 0).all()
    assert between[1].mean() < between[0].mean()


# Redone by hand, one image at a time, with plain numbers --------------------------------------------------------------


def clipped(values: Tensor) -> Tensor:
    return values.clamp(0, 1)


def by_hand_budget(evaluate: Any, start: Tensor, steps: int, sharpen: float) -> Tensor:
    mask, best, best_slope, size, nearest = start, start, start * 0, math.inf, -math.inf
    budget, share, missed, reached = 1.0, 0.05, 0, False
    for _ in range(steps):
        margin, slope = evaluate(mask)
        if margin >= 0:
            if mask.mean().item() < size:
                best, best_slope, size = mask, slope, mask.mean().item()
            reached, missed, share = True, 0, min(1.15 * share, 0.25)
            budget = (1 - share) * min(mask.mean().item(), size)
        else:
            if not reached and margin > nearest:
                best, nearest = mask, margin
            missed += 1
            if reached and missed >= 4:
                mask, slope, share, missed = best, best_slope, share / 3, 0
                budget = (1 - share) * size
        mask = slow_projection((1 + sharpen) * mask - (0.1 if reached else 0.3) * slope, budget)
    return best


def by_hand_lagrangian(evaluate: Any, start: Tensor, steps: int, sharpen: float) -> Tensor:
    mask, best, size, nearest, kappa, reached = start, start, math.inf, -math.inf, 0.1, False
    for _ in range(steps):
        margin, slope = evaluate(mask)
        if margin >= 0:
            if mask.mean().item() < size:
                best, size = mask, mask.mean().item()
            reached = True
        elif not reached and margin > nearest:
            best, nearest = mask, margin
        u = max(-1.0, min(1.0, 10 * margin))
        kappa = max(0.001, min(1.0, kappa * math.exp(0.1 * u)))
        slope = slope + min(1.0, kappa * math.exp(2 * u))
        mask = clipped((1 + sharpen) * mask - (0.1 if reached else 0.3) * slope)
    return best


def slow_projection(values: Tensor, allowed: float) -> Tensor:
    """Return clip(values - shift) with the shift from the sorted breaks of the mean, where the mean is linear."""
    if clipped(values).mean() <= allowed:
        return clipped(values)
    breaks = sorted({0.0, *values.flatten().tolist(), *(values.flatten() - 1).tolist()})
    low = max(shift for shift in breaks if shift >= 0 and clipped(values - shift).mean() > allowed)
    high = min(shift for shift in breaks if shift > low)
    at_low, at_high = (clipped(values - shift).mean().item() for shift in (low, high))
    return clipped(values - (low + (high - low) * (at_low - allowed) / (at_low - at_high)))


BY_HAND = {"budget": by_hand_budget, "lagrangian": by_hand_lagrangian}


@pytest.mark.parametrize("search", BY_HAND)
@both_starts
@pytest.mark.parametrize(("goal", "sharpen"), [(GOAL, 0.0), (GOAL, 0.05), (1.1, 0.0)])
def test_search_equals_the_search_by_hand(search: str, full: bool, goal: float, sharpen: float) -> None:
    found = SEARCHES[search](linear(WEIGHTS, goal), start_of(WEIGHTS, full), 60, 0.1, sharpen)
    for n in range(len(WEIGHTS)):
        part = WEIGHTS[n : n + 1]

        def evaluate(mask: Tensor, part: Tensor = part) -> tuple[float, Tensor]:
            margin, direction = linear(part, goal)(mask, False)
            return margin.item(), direction

        redone = BY_HAND[search](evaluate, start_of(part, full), 60, sharpen)
        torch.testing.assert_close(found[n : n + 1], redone, rtol=1e-5, atol=1e-6)


# The projection -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("allowed", [0.0, 0.02, 0.3, 0.7, 1.0])
def test_projection_is_the_nearest_mask_within_the_budget(allowed: float) -> None:
    values = torch.randn(3, 3, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.3
    found = within_budget(values, torch.full((3,), allowed, dtype=torch.float64))
    assert (found.mean((1, 2, 3)) <= allowed + 1e-12).all()
    for n in range(3):
        torch.testing.assert_close(found[n], slow_projection(values[n], allowed), rtol=0, atol=1e-6)
        others = torch.rand(500, 3, 4, 4, dtype=torch.float64)
        others *= (allowed / others.mean((1, 2, 3), keepdim=True)).clamp(max=1)
        distances = (others - values[n]).square().sum((1, 2, 3))
        assert (found[n] - values[n]).square().sum() <= distances.min()


def test_mask_within_its_budget_is_only_clipped() -> None:
    values = torch.tensor([-0.5, 0.25, 1.5, 0.0]).view(1, 1, 2, 2)
    assert torch.equal(within_budget(values, torch.tensor([0.9])), values.clamp(0, 1))
