r"""Agreement of an explanation with the true contributions of pixels and attributes, for scenes of known truth.

a (H, W) is the signed heatmap and t (H, W) the true contribution of each pixel to the score; their units may differ.
M_k are the pixels that show attribute k, c_k is its true contribution, and V the attributes that are visible (c_k is
not zero):

    map_correlation   Pearson's correlation of a and t over pixels
    map_sign          sum |a| 1[a t > 0] / sum |a|: the share of the attribution that has the true sign
    attribute_sign    the share of V for which sum_{M_k} a has the sign of c_k
    attribute_rank    Kendall's tau-b over V of sum_{M_k} a and c_k

A heatmap has no attributes, so `attribute_sign` and `attribute_rank` use the true masks. `stated_sign` and
`stated_rank` are the same measures of contributions s_k that the explainer states by name, without masks. In addition:

    stated_absent     sum_{k not in V} |s_k| / sum_k |s_k|: the share stated for attributes that are not in the image
    typical_rank      tau-b over V of the typical contribution of each attribute and c_k: a baseline that does not see
                      the image
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from evident.contracts import ShowsAttributes, SumsContributions
from evident.errors import UserError
from evident.explainers.shared.targets import target_scores
from evident.metrics.contract import Curve, Explanation, metric
from evident.metrics.localization import average_precision, pointing_game
from evident.metrics.rank import kendall
from evident.values import Truth


def truth_of(explanation: Explanation) -> Truth:
    """Return the truth of an explanation; raise `UserError` if it is not known."""
    if explanation.truth is None:
        raise UserError("this metric needs scenes of known truth; leave it out or use data=landscapes")
    return explanation.truth


def signed_of(explanation: Explanation) -> Tensor:
    """Return the signed heatmaps (N, H, W) float64, NaN for images with non-finite values.

    Raises `UserError` for an explanation without signed heatmaps.
    """
    if explanation.signed is None:
        raise UserError("this metric needs signed heatmaps, which only regressions have; leave it out")
    signed = explanation.signed.detach().double()
    return signed.where(signed.flatten(1).isfinite().all(1)[:, None, None], torch.nan)


def attribute_sums(attribute_masks: Tensor, signed: Tensor) -> Tensor:
    """Return sum_{M_k} a (N, K): the sum of a signed heatmap over the pixels of each attribute."""
    return torch.einsum("nkhw,nhw->nk", attribute_masks.to(signed), signed)


def correlation(a: Tensor, t: Tensor) -> Tensor:
    """Return Pearson's correlation (N,) of maps (N, P) over positions, NaN where one of them is constant."""
    centred = [values - values.mean(1, keepdim=True) for values in (a, t)]
    lengths = [values.norm(dim=1) for values in centred]
    # Rounding makes the variance of a constant map slightly larger than zero.
    varies = [length > 1e-9 * values.norm(dim=1) for length, values in zip(lengths, (a, t), strict=True)]
    return ((centred[0] * centred[1]).sum(1) / (lengths[0] * lengths[1])).where(varies[0] & varies[1], torch.nan)


