"""Agreement of the explanations of two networks that differ by the seed of their training alone."""

from torch import Tensor

from evident.errors import UserError
from evident.metrics.contract import Explanation, heatmaps, metric
from evident.metrics.contributions import correlation
from evident.metrics.rank import average_ranks


@metric(direction="higher", needs=("rebuild", "twin"))
def twin_agreement(explanation: Explanation) -> dict[str, Tensor]:
    """Compute the agreement of the heatmaps of a network and its twin for the same images and targets: two scores (N,).

        twin_agreement_pearson     Pearson's correlation over pixels                     in [-1, 1]
        twin_agreement_spearman    Spearman's, that of the ranks; ties share their rank  in [-1, 1]

    The twin has the same architecture and training set, and another seed of its weights and of the order of its images.
    The explainer is built for it anew and learns anew, if it learns. Two networks may solve a task by different
    evidence, so a low agreement alone does not show that an explainer is wrong; and a map that does not depend on the
    network, such as one of edges, agrees perfectly. NaN where one of the heatmaps is constant or has non-finite values.
    Costs one explanation. Raises `UserError` without the function that rebuilds the explainer, or without a twin.
    Source: ours.
    """
    if explanation.rebuild is None or explanation.twin is None:
        raise UserError("twin_agreement explains a twin network; give rebuild and twin to the Explanation")
    explainer = explanation.rebuild(explanation.twin)
    twin = heatmaps(explainer, explanation.images, explanation.target, explanation.mask)
    first, second = (heatmap.detach().flatten(1).double() for heatmap in (explanation.heatmap, twin))
    return {
        "twin_agreement_pearson": correlation(first, second),
        "twin_agreement_spearman": correlation(average_ranks(first), average_ranks(second)),
    }
