r"""Effect of removing an attribute: scenes are rendered again without one attribute, and changes are compared.

x is a scene, x_k the same scene without attribute k, S the true score and s the network's score:

    D_k = S(x_k) - S(x)      the true effect of the removal, including what becomes visible behind the attribute
    d_k = s(x_k) - s(x)      the effect on the network's score
    -c_k                     the effect predicted by the explanation; c_k is the sum of the signed heatmap over the
                             pixels of attribute k

The measures are Kendall's tau-b over the visible attributes of each image:

    removal_network    d and D: does the network respond as the true score does? (a measure of the network)
    removal_faithful   -c and d: does the explanation predict the network?
    removal_true       -c and D: does the explanation predict the true effect?

A further measure asks where the network's effects are, at the resolution of its own maps:

    removal_map        Pearson's correlation, over cells, of the signed heatmap and sum_k -d_k M_k / |M_k|, the effect
                       of each visible attribute spread evenly over its pixels M_k

A heatmap has no attributes, so c_k uses the true masks. `stated_removal_faithful` and `stated_removal_true` are the
last two measures for contributions c_k that the explainer states by name, without masks. `typical_removal_true` uses
the typical contribution of each attribute instead: a baseline that does not see the image.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from evident.errors import UserError
from evident.explainers.shared.targets import target_scores
from evident.metrics.contract import Curve, Explanation, metric
from evident.metrics.contributions import attribute_sums, correlation, signed_of, truth_of
from evident.metrics.rank import kendall


@metric(
    # `removal_network` measures the network, so for an explainer no direction is better.
    direction={"removal_network": "neither", "removal_faithful": "higher", "removal_true": "higher"},
    needs=("model", "truth", "signed", "removals"),
)
def removal(explanation: Explanation, batch_size: int = 64) -> dict[str, Curve]:
    """Compute `removal_network`, `removal_faithful` and `removal_true` (N,) in [-1, 1]; NaN with nothing to rank.

    Their curves (N, K) hold d_k, -c_k and D_k at position k, NaN where attribute k is not visible. `batch_size` images
    pass the network at once. Raises `UserError` without a model, the truth, signed heatmaps or removals.
    """
    predicted = -attribute_sums(truth_of(explanation).attribute_masks, signed_of(explanation))
    network, true, visible = _changes(explanation, batch_size)
    return {
        "removal_network": _ranked(network, network, true, visible),
        "removal_faithful": _ranked(predicted, predicted, network, visible),
        "removal_true": _ranked(true, predicted, true, visible),
    }


@metric(
    direction={
        "stated_removal_faithful": "higher", "stated_removal_true": "higher", "typical_removal_true": "neither",
    },
    needs=("model", "truth", "contributions", "removals"),
)  # fmt: skip
def stated_removal(explanation: Explanation, batch_size: int = 64) -> dict[str, Curve]:
    """Compute `stated_removal_faithful`, `stated_removal_true` and `typical_removal_true` (N,) in [-1, 1].

    NaN with nothing to rank. Their curves (N, K) hold -c_k, D_k and minus the typical contribution at position k, NaN
    where attribute k is not visible. `batch_size` images pass the network at once. Raises `UserError` without a model,
    the truth, stated contributions or removals.
    """
    if explanation.contributions is None:
        raise UserError("stated_removal needs contributions by attribute; use an explainer that states them")
    stated, typical = -explanation.contributions.detach().double(), -truth_of(explanation).typical.double()
    network, true, visible = _changes(explanation, batch_size)
    return {
        "stated_removal_faithful": _ranked(stated, stated, network, visible),
        "stated_removal_true": _ranked(true, stated, true, visible),
        "typical_removal_true": _ranked(typical, typical, true, visible),
    }


@metric(direction="higher", needs=("model", "truth", "signed", "removals"))
def removal_map(explanation: Explanation, cells: int, batch_size: int = 64) -> Tensor:
    """Compute `removal_map` (N,) in [-1, 1] over `cells` x `cells` cells; NaN where a map is constant.

    `batch_size` images pass the network at once. Raises `UserError` without a model, the truth, signed heatmaps or
    removals.
    """
    masks, signed = truth_of(explanation).attribute_masks, signed_of(explanation)
    network, _, _ = _changes(explanation, batch_size)
    shares = masks.double() / masks.sum((2, 3), keepdim=True).clamp(min=1)
    effects = torch.einsum("nk,nkhw->nhw", -network, shares)
    return correlation(*(F.adaptive_avg_pool2d(values, cells).flatten(1) for values in (signed, effects)))


def _ranked(values: Tensor, first: Tensor, second: Tensor, visible: Tensor) -> Curve:
    """Return a curve with `values` (N, K), scored by tau-b of `first` and `second` (N, K) over visible attributes."""
    at = torch.arange(visible.shape[1], dtype=torch.float64, device=visible.device)
    return Curve(at, values.where(visible, torch.nan), kendall(first, second, visible), axis="attributes")


def _changes(explanation: Explanation, batch_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return d and D (N, K), zero where attribute k is not visible, and which attributes are visible (N, K) bool."""
    truth, removals, model = truth_of(explanation), explanation.removals, explanation.model
    if removals is None or model is None:
        raise UserError("removal needs the network and scenes without each of their attributes; use data=landscapes")
    target = explanation.target
    with torch.no_grad():
        both = torch.cat([explanation.images, removals.images])
        parts = zip(both.split(batch_size), torch.cat([target, target[removals.row]]).split(batch_size), strict=True)
        scores = torch.cat([target_scores(model(images), own).double() for images, own in parts])
        before, after = scores.split([len(target), len(removals.row)])
    shape = truth.attribute_masks.shape[:2]

    def by_attribute(values: Tensor) -> Tensor:
        """Return values (P,) of the removals by image and attribute (N, K)."""
        table = torch.zeros(shape, dtype=torch.float64, device=values.device)
        table[removals.row, removals.attribute] = values.double()
        return table

    visible = by_attribute(torch.ones_like(removals.change)).bool()
    return by_attribute(after - before[removals.row]), by_attribute(removals.change), visible
