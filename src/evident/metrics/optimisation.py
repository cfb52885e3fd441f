"""Whether the optimisation behind an explanation reached its goal, and whether it had come to its end."""

import torch
from torch import Tensor

from evident.contracts import Optimises
from evident.errors import UserError
from evident.metrics.contract import Explanation, metric

TOLERANCE = 1e-4  # of the margin, because the last bits of a score depend on the batch
HALVINGS = 40


@metric(
    direction={"goal_reached": "higher", "projected_gradient": "lower"},
    needs=("explainer", "evidence", Optimises),
)
def optimisation(explanation: Explanation) -> dict[str, Tensor]:
    """Compute how an optimisation ended, which minimises mean(s) of a mask s in [0, 1] under a constraint.

    `goal_reached` (N,) is 1 if the mask meets the constraint, else 0. `projected_gradient` (N,) in [0, 1] is
    `stationarity` of the returned mask: 0 where no small change of the mask would improve it, and near 1 where the
    search stopped or froze on its way, however little its last steps changed. Raises `UserError` for an explainer that
    does not optimise.
    """
    explainer, evidence = explanation.explainer, explanation.evidence
    if evidence is None or not isinstance(explainer, Optimises):
        raise UserError("optimisation needs an explainer that optimises a mask, such as fgvis")
    with torch.enable_grad():
        margin, direction = explainer.margins(explanation.images, explanation.target, evidence.mask)
    return {
        "goal_reached": (margin >= -TOLERANCE).double(),
        "projected_gradient": stationarity(evidence.mask, direction),
    }


def stationarity(mask: Tensor, direction: Tensor) -> Tensor:
    """Return the norm (N,) in [0, 1] of the projected gradient of masks s (N, C, H, W) with gradients d of a loss.

        min over kappa >= 0 of  norm(v) / norm(d),    v = d + kappa       where 0 < s < 1
                                                      v = min(d + kappa, 0)  where s = 0
                                                      v = max(d + kappa, 0)  where s = 1

    With the best multiplier kappa, v = 0 is the condition of Karush, Kuhn and Tucker for the smallest mean(s) at a
    given loss. Where d is zero everywhere, nothing keeps s from shrinking: 1, or 0 for an empty mask.
    """
    slope, mask = direction.double().flatten(1), mask.flatten(1)

    def violation(kappa: Tensor) -> Tensor:
        whole = slope + kappa[:, None]
        return whole.where(mask < 1, whole.clamp(min=0)).where(mask > 0, whole.clamp(max=0))

    # The sum of v, half the derivative of the squared norm, does not decrease with kappa.
    low = torch.zeros(len(slope), dtype=slope.dtype, device=slope.device)
    high = slope.abs().amax(1)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        rises = violation(middle).sum(1) > 0
        low, high = torch.where(rises, low, middle), torch.where(rises, middle, high)
    kappa = torch.where(violation(torch.zeros_like(low)).sum(1) > 0, 0, high)
    length = slope.norm(dim=1)
    return torch.where(length > 0, violation(kappa).norm(dim=1) / length, (mask > 0).any(1).to(slope))
