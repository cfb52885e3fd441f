r"""What would be without it: scenes painted again without one attribute, the test that only a known world allows.

Of a scene x, of the same one without attribute k, x_k, and of the true score S and the network's s,

    D_k = S(x_k) - S(x)      what its removal truly does, with what comes to light behind it
    d_k = s(x_k) - s(x)      what it does to the network's score
    -c_k                     what it should do by the explanation: c_k as stated by name, else sum of the map over the
                             attribute's true pixels

over the attributes that are visible in x, by Kendall's tau-b of each image:

    removal_network    d and D: does the network know what things are worth?
    removal_stated     -c and d: does the explanation say what the network does?
    removal_true       -c and D: does the explanation say what is true?
"""

import torch
from torch import Tensor

from evident.errors import UserError
from evident.explainers.scores import target_scores
from evident.metrics.contributions import given_to, signed_of, truth_of
from evident.metrics.explanation import Curve, Explanation, metric
from evident.metrics.rank import kendall


@metric(
    # What the network knows is no merit of the explainer's.
    direction={"removal_network": "neither", "removal_stated": "higher", "removal_true": "higher"},
    needs=("model", "truth", "signed", "removals"),
    welcomes=("contributions",),
)
def removal(explanation: Explanation, batch_size: int = 64) -> dict[str, Curve]:
    """`removal_network`, `removal_stated` and `removal_true` (N,) in [-1, 1], as above; NaN with nothing to rank.

    Their curves (N, K) hold, for attribute k at k, d_k, -c_k and D_k, NaN where it is not visible. `batch_size` images
    go through the network at once. Raises `UserError` without a model, the truth or scenes that were painted again.
    """
    truth, removals, model = truth_of(explanation), explanation.removals, explanation.model
    if removals is None or model is None:
        raise UserError("removal needs the network and scenes without each of their attributes; use data=landscapes")
    target = explanation.target
    with torch.no_grad():
        shown = torch.cat([explanation.images, removals.images])
        parts = zip(shown.split(batch_size), torch.cat([target, target[removals.row]]).split(batch_size), strict=True)
        scores = torch.cat([target_scores(model(images), own).double() for images, own in parts])
        before, after = scores.split([len(target), len(removals.row)])
    stated = explanation.contributions
    worth = given_to(truth.attribute_masks, signed_of(explanation)) if stated is None else stated.detach().double()
    visible = torch.zeros(worth.shape, dtype=torch.bool, device=worth.device)
    visible[removals.row, removals.attribute] = True

    def spread(values: Tensor) -> Tensor:
        """Values (P,) of the removals at their places (N, K)."""
        whole = torch.zeros_like(worth)
        whole[removals.row, removals.attribute] = values.double()
        return whole

    network, true = spread(after - before[removals.row]), spread(removals.change)
    compared = {"network": (network, network, true), "stated": (-worth, -worth, network), "true": (true, -worth, true)}
    at = torch.arange(worth.shape[1], dtype=torch.float64, device=worth.device)
    return {
        f"removal_{name}": Curve(at, shown.where(visible, torch.nan), kendall(one, other, visible))
        for name, (shown, one, other) in compared.items()
    }
