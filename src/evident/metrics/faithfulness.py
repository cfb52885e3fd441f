"""Faithfulness: how much a network's score depends on the pixels that a heatmap ranks highest."""

import torch
from torch import Tensor, nn

from evident.contracts import Regressor
from evident.errors import UserError
from evident.explainers.shared.targets import probability, target_scores
from evident.metrics.contract import Curve, Explanation, metric
from evident.metrics.regions import Regions, region_labels, region_sums
from evident.models.reference_images import Reference, reference_images


def ranks(heatmap: Tensor, seed: int) -> Tensor:
    """Return the rank (N, HW) of every pixel, 0 for the highest.

    Tied pixels are ranked in one random order, the same for all images. In raster order, a constant map would rank the
    top of the image first.
    """
    heatmap = heatmap.detach().flatten(1)
    generator = torch.Generator().manual_seed(seed)
    shuffle = torch.randperm(heatmap.shape[1], generator=generator).to(heatmap.device)
    order = shuffle[heatmap[:, shuffle].argsort(dim=1, descending=True, stable=True)]
    return order.argsort(dim=1)


def twice_middles(heatmap: Tensor, labels: Tensor, seed: int) -> Tensor:
    """Return twice the number of pixels (N, HW) int64 that are removed before the middle of each pixel's region.

    The regions of `labels` (N, HW) are removed by their mean heatmap, highest first, tied regions in random order. If
    each pixel is a region, this is 2 `ranks` + 1.
    """
    # The columns of labels that no pixel has are empty regions, which come last. With as many columns as pixels, the
    # random order of ties in one image does not depend on the number of regions in another.
    sizes = region_sums(torch.ones_like(labels), labels)
    means = (region_sums(heatmap.detach().flatten(1), labels) / sizes).where(sizes > 0, -torch.inf)
    rank, sizes = ranks(means, seed), sizes.long()
    in_order = torch.zeros_like(sizes).scatter_(1, rank, sizes)
    return (2 * in_order.cumsum(1) - in_order).gather(1, rank).gather(1, labels)


def relative_probability(values: Tensor, whole: Tensor, model: nn.Module, least: float) -> Tensor:
    """Return probabilities (..., N) divided by those of the whole images (N,), NaN where these are below `least`.

    The outputs of a regression are returned as they are, because they have no natural zero.
    """
    return values if isinstance(model, Regressor) else values / whole.where(whole >= least, torch.nan)