def agreement(stated: Tensor, true: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """Return the share of equal signs and tau-b (N,) of stated and true contributions (N, K).

    Only attributes marked in `counted` (N, K) bool are used. NaN if none is marked, or if there is nothing to rank.
    """
    right = ((stated * true > 0) & counted).sum(1).double() / counted.sum(1)
    return right.masked_fill(stated.isnan().any(1), torch.nan), kendall(stated, true, counted)


@metric(direction="higher", needs=("truth", "signed"))
def contribution_map(explanation: Explanation) -> dict[str, Tensor]:
    """Compute `map_correlation` (N,) in [-1, 1] and `map_sign` (N,) in [0, 1], as defined above.

    The correlation is NaN for a constant map, the sign for a map of zeros. Raises `UserError` without the truth or
    signed heatmaps.
    """
    a, t = signed_of(explanation).flatten(1), truth_of(explanation).contribution_map.flatten(1).double()
    total = a.abs().sum(1)
    return {
        "map_correlation": correlation(a, t),
        "map_sign": ((a.abs() * (a * t > 0)).sum(1) / total).where(total > 0, torch.nan),
    }


@metric(direction="higher", needs=("truth", "signed"))
def attribute_contributions(explanation: Explanation) -> dict[str, Tensor]:
    """Compute `attribute_sign` (N,) in [0, 1] and `attribute_rank` (N,) in [-1, 1], as defined above.

    Raises `UserError` without the truth or signed heatmaps.
    """
    truth = truth_of(explanation)
    sums = attribute_sums(truth.attribute_masks, signed_of(explanation))
    sign, rank = agreement(sums, truth.contributions, truth.contributions != 0)
    return {"attribute_sign": sign, "attribute_rank": rank}


@metric(
    direction={"stated_sign": "higher", "stated_rank": "higher", "stated_absent": "lower", "typical_rank": "neither"},
    needs=("truth", "contributions"),
)
def stated_contributions(explanation: Explanation) -> dict[str, Tensor]:
    """Compute `stated_sign`, `stated_absent` (N,) in [0, 1] and `stated_rank`, `typical_rank` (N,) in [-1, 1].

    All are defined above. Raises `UserError` without the truth or stated contributions.
    """
    truth, stated = truth_of(explanation), explanation.contributions
    if stated is None:
        raise UserError("stated_contributions needs contributions by attribute; use an explainer that states them")
    stated, visible = stated.detach().double(), truth.attribute_masks.flatten(2).any(2)
    sign, rank = agreement(stated, truth.contributions, truth.contributions != 0)
    size = stated.abs()
    absent = (size * ~visible).sum(1) / size.sum(1)
    _, typical = agreement(truth.typical.double(), truth.contributions, truth.contributions != 0)
    return {"stated_sign": sign, "stated_rank": rank, "stated_absent": absent, "typical_rank": typical}


@metric(direction="lower", needs=("model", "signed", "contributions"))
def split_error(explanation: Explanation) -> Tensor:
    """Compute by how much a sum misses the score that it should equal (N,): max(|b + sum s - y|, |b + sum a - y|).

    b is the network's bias, s (K,) the stated contributions, a (H, W) the signed heatmap and y the score. Raises
    `UserError` for a network whose outputs are not such sums, and without stated contributions or signed heatmaps.
    """
    model, stated = explanation.model, explanation.contributions
    if model is None or stated is None or not isinstance(model, SumsContributions):
        raise UserError("split_error needs contributions that sum to the score; use model=siam explainer=siam")
    bias = model.output_bias().detach().double()[explanation.target]
    with torch.no_grad():
        score = target_scores(model(explanation.images), explanation.target).double()
    sums = torch.stack([stated.detach().double().sum(1), signed_of(explanation).sum((1, 2))])
    return (bias + sums - score).abs().amax(0)


@metric(direction="higher", needs=("truth", "attribute_maps"))
def attribute_maps(explanation: Explanation, batch_size: int = 256) -> dict[str, Curve]:
    """Compute how well the map of each attribute finds the pixels of its attribute.

    `maps_pointing` and `maps_precision` compare the maps (N, K, h, w), placed in the image by the explainer (without
    one, resized), with the true masks, by the pointing game and by the average precision of pixels. Their curves hold
    the value of attribute k at position k, NaN where it is not visible; their scores (N,) are means over visible
    attributes. `batch_size` maps are scored at once. Raises `UserError` without maps or the truth.
    """
    truth, maps = truth_of(explanation), explanation.attribute_maps
    if maps is None:
        raise UserError("attribute_maps needs a network that predicts attributes; use model=siam")
    masks = truth.attribute_masks
    visible = masks.flatten(2).any(2)
    rows = visible.nonzero()
    at = torch.arange(masks.shape[1], dtype=torch.float64, device=masks.device)
    measures = {"maps_pointing": pointing_game, "maps_precision": average_precision}
    values = {name: torch.full(masks.shape[:2], torch.nan, dtype=torch.float64).to(masks.device) for name in measures}
    for image, attribute in (part.unbind(1) for part in rows.split(batch_size)):
        images, small = explanation.images[image], maps[image, attribute][:, None].double()
        if isinstance(explanation.explainer, ShowsAttributes):
            large = explanation.explainer.place_maps(small, images)[:, 0]
        else:
            large = F.interpolate(small, masks.shape[-2:], mode="bilinear")[:, 0]
        single = Explanation(images, attribute, large, masks[image, attribute])
        for name, score in measures.items():
            values[name][image, attribute] = score(single)
    # An image with a non-finite map has no score.
    means = {name: each.where(visible, 0).sum(1) / visible.sum(1) for name, each in values.items()}
    return {name: Curve(at, each, means[name], axis="attributes") for name, each in values.items()}
