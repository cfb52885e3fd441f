"""How an optimisation ended: the goal, and the norm of the projected gradient by plain search and at known optima."""

from typing import Any

import pytest
import torch
from captum.attr import Attribution
from torch import Tensor, nn

from evident.contracts import Optimises
from evident.errors import UserError
from evident.explainers.shared.evidence import evidence
from evident.metrics.contract import Explanation
from evident.metrics.optimisation import optimisation, stationarity
from evident.models.flower_net import FlowerNet


def by_plain_search(mask: Tensor, direction: Tensor) -> float:
    """Return the smallest norm(v) / norm(d) over a fine grid of kappa, entry by entry."""
    found = []
    for kappa in torch.linspace(0, direction.abs().max().item(), 2001).tolist():
        total = 0.0
        for s, d in zip(mask.flatten().tolist(), direction.flatten().tolist(), strict=True):
            v = d + kappa
            v = min(v, 0) if s == 0 else max(v, 0) if s == 1 else v
            total += v * v
        found.append(total**0.5)
    return min(found) / direction.norm().item()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_norm_equals_a_plain_search_over_kappa(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    masks = (torch.rand(4, 3, 4, 4, generator=generator, dtype=torch.float64) * 2 - 0.5).clamp(0, 1)
    masks[0], masks[1] = 0.27, masks[1].round()
    directions = torch.randn(4, 3, 4, 4, generator=generator, dtype=torch.float64)
    directions[2] -= 2
    found = stationarity(masks, directions)
    for n in range(4):
        assert found[n].item() == pytest.approx(by_plain_search(masks[n], directions[n]), abs=1e-5)
    assert ((found >= 0) & (found <= 1)).all()


def test_greedy_mask_of_a_linear_score_is_stationary_and_a_faded_one_is_not() -> None:
    weight = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    weight /= weight.max()
    greedy = (weight > 0.8).double()
    greedy.flatten()[weight.flatten().argsort()[96]] = 0.4
    faded = torch.full_like(weight, 0.27)
    # One entry may be between its bounds: kappa is its weight.
    greedy[(weight - 0.8).abs() < 1e-9] = 0.5
    at_end = stationarity((weight > 0.8).double(), -weight).item()
    assert at_end == pytest.approx(0, abs=1e-9)
    assert stationarity(faded, -weight).item() == pytest.approx(
        (weight.std(correction=0) / weight.square().mean().sqrt()).item()
    )
    assert stationarity(torch.cat([faded, greedy]), torch.cat([-weight] * 2))[1] < 0.3


def test_mask_that_no_gradient_holds_is_not_stationary_unless_it_is_empty() -> None:
    masks = torch.stack([torch.zeros(3, 2, 2), torch.full((3, 2, 2), 0.3), torch.ones(3, 2, 2)])
    assert stationarity(masks, torch.zeros_like(masks)).tolist() == [0, 1, 1]


class Known(Attribution, Optimises):
    def __init__(self, margins: list[float]) -> None:
        super().__init__(nn.Identity())
        self.known = torch.tensor(margins)

    def margins(self, inputs: Tensor, target: Tensor | int, mask: Tensor) -> tuple[Tensor, Tensor]:
        assert torch.is_grad_enabled()
        return self.known, torch.zeros_like(mask)


def explanation(explainer: Any) -> Explanation:
    images, target, model = torch.rand(3, 3, 8, 8), torch.tensor([0, 1, 2]), FlowerNet(4).eval()
    marked = evidence(model, images, target, torch.ones_like(images))
    return Explanation(images, target, torch.ones(3, 8, 8), None, model, None, explainer, marked)


def test_goal_is_reached_where_the_margin_is_not_negative() -> None:
    with torch.no_grad():
        scores = optimisation(explanation(Known([0.1, -1e-5, -0.01])))
    assert scores["goal_reached"].tolist() == [1, 1, 0]
    assert scores["projected_gradient"].tolist() == [1, 1, 1]


def test_explainer_that_does_not_optimise_raises() -> None:
    with pytest.raises(UserError, match="optimisation needs an explainer that optimises a mask"):
        optimisation(explanation(Attribution(nn.Identity())))
