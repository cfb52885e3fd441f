"""Coverage: how much of the true evidence a heatmap covers, beside the purity that `mass_accuracy` measures.

Precision-like scores, such as average precision, rank every pixel of the mask. A sparse heatmap that marks the evidence
by outlines or scattered pixels loses there however pure it is. Coverage asks only whether a marked pixel is near.
"""

import torch
from torch import Tensor

from evident.errors import UserError
from evident.metrics.contract import Explanation, metric
from evident.metrics.localization import dilated, pixels_and_masks, where_defined


# The longer name first, because a direction holds for every suffix.
@metric(direction={"coverage_excess": "higher", "coverage": "neither"}, needs=("mask",))
def coverage(explanation: Explanation, share: float = 0.95, margin: float = 0.02) -> dict[str, Tensor]:
    """Compute which share of the mask a heatmap covers, and its excess over the share of other pixels: two scores (N,).

    T is the smallest set of highest pixels that holds `share` of the positive heatmap; pixels of equal height enter
    together. D is T with all pixels at most `margin` (a share of the longer side, rounded to whole pixels) from it, and
    F the pixels that are farther than that from the mask M:

        coverage          |D and M| / |M|                           in [0, 1]
        coverage_excess   |D and M| / |M| - |D and F| / |F|         in [-1, 1]

    `coverage` is a recall: a constant or a noisy map covers everything and scores near one, so it is no merit alone and
    belongs beside the purity, `mass_accuracy`. `coverage_excess` needs no second score: the mask itself scores one, a
    constant map zero and a random one about zero. NaN for an empty mask, for a heatmap without positive values and for
    one with non-finite values; `coverage_excess` also where F is empty. Raises `UserError` without masks, for a `share`
    outside (0, 1] and for a `margin` outside [0, 1).
    Source: ours; the difference of two such shares is Youden's index.
    """
    if not (0 < share <= 1 and 0 <= margin < 1):
        raise UserError(f"share={share}, margin={margin}: coverage needs 0 < share <= 1 and 0 <= margin < 1")
    heatmap, mask = pixels_and_masks(explanation, "coverage")
    shape = explanation.heatmap.shape
    radius = round(margin * max(shape[1:]))
    covered = dilated(_highest(heatmap, share).view(shape), radius).flatten(1)
    far = ~dilated(mask.view(shape), radius).flatten(1)
    of_mask, of_far = ((covered & part).sum(1).double() / part.sum(1) for part in (mask, far))
    positive = (heatmap > 0).any(1)
    scores = {"coverage": of_mask, "coverage_excess": of_mask - of_far}
    return {name: where_defined(score.where(positive, torch.nan), heatmap, mask) for name, score in scores.items()}


def _highest(heatmap: Tensor, share: float) -> Tensor:
    """Return the smallest set of highest pixels (N, P) bool that holds `share` of the positive values of heatmaps."""
    positive = heatmap.clamp(min=0).nan_to_num(posinf=0)
    values = positive.sort(1, descending=True).values
    # Whole numbers: a GPU has no deterministic cumulative sum of others.
    held = (values / values.sum(1, keepdim=True) * 2**40).nan_to_num().round().long().cumsum(1)
    short = (held < share * held[:, -1:]).sum(1, keepdim=True)
    return (positive >= values.gather(1, short)) & (positive > 0)
