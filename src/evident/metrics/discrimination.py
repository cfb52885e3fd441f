"""Does an explanation of one class leave out what belongs to another class of the same image?

Where two objects are side by side (`evident.data.composites`), the truth is known: all evidence of a class lies in its
own half. That is the grid pointing game (Böhle, Fritz, Schiele 2021, arXiv 2104.00032) of a grid of two, and, as the
objects are known, of the objects too. In single photographs the explanations of two likely classes can only be
compared with each other.
"""

import torch
from torch import Tensor

from evident.errors import UserError
from evident.explainers.shared.targets import ask_for_classes
from evident.metrics.contract import Explanation, explain, metric


@metric(direction="higher", needs=("mask", "other"))
def discrimination(explanation: Explanation) -> dict[str, Tensor]:
    """How much of an explanation is of its own class, in an image of two side by side: three scores (N,) in [0, 1].

    With h+ the positive heatmap, `discrimination_mass` is sum h+ on the class's own object / sum h+ on either object,
    `discrimination_half` is sum h+ in its own half / sum h+, `discrimination_pointing` whether the maximum is in its
    own half, and the share of maxima where there are several. 1/2 is what a map scores that knows nothing of the class.
    NaN where the sum divided by is zero, for a heatmap that is not finite, where neither object is marked, and for
    the objects also where one of them is not. Raises `UserError` without masks of both.
    """
    if explanation.mask is None or explanation.other is None:
        raise UserError("discrimination needs the masks of two classes; use composites, or leave it out of metric")
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
    """sum_i min(a_i, b_i) (N,) in [0, 1] of the positive heatmaps a and b of the two most likely classes.

    Each is divided by its sum first: 1 for an explainer that gives every class the same, 0 where no pixel speaks for
    both. NaN where the second class has a probability below `least`, so that it is hardly in the image, or a heatmap
    has nothing positive or is not finite. Raises `UserError` without a model or an explainer, and for a regression.
    Source: PAPERS 2, claim (d); the intersection of histograms: Swain, Ballard 1991.
    """
    images, target, model, explainer = explanation.images, explanation.target, explanation.model, explanation.explainer
    if model is None or explainer is None:
        raise UserError("class_overlap asks the explainer of two classes; give it and the model to the Explanation")
    ask_for_classes(model, "class_overlap")
    with torch.no_grad():
        probability, classes = model(images).double().softmax(1).topk(2)
    asked = probability[:, 1] >= least
    shares = []
    for wanted in classes.T:
        relevance = explanation.heatmap.detach().clone()
        # Of the class explained already the answer is known.
        if (new := asked & (wanted != target)).any():
            mask = None if explanation.mask is None else explanation.mask[new]
            relevance[new] = explain(explainer, images[new], wanted[new], mask).detach()
        relevance = relevance.flatten(1).double().clamp(min=0)
        shares.append(relevance / relevance.sum(1, keepdim=True))
    return torch.minimum(*shares).sum(1).where(asked, torch.nan)
