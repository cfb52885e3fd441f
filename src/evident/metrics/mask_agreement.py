"""Agreement of a heatmap with the mask of the true evidence as a whole: correlation and Jaccard index."""

from torch import Tensor

from evident.metrics.contract import Explanation, metric
from evident.metrics.contributions import correlation
from evident.metrics.localization import pixels_and_masks, rank_accuracy, where_defined


@metric(direction="higher", needs=("mask",))
def mask_correlation(explanation: Explanation) -> Tensor:
    """Compute Pearson's correlation (N,) in [-1, 1] of the heatmap and the mask, as 0 and 1, over pixels.

    A map that does not depend on the mask scores 0 on average, and the mask itself, in any units, scores 1. Unlike the
    rank of pixels, the correlation depends on the contrast of the heatmap: a few very high pixels lower it wherever
    they are. NaN for a constant heatmap, for a mask that is empty or covers the image, and for non-finite values.
    Raises `UserError` without masks.
    """
    heatmap, mask = pixels_and_masks(explanation, "mask_correlation")
    return where_defined(correlation(heatmap, mask.double()), heatmap, mask)


@metric(direction="higher", needs=("mask",))
def mask_jaccard(explanation: Explanation) -> Tensor:
    """Compute the Jaccard index |T and M| / |T or M| (N,) in [0, 1] of the mask M and the K = |M| highest pixels T.

    With r the rank accuracy, |T and M| = r K, so the index is r / (2 - r): the order of methods on one image is that of
    `rank_accuracy`, and only means over images differ. Pixels that tie at the K-th value count by their expectation in
    r. NaN for an empty mask and for non-finite values. Raises `UserError` without masks.
    Source: Jaccard 1912; rank accuracy: Arras, Osman, Samek 2022, arXiv 2003.07258.
    """
    r = rank_accuracy(explanation)
    return r / (2 - r)
