"""How much a network's score hangs on the pixels that a heatmap ranks first."""

import torch
from torch import Tensor

from evident.errors import UserError
from evident.explainers.shared.targets import probability, target_scores
from evident.metrics.contract import Curve, Explanation, metric
from evident.models.reference_images import Reference, reference_images


def ranks(heatmap: Tensor, seed: int) -> Tensor:
    """Rank (N, HW) of every pixel, 0 for the highest.

    Tied pixels follow one random order, the same for all images: in raster order, a constant map would say
    that the top of the image matters.
    """
    heatmap = heatmap.detach().flatten(1)
    generator = torch.Generator().manual_seed(seed)
    shuffle = torch.randperm(heatmap.shape[1], generator=generator).to(heatmap.device)
    order = shuffle[heatmap[:, shuffle].argsort(dim=1, descending=True, stable=True)]
    return order.argsort(dim=1)


@metric(direction={"deletion": "lower", "insertion": "higher"}, needs=("model",))
def deletion_insertion(
    explanation: Explanation,
    reference: Reference = "mean_colour",
    steps: int = 100,
    batch_size: int = 64,
    seed: int = 0,
) -> dict[str, Curve]:
    """Target probability as a heatmap's highest pixels are taken from the image, or given to its reference.

    deletion(f) = softmax(model(image, its top share f of pixels replaced by the reference))[target],
    insertion(f) = softmax(model(reference, its top share f of pixels replaced by the image))[target],
    at f = 0, 1/steps, ..., 1, rounded to whole pixels. The curves (N, steps + 1) in [0, 1] are named
    `deletion_{reference}` and `insertion_{reference}`, and NaN for a heatmap that is not finite. Of a regression they
    follow the score itself, in its units: as heatmaps rank first what raises it, low deletion and high insertion are
    better again. `batch_size` images go through the model at once, in the mode it is in; `seed` orders tied pixels.
    Raises `UserError` without a model or steps, and for an unknown reference.
    Source: Petsiuk, Das, Saenko 2018, arXiv 1806.07421 (RISE).
    """
    images, target, model = explanation.images, explanation.target, explanation.model
    if model is None:
        raise UserError("deletion_insertion needs the model that was explained; give it to the Explanation")
    if steps < 1:
        raise UserError(f"steps={steps} leaves no curve; use 1 or more")
    height, width = images.shape[-2:]
    order = ranks(explanation.heatmap, seed).view(-1, 1, height, width)
    # Not the step to f = 1: the last point of either curve is the first of the other, so it is computed once.
    top = (torch.arange(steps, device=images.device) * height * width + steps // 2) // steps
    rows = torch.arange(2 * steps * len(images), device=images.device)
    followed = []
    with torch.no_grad():
        without = reference_images(images, model, reference)
        for batch in rows.split(batch_size):
            inserting, step, image = torch.unravel_index(batch, (2, steps, len(images)))
            chosen = order[image] < top[step].view(-1, 1, 1, 1)
            shown = chosen == inserting.bool().view(-1, 1, 1, 1)
            scores = model(torch.where(shown, images[image], without[image]))
            followed.append(target_scores(probability(model, scores.double()), target[image]))
    values = torch.cat(followed).view(2, steps, len(images))
    values[:, :, ~explanation.heatmap.flatten(1).isfinite().all(1)] = torch.nan
    deletion, insertion = values
    at = torch.linspace(0, 1, steps + 1, dtype=torch.float64, device=images.device)
    return {
        f"deletion_{reference}": Curve(at, torch.cat([deletion, insertion[:1]]).T),
        f"insertion_{reference}": Curve(at, torch.cat([insertion, deletion[:1]]).T),
    }
