r"""Searches for the smallest mask s in [0, 1]^n whose score reaches a goal.

A search minimises mean(s), subject to margin(s) >= 0. `Evaluate` returns the margin of a mask, how far its score is
beyond the goal, and the direction d = g / max|g| of the gradient g of a loss that falls towards the goal. Every search
calls it exactly `steps` times, with the masks of all images, and returns, separately for each image, the smallest mask
that reached the goal, or, if none did, the one with the largest margin. So searches compare at equal cost.

    budget       s <- projection of s - eta d onto {0 <= s <= 1, mean(s) <= a}; a shrinks while the goal is reached
    lagrangian   s <- clip(s - eta (d + kappa)); kappa, the weight of mean(s), follows the margin
    recipe       s <- clip(s - eta (d + kappa) / max|d + kappa|), with d at a noisy input
    halving      s <- clip(s - eta (d + kappa)); a step that leaves the goal is undone and halves eta

All are ours. `lagrangian` is the exponential method of multipliers (D. P. Bertsekas, *Constrained optimization and
Lagrange multiplier methods*, 1982) with one gradient step per update. `recipe` follows an unofficial implementation of
FGVis: steps of 0.1 divided by the largest entry, and noise in the input. `budget` and `lagrangian` take steps eta of
`step_size`, and `APPROACH` times as long until the goal is reached for the first time: eta never falls, so they cannot
freeze.

`sharpen` multiplies s by 1 + `sharpen` before each step, which is the gradient of the term -sharpen |s|^2 / (2 eta): at
equal mean(s) it prefers few large entries to many small ones, so that what the mask shows is not faint.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

APPROACH = 3.0
HALVINGS = 26  # of the interval of a bisection, which is then below the precision of float32


class Evaluated(NamedTuple):
    """Hold the margin (N,) of masks, and the direction (N, C, H, W) of the loss's gradient, with largest entry one."""

    margin: Tensor
    direction: Tensor


Evaluate = Callable[[Tensor, bool], Evaluated]
"""Evaluate masks (N, C, H, W), with noise in the input of the gradient if the second argument is true."""


class Search(Protocol):
    """Find the smallest mask that reaches the goal, from a start (N, C, H, W), by `steps` evaluations."""

    def __call__(
        self, evaluate: Evaluate, start: Tensor, steps: int, step_size: float, sharpen: float = 0.0
    ) -> Tensor: ...


class _Best:
    """Keep the smallest mask of each image that reached the goal, or the one with the largest margin before."""

    def __init__(self, start: Tensor) -> None:
        none = start.new_full((len(start),), -torch.inf)
        self.mask, self.direction = start, torch.zeros_like(start)
        self.margin, self.size, self.reached = none, -none, none > 0

    def update(self, mask: Tensor, found: Evaluated) -> Tensor:
        """Take the masks that are better than before; return which (N,) bool reach the goal."""
        at_goal, size = found.margin >= 0, mean(mask)
        better = torch.where(at_goal, size < self.size, ~self.reached & (found.margin > self.margin))
        self.mask = torch.where(per_image(better), mask, self.mask)
        self.direction = torch.where(per_image(better), found.direction, self.direction)
        self.margin = torch.where(better, found.margin, self.margin)
        self.size = torch.where(better & at_goal, size, self.size)
        self.reached = self.reached | at_goal
        return at_goal

    def step(self, size: float) -> Tensor:
        """Return the step size (N, 1, 1, 1) of each image."""
        return per_image(torch.where(self.reached, 1.0, APPROACH).to(self.size) * size)


def budget(
    evaluate: Evaluate,
    start: Tensor,
    steps: int,
    step_size: float,
    sharpen: float = 0.0,
    shrink: float = 0.05,
    growth: float = 1.15,
    fastest: float = 0.25,
    tries: int = 4,
) -> Tensor:
    """Shrink the budget a by the share q while masks reach the goal, and descend the loss within the budget.

    q starts at `shrink` and grows by the factor `growth` with every mask that reaches the goal, up to `fastest`. If
    `tries` masks in a row miss the goal, the search returns to the best mask and divides q by 3. Until a mask reaches
    the goal, there is no budget.
    """
    best, mask = _Best(start), start
    allowed, share = torch.ones_like(best.size), torch.full_like(best.size, shrink)
    missed = torch.zeros_like(best.size)
    for _ in range(steps):
        found = evaluate(mask, False)
        at_goal = best.update(mask, found)
        missed = torch.where(at_goal, 0, missed + 1)
        back = best.reached & (missed >= tries)
        missed = torch.where(back, 0, missed)
        share = torch.where(back, share / 3, torch.where(at_goal, (growth * share).clamp(max=fastest), share))
        mask = torch.where(per_image(back), best.mask, mask)
        direction = torch.where(per_image(back), best.direction, found.direction)
        allowed = torch.where(at_goal | back, (1 - share) * torch.minimum(mean(mask), best.size), allowed)
        mask = within_budget((1 + sharpen) * mask - best.step(step_size) * direction, allowed)
    return best.mask