@metric(
    direction={"deletion": "lower", "insertion": "higher", "relevance_gain": "higher"},
    needs=("model",),
    forward_only=True,
)
def deletion_insertion(
    explanation: Explanation,
    reference: Reference = "mean_colour",
    steps: int = 20,
    batch_size: int = 64,
    seed: int = 0,
    least: float = 0.1,
    regions: Regions = "pixels",
    side: int = 8,
    segments: int = 100,
    called: str = "",
    gain: bool = False,
) -> dict[str, Curve]:
    """Follow the target's probability while the highest pixels are deleted from the image or inserted in a reference.

    deletion(f) = p(image, its top share f of pixels replaced by the reference) / p(image),
    insertion(f) = p(reference, its top share f of pixels replaced by the image) / p(image),
    with p = softmax(model(...))[target], at f = (k / steps)^2 for k = 0, 1, ..., steps, rounded to whole pixels. The
    squares place more steps at the start: with equal steps, all heatmaps that remove the evidence within the first one
    get the same area. The curves (N, steps + 1), 1 for the image, are named `deletion_{reference}` and
    `insertion_{reference}`, and their scores are the areas under them. They are NaN for a heatmap with non-finite
    values, and where p(image) is below `least`: the network does not see the class, and dividing by next to nothing
    would let this image decide the mean. For a regression the curves follow the output itself, in its units. Heatmaps
    rank first what raises the output, so low deletion and high insertion are better there too. `batch_size` images pass
    the model at once, in its current mode; `seed` orders tied pixels. It takes 2 `steps` forward passes per image.

    `regions` are replaced as a whole, each as soon as the share f reaches its middle, in the order of the mean heatmap
    over them: `squares` of `side` pixels, or `super_pixels`, about `segments` in each image. They stand in the names,
    as what they are `called`: `deletion_squares_{reference}`. With `gain`, the curve `relevance_gain_{reference}` is
    added, see `relevance_gain`.
    Raises `UserError` without a model, for `steps` below 1, and for an unknown reference or unknown regions.
    Source: Petsiuk, Das, Saenko 2018, arXiv 1806.07421 (RISE); squares of k / steps and division by p(image) are ours.
    """
    images, target, model = explanation.images, explanation.target, explanation.model
    if model is None:
        raise UserError("deletion_insertion needs the model that was explained; give it to the Explanation")
    if steps < 1:
        raise UserError(f"steps={steps} must be 1 or more")
    height, width = images.shape[-2:]
    labels = region_labels(images, regions, side, segments)
    order = twice_middles(explanation.heatmap, labels, seed).view(-1, 1, height, width)
    # Without the step f = 1: the last point of each curve is the first point of the other, and is computed once.
    top = (torch.arange(steps, device=images.device).square() * height * width + steps**2 // 2) // steps**2
    rows = torch.arange(2 * steps * len(images), device=images.device)
    # Batches of whole steps show all images, which are then broadcast instead of copied.
    whole_steps = batch_size % len(images) == 0
    scores = []
    with torch.no_grad():
        without = reference_images(images, model, reference)
        for batch in rows.split(batch_size):
            inserting, step, image = torch.unravel_index(batch, (2, steps, len(images)))
            places, count = (slice(None), len(images)) if whole_steps else (image, len(image))
            chosen = order[places] <= 2 * top[step].view(-1, count, 1, 1, 1)
            shown = (chosen == inserting.bool().view(-1, count, 1, 1, 1)).to(images)
            # With weights of 0 and 1 `lerp` returns one of the two exactly, in a third of the time of `where`.
            outputs = model(torch.lerp(without[places], images[places], shown).flatten(0, 1))
            scores.append(target_scores(probability(model, outputs.double()), target[image]))
    values = torch.cat(scores).view(2, steps, len(images))
    values = relative_probability(values, values[0, 0], model, least)
    values[:, :, ~explanation.heatmap.flatten(1).isfinite().all(1)] = torch.nan
    deletion, insertion = torch.cat([values, values.flip(0)[:, :1]], 1).transpose(1, 2)
    at = torch.linspace(0, 1, steps + 1, dtype=torch.float64, device=images.device).square()
    kind = reference if regions == "pixels" else f"{called or regions}_{reference}"
    curves = {f"deletion_{kind}": deletion, f"insertion_{kind}": insertion}
    if gain:
        curves[f"relevance_gain_{kind}"] = insertion - deletion
    return {name: Curve(at, values, axis="pixels") for name, values in curves.items()}


@metric(direction="higher", needs=("model",), forward_only=True)
def relevance_gain(
    explanation: Explanation,
    reference: Reference = "mean_colour",
    steps: int = 20,
    batch_size: int = 64,
    seed: int = 0,
    least: float = 0.1,
) -> dict[str, Curve]:
    """Compute the symmetric relevance gain: how much longer the score lasts if the least relevant pixels go first.

    The gain is the area under p(image without its least relevant share f) / p(image) minus the area under
    p(image without its most relevant share f) / p(image). Without its lowest share f, an image shows its highest share
    1 - f only, so the first area is that of insertion, and the gain is the insertion area minus the deletion area: the
    area under insertion(f) - deletion(f). This curve (N, steps + 1) is named `relevance_gain_{reference}`. Its area is
    in [-1 / p(image), 1 / p(image)]. It is 0 on average for random heatmaps, and an inverted heatmap has the opposite
    gain, both up to the steps. What the reference does to any heatmap counts for both areas and cancels in part.

    It takes the 2 `steps` forward passes per image of `deletion_insertion`, whose arguments, errors and undefined
    scores it has. That function gives all three curves with one set of passes (`gain=True`).
    Source: Bluecher, Vielhaben, Strodthoff 2024, arXiv 2401.06654; positions and division by p(image) are ours.
    """
    curves = deletion_insertion(explanation, reference, steps, batch_size, seed, least, gain=True)
    return {name: curve for name, curve in curves.items() if name.startswith("relevance_gain")}
