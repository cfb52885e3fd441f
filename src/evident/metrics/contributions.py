r"""Does an explanation give each place and each attribute what it is truly worth? Of scenes whose truth is known.

With a (H, W) the explanation with its sign and t (H, W) the true contributions to the score, in the same units or not;
M_k the pixels that show attribute k, c_k its true contribution, not zero, and V the attributes that are visible:

    map_correlation   Pearson's correlation of a and t over pixels
    map_sign          sum |a| 1[a t > 0] / sum |a|: the share of what is said that has the right sign where it is said
    attribute_sign    the share of V for which sum_{M_k} a has the sign of c_k
    attribute_rank    Kendall's tau-b over V of sum_{M_k} a and c_k

So an explanation that knows no attributes is told where each of them is. `stated_sign` and `stated_rank` are the last
two of contributions s_k that an explainer states by name, of which nothing is told to it; and

    stated_absent     sum_{k not in V} |s_k| / sum_k |s_k|: the share of what is stated that is of nothing in the image
    typical_rank      tau-b over V of what the attributes are usually worth and c_k: what a list says that has not
                      seen the image, which explains nothing of it
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from evident.data.scenes.splits import Truth
from evident.errors import UserError
from evident.explainers.shared.targets import target_scores
from evident.metrics.contract import Curve, Explanation, metric
from evident.metrics.localization import average_precision, pointing_game
from evident.metrics.rank import kendall


def truth_of(explanation: Explanation) -> Truth:
    """What is truly worth what; raises `UserError` where nobody knows."""
    if explanation.truth is None:
        raise UserError("this metric needs scenes whose truth is known; leave it out or choose data=landscapes")
    return explanation.truth


def signed_of(explanation: Explanation) -> Tensor:
    """The explanation with its sign (N, H, W) float64, NaN where it is not finite; `UserError` where it has none."""
    if explanation.signed is None:
        raise UserError("this metric needs an explanation with its sign; give it to the Explanation")
    signed = explanation.signed.detach().double()
    return signed.where(signed.flatten(1).isfinite().all(1)[:, None, None], torch.nan)


def given_to(attribute_masks: Tensor, signed: Tensor) -> Tensor:
    """sum_{M_k} a (N, K): what a map with signs gives to the pixels of each attribute."""
    return torch.einsum("nkhw,nhw->nk", attribute_masks.to(signed), signed)


def agreement(said: Tensor, true: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """The share of right signs and tau-b (N,) of what is said and true (N, K) of the attributes `counted` (N, K) bool.

    NaN where there is nothing to count, or to rank.
    """
    right = ((said * true > 0) & counted).sum(1).double() / counted.sum(1)
    return right.masked_fill(said.isnan().any(1), torch.nan), kendall(said, true, counted)


@metric(direction="higher", needs=("truth", "signed"))
def contribution_map(explanation: Explanation) -> dict[str, Tensor]:
    """`map_correlation` (N,) in [-1, 1] and `map_sign` (N,) in [0, 1], as above; NaN where nothing is said.

    The correlation is NaN where either map is constant.

    Raises `UserError` where the truth is not known.
    """
    a, t = signed_of(explanation).flatten(1), truth_of(explanation).contribution_map.flatten(1).double()
    centred = [values - values.mean(1, keepdim=True) for values in (a, t)]
    lengths = [values.norm(dim=1) for values in centred]
    # Of a constant map, rounding leaves a little.
    there = [length > 1e-9 * values.norm(dim=1) for length, values in zip(lengths, (a, t), strict=True)]
    correlation = (centred[0] * centred[1]).sum(1) / (lengths[0] * lengths[1])
    said = a.abs().sum(1)
    return {
        "map_correlation": correlation.where(there[0] & there[1], torch.nan),
        "map_sign": ((a.abs() * (a * t > 0)).sum(1) / said).where(said > 0, torch.nan),
    }


@metric(direction="higher", needs=("truth", "signed"))
def attribute_contributions(explanation: Explanation) -> dict[str, Tensor]:
    """`attribute_sign` (N,) in [0, 1] and `attribute_rank` (N,) in [-1, 1], as above.

    Raises `UserError` where the truth is not known.
    """
    truth = truth_of(explanation)
    sign, rank = agreement(
        given_to(truth.attribute_masks, signed_of(explanation)), truth.contributions, truth.contributions != 0
    )
    return {"attribute_sign": sign, "attribute_rank": rank}


@metric(
    direction={"stated_sign": "higher", "stated_rank": "higher", "stated_absent": "lower", "typical_rank": "neither"},
    needs=("truth", "contributions"),
)
def stated_contributions(explanation: Explanation) -> dict[str, Tensor]:
    """`stated_sign` and `stated_absent` (N,) in [0, 1], `stated_rank` and `typical_rank` (N,) in [-1, 1], as above.

    Raises `UserError` where the truth is not known, or nothing is stated.
    """
    truth, stated = truth_of(explanation), explanation.contributions
    if stated is None:
        raise UserError("stated_contributions needs contributions by attribute; choose an explainer that states them")
    stated, visible = stated.detach().double(), truth.attribute_masks.flatten(2).any(2)
    sign, rank = agreement(stated, truth.contributions, truth.contributions != 0)
    size = stated.abs()
    absent = (size * ~visible).sum(1) / size.sum(1)
    _, typical = agreement(truth.typical.double(), truth.contributions, truth.contributions != 0)
    return {"stated_sign": sign, "stated_rank": rank, "stated_absent": absent, "typical_rank": typical}


@metric(direction="lower", needs=("model", "signed", "contributions"))
def split_error(explanation: Explanation) -> Tensor:
    """How far bias and contributions, or bias and map, are from summing to the score (N,), whichever is further.

    Of networks whose score is said to be such a sum, with a `bias()`. Raises `UserError` for any other.
    """
    model: Any = explanation.model
    stated = explanation.contributions
    if stated is None or not hasattr(model, "bias"):
        raise UserError("split_error needs contributions that sum to the score; choose model=siam explainer=siam")
    bias = model.bias().detach().double()[explanation.target]
    with torch.no_grad():
        score = target_scores(model(explanation.images), explanation.target).double()
    sums = torch.stack([stated.detach().double().sum(1), signed_of(explanation).sum((1, 2))])
    return (bias + sums - score).abs().amax(0)


@metric(direction="higher", needs=("truth", "attribute_maps"))
def attribute_maps(explanation: Explanation, batch_size: int = 256) -> dict[str, Curve]:
    """Does each attribute's map find its attribute? Means over those that are visible (N,), and each by itself.

    `maps_pointing` and `maps_precision` are the pointing game and the average precision of pixels of the maps
    (N, K, h, w), up-sampled to the image, beside the masks; their curves hold attribute k at k, NaN where it is not
    visible. `batch_size` maps are scored at once. Raises `UserError` without maps, or where the truth is not known.
    """
    truth, maps = truth_of(explanation), explanation.attribute_maps
    if maps is None:
        raise UserError("attribute_maps needs a network with attribute maps; choose model=siam or its second baseline")
    masks = truth.attribute_masks
    visible = masks.flatten(2).any(2)
    rows = visible.nonzero()
    at = torch.arange(masks.shape[1], dtype=torch.float64, device=masks.device)
    found = {"maps_pointing": pointing_game, "maps_precision": average_precision}
    values = {name: torch.full(masks.shape[:2], torch.nan, dtype=torch.float64).to(masks.device) for name in found}
    for image, attribute in (part.unbind(1) for part in rows.split(batch_size)):
        large = F.interpolate(maps[image, attribute][:, None].double(), masks.shape[-2:], mode="bilinear")[:, 0]
        of_one = Explanation(explanation.images[image], attribute, large, masks[image, attribute])
        for name, score in found.items():
            values[name][image, attribute] = score(of_one)
    # One map that is not finite leaves the whole image without a score.
    means = {name: each.where(visible, 0).sum(1) / visible.sum(1) for name, each in values.items()}
    return {name: Curve(at, each, means[name]) for name, each in values.items()}