def lagrangian(
    evaluate: Evaluate,
    start: Tensor,
    steps: int,
    step_size: float,
    sharpen: float = 0.0,
    weight: float = 0.1,
    rate: float = 0.1,
    damping: float = 2.0,
) -> Tensor:
    """Update kappa <- kappa exp(rate u), from `weight`, and step with kappa exp(damping u).

    u in [-1, 1] is the margin in units of 0.1; kappa is between 0.001 and 1, the largest entry of d.
    """
    best, mask = _Best(start), start
    kappa = torch.full_like(best.size, weight)
    for _ in range(steps):
        found = evaluate(mask, False)
        best.update(mask, found)
        margin = (found.margin / 0.1).clamp(-1, 1)
        kappa = (kappa * torch.exp(rate * margin)).clamp(1e-3, 1)
        damped = (kappa * torch.exp(damping * margin)).clamp(max=1)
        slope = found.direction + per_image(damped)
        mask = ((1 + sharpen) * mask - best.step(step_size) * slope).clamp(0, 1)
    return best.mask


def recipe(
    evaluate: Evaluate,
    start: Tensor,
    steps: int,
    step_size: float,
    sharpen: float = 0.0,
    weight: float = 0.1,
    factor: float = 1.05,
) -> Tensor:
    """Multiply kappa, from `weight`, by `factor` while the goal is reached, and divide it while it is not.

    With the recipe's own constant kappa of 1e-9, masks that start at one would not shrink.
    """
    best, mask = _Best(start), start
    kappa = torch.full_like(best.size, weight)
    for _ in range(steps):
        found = evaluate(mask, True)
        at_goal = best.update(mask, found)
        kappa = torch.where(at_goal, kappa * factor, kappa / factor)
        slope = found.direction + per_image(kappa)
        largest = per_image(slope.abs().amax((1, 2, 3)).clamp(min=1e-30))
        mask = ((1 + sharpen) * mask - step_size * slope / largest).clamp(0, 1)
    return best.mask


def halving(
    evaluate: Evaluate, start: Tensor, steps: int, step_size: float, sharpen: float = 0.0, weight: float = 0.1
) -> Tensor:
    """Accept only masks that reach the goal, once one did; a refused step is undone and halves its step size."""
    mask, tried, reached = start, start, torch.zeros(len(start), dtype=torch.bool, device=start.device)
    direction, kappa = torch.zeros_like(start), start.new_full((len(start),), weight)
    eta = torch.full_like(kappa, step_size)
    for _ in range(steps):
        found = evaluate(tried, False)
        at_goal = found.margin >= 0
        undone = reached & ~at_goal
        mask = torch.where(per_image(undone), mask, tried)
        direction = torch.where(per_image(undone), direction, found.direction)
        kappa = kappa * torch.where(at_goal, 1.1, torch.where(undone, 0.8, 0.9))
        eta = (eta * torch.where(at_goal, 1.1, torch.where(undone, 0.5, 1.0))).clamp(max=step_size)
        reached = reached | at_goal
        tried = ((1 + sharpen) * mask - per_image(eta) * (direction + per_image(kappa))).clamp(0, 1)
    return mask


SEARCHES: dict[str, Search] = {"budget": budget, "lagrangian": lagrangian, "recipe": recipe, "halving": halving}


def within_budget(values: Tensor, allowed: Tensor) -> Tensor:
    """Return the nearest masks (N, C, H, W) in [0, 1] whose means are at most `allowed` (N,).

    The projection is clip(values - shift) with the smallest shift >= 0 that meets the budget, found by bisection.
    """
    low = torch.zeros_like(allowed)
    high = values.amax((1, 2, 3)).clamp(min=0)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        over = mean((values - per_image(middle)).clamp(0, 1)) > allowed
        low, high = torch.where(over, middle, low), torch.where(over, high, middle)
    # Without a shift if none is needed; at the upper end of the interval the budget is met.
    shift = torch.where(mean(values.clamp(0, 1)) > allowed, high, 0)
    return (values - per_image(shift)).clamp(0, 1)


def mean(mask: Tensor) -> Tensor:
    """Return the mean (N,) of masks (N, C, H, W)."""
    return mask.mean((1, 2, 3))


def per_image(values: Tensor) -> Tensor:
    """Return values (N,) as (N, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1)
