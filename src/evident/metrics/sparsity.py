"""Sparsity: the smallest part of an image that is sufficient for its score."""

import torch
from torch import Tensor

from evident.errors import UserError
from evident.explainers.shared.targets import ask_for_classes, target_scores
from evident.metrics.contract import Explanation, metric
from evident.metrics.faithfulness import ranks
from evident.models.reference_images import reference_images


@metric(direction="lower", needs=("model",))
def sparsity(
    explanation: Explanation, share: float = 0.9, steps: int = 100, batch_size: int = 64, seed: int = 0
) -> Tensor:
    """Compute the smallest share f (N,) in [0, 1] of highest pixels that has the given `share` of the image's score.

        min f: p(mean colour, its top share f of pixels replaced by the image) >= share * p(image)

    p is the target's probability, and f = (k / steps)^2, k = 0, ..., steps, rounded to whole pixels: steps are finest
    for small evidence. This inverts the insertion curve (`deletion_insertion`), so explanations of all kinds are
    compared at equal score. NaN for a heatmap with non-finite values, and where the score of the image is 0.
    `batch_size` images pass the model at once; `seed` orders tied pixels. Raises `UserError` without a model, for
    `steps` below 1, unless 0 < share <= 1, and for a regression, whose output has no natural zero.
    Source: Wagner et al. 2019; the smallest sufficient region of Dabkowski, Gal 2017, arXiv 1705.07857, with pixels
    instead of a crop.
    """
    images, target, model = explanation.images, explanation.target, explanation.model
    if model is None:
        raise UserError("sparsity needs the model that was explained; give it to the Explanation")
    if not 0 < share <= 1 or steps < 1:
        raise UserError(f"share={share}, steps={steps}: sparsity needs 0 < share <= 1 and steps >= 1")
    ask_for_classes(model, "sparsity")
    height, width = images.shape[-2:]
    order = ranks(explanation.heatmap, seed).view(-1, 1, height, width)
    at = torch.linspace(0, 1, steps + 1, dtype=torch.float64, device=images.device).square()
    top = (at * height * width).round()
    rows = torch.arange((steps + 1) * len(images), device=images.device)
    probability = []
    with torch.no_grad():
        without = reference_images(images, model, "mean_colour")
        for batch in rows.split(batch_size):
            step, image = torch.unravel_index(batch, (steps + 1, len(images)))
            shown = torch.where(order[image] < top[step].view(-1, 1, 1, 1), images[image], without[image])
            probability.append(target_scores(model(shown).double().softmax(1), target[image]))
    values = torch.cat(probability).view(steps + 1, -1)
    enough = values >= share * values[-1]
    smallest = top[enough.int().argmax(0)] / (height * width)
    defined = explanation.heatmap.flatten(1).isfinite().all(1) & (values[-1] > 0)
    return smallest.where(defined, torch.nan)
