"""Class discrimination: whether the explanation of a class excludes evidence of another class in the same image.

The truth is known for images of two objects side by side (`evident.data.composites`): all evidence of a class lies in
its own half. This is the grid pointing game (Böhle, Fritz, Schiele 2021, arXiv 2104.00032) on a grid of two cells; as
the masks of the objects are known, it is also computed on the objects. For single photographs, `class_overlap`
compares the explanations of the two most likely classes with each other.
"""

import torch
from torch import Tensor

from evident.errors import UserError
from evident.explainers.shared.targets import ask_for_classes
from evident.metrics.contract import Explanation, heatmaps, metric


@metric(direction="higher", needs=("mask", "other"))
def discrimination(explanation: Explanation) -> dict[str, Tensor]:
    """Compute how much of an explanation belongs to its own class in an image of two objects: three scores (N,).

    With h+ the positive part of the heatmap, each in [0, 1]:

        discrimination_mass       sum of h+ on the own object / sum of h+ on both objects
        discrimination_half       sum of h+ in the own half / sum of h+
        discrimination_pointing   1 if the maximum is in the own half, else 0; the share of maxima if there are several

    A heatmap that does not depend on the class scores 1/2 on average. NaN where the denominator is zero, for a heatmap
    with non-finite values and where both masks are empty; `discrimination_mass` also where one mask is empty. Raises
    `UserError` without the masks of both objects.
    """
    if explanation.mask is None or explanation.other is None:
        raise UserError("discrimination needs the masks of two classes; use a data set of composites, or leave it out")
    heatmap, own, other = explanation.heatmap.detach().double(), explanation.mask, explanation.other
    left = torch.arange(own.shape[2], device=own.device) < own.shape[2] // 2
    lies_left = ((own & left) | (other & ~left)).flatten(1).any(1)
    lies_right = ((own & ~left) | (other & left)).flatten(1).any(1)
    half = (left == lies_left[:, None])[:, None]
    relevance = heatmap.clamp(min=0)
    on_own, on_other = ((relevance * mask).sum((1, 2)) for mask in (own, other))
    maxima = heatmap == heatmap.amax((1, 2), keepdim=True)
    known = heatmap.flatten(1).isfinite().all(1) & (lies_left != lies_right)
    both = own.flatten(1).any(1) & other.flatten(1).any(1)
    scores = {
        "discrimination_mass": (on_own / (on_own + on_other)).where(both, torch.nan),
        "discrimination_half": (relevance * half).sum((1, 2)) / relevance.sum((1, 2)),
        "discrimination_pointing": (maxima & half).sum((1, 2)).double() / maxima.sum((1, 2)),
    }
    return {name: score.where(known, torch.nan) for name, score in scores.items()}


@metric(direction="lower", needs=("model", "explainer"))
def class_overlap(explanation: Explanation, least: float = 0.1) -> Tensor:
    """Compute sum_i min(a_i, b_i) (N,) in [0, 1] for the heatmaps a and b of the two most likely classes.

    a and b are the positive parts, each divided by its sum: 1 for an explainer that gives all classes the same
    heatmap, 0 if no pixel is evidence of both classes. NaN where the probability of the second class is below `least`
    (the image hardly shows it), and for a heatmap with non-finite or without positive values. Raises `UserError`
    without a model or an explainer, and for a regression.
    Source: Wagner et al. 2019 (claim d of experiments/fgvis); the intersection of histograms: Swain, Ballard 1991.
    """
    images, target, model, explainer = explanation.images, explanation.target, explanation.model, explanation.explainer
    if model is None or explainer is None:
        raise UserError("class_overlap explains two classes; give the explainer and the model to the Explanation")
    ask_for_classes(model, "class_overlap")
    with torch.no_grad():
        probability, classes = model(images).double().softmax(1).topk(2)
    likely = probability[:, 1] >= least
    shares = []
    for wanted in classes.T:
        relevance = explanation.heatmap.detach().clone().double()
        # The heatmap of the target is known already.
        if (new := likely & (wanted != target)).any():
            mask = None if explanation.mask is None else explanation.mask[new]
            relevance[new] = heatmaps(explainer, images[new], wanted[new], mask).detach().double()
        relevance = relevance.flatten(1).clamp(min=0)
        shares.append(relevance / relevance.sum(1, keepdim=True))
    return torch.minimum(*shares).sum(1).where(likely, torch.nan)
