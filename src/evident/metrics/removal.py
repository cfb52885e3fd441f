r"""What would be without it: scenes painted again without one attribute, the test that only a known world allows.

Of a scene x, of the same one without attribute k, x_k, and of the true score S and the network's s,

    D_k = S(x_k) - S(x)      what its removal truly does, with what comes to light behind it
    d_k = s(x_k) - s(x)      what it does to the network's score
    -c_k                     what it should do by the explanation: c_k the sum of its map over the attribute's pixels

over the attributes that are visible in x, by Kendall's tau-b of each image:

    removal_network    d and D: does the network know what things are worth? (the report's, of networks)
    removal_faithful   -c and d: does the explanation say what the network does?
    removal_true       -c and D: does the explanation say what is true?

So a map, which knows no attributes, is told where each of them is. `stated_removal_faithful` and `stated_removal_true`
are the last two of contributions c_k that an explainer states by name, of which nothing is told to it; beside them
`typical_removal_true` is that of the attributes' usual worth, which has not seen the image.
"""

import torch
from torch import Tensor

from evident.errors import UserError
from evident.explainers.shared.targets import target_scores
from evident.metrics.contract import Curve, Explanation, metric
from evident.metrics.contributions import given_to, signed_of, truth_of
from evident.metrics.rank import kendall


@metric(
    # What the network knows is no merit of the explainer's.
    direction={"removal_network": "neither", "removal_faithful": "higher", "removal_true": "higher"},
    needs=("model", "truth", "signed", "removals"),
)
def removal(explanation: Explanation, batch_size: int = 64) -> dict[str, Curve]:
    """`removal_network`, `removal_faithful` and `removal_true` (N,) in [-1, 1], as above; NaN with nothing to rank.

    Their curves (N, K) hold, for attribute k at k, d_k, -c_k and D_k, NaN where it is not visible. `batch_size` images
    go through the network at once. Raises `UserError` without a model, the truth or scenes that were painted again.
    """
    said = -given_to(truth_of(explanation).attribute_masks, signed_of(explanation))
    network, true, visible = _changes(explanation, batch_size)
    return {
        "removal_network": _ranked(network, network, true, visible),
        "removal_faithful": _ranked(said, said, network, visible),
        "removal_true": _ranked(true, said, true, visible),
    }


@metric(
    direction={
        "stated_removal_faithful": "higher", "stated_removal_true": "higher", "typical_removal_true": "neither",
    },
    needs=("model", "truth", "contributions", "removals"),
)  # fmt: skip
def stated_removal(explanation: Explanation, batch_size: int = 64) -> dict[str, Curve]:
    """`stated_removal_faithful`, `stated_removal_true` and `typical_removal_true` (N,) in [-1, 1], as above.

    NaN with nothing to rank. Their curves (N, K) hold -c_k, D_k and minus what k is usually worth, NaN where it is not
    visible. `batch_size` images go through the network at once. Raises `UserError` without a model, the truth,
    contributions or scenes that were painted again.
    """
    if explanation.contributions is None:
        raise UserError("stated_removal needs contributions by attribute; choose an explainer that states them")
    said, typical = -explanation.contributions.detach().double(), -truth_of(explanation).typical.double()
    network, true, visible = _changes(explanation, batch_size)
    return {
        "stated_removal_faithful": _ranked(said, said, network, visible),
        "stated_removal_true": _ranked(true, said, true, visible),
        "typical_removal_true": _ranked(typical, typical, true, visible),
    }


def _ranked(shown: Tensor, one: Tensor, other: Tensor, visible: Tensor) -> Curve:
    """Tau-b of two (N, K) over the attributes `visible` (N, K) bool, with the points of the curve that is `shown`."""
    at = torch.arange(visible.shape[1], dtype=torch.float64, device=visible.device)
    return Curve(at, shown.where(visible, torch.nan), kendall(one, other, visible))


def _changes(explanation: Explanation, batch_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """d, D (N, K), zero where attribute k is not visible, and whether it is."""
    truth, removals, model = truth_of(explanation), explanation.removals, explanation.model
    if removals is None or model is None:
        raise UserError("removal needs the network and scenes without each of their attributes; use data=landscapes")
    target = explanation.target
    with torch.no_grad():
        shown = torch.cat([explanation.images, removals.images])
        parts = zip(shown.split(batch_size), torch.cat([target, target[removals.row]]).split(batch_size), strict=True)
        scores = torch.cat([target_scores(model(images), own).double() for images, own in parts])
        before, after = scores.split([len(target), len(removals.row)])
    shape = truth.attribute_masks.shape[:2]

    def placed(values: Tensor) -> Tensor:
        """Values (P,) of the removals at their places (N, K)."""
        whole = torch.zeros(shape, dtype=torch.float64, device=values.device)
        whole[removals.row, removals.attribute] = values.double()
        return whole

    visible = placed(torch.ones_like(removals.change)).bool()
    return placed(after - before[removals.row]), placed(removals.change), visible
