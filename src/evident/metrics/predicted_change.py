"""Predicted change: whether the sum of a heatmap over removed pixels predicts the change of the network's output.

For pixels that are removed, that is, replaced by the reference image, a heatmap h predicts the change

    a = sum of h over the removed pixels,    and the true change is    b = f(image) - f(image without them),

with f the class score of the target, before the softmax, or the output of a regression. Both metrics compare a and b
over random choices of pixels, which depend on the image and the seed only. The heatmaps of explainers are not negative,
so they cannot predict that an output rises.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.shared.seeding import image_generator
from evident.explainers.shared.targets import target_scores
from evident.metrics.contract import Curve, Explanation, metric
from evident.metrics.regions import squares
from evident.models.reference_images import Reference, reference_images

SHARES = (0.125, 0.375, 0.625, 0.875)


@metric(direction="lower", needs=("model",), forward_only=True)
def infidelity(
    explanation: Explanation,
    reference: Reference = "mean_colour",
    draws: int = 32,
    smallest: float = 0.125,
    largest: float = 0.5,
    batch_size: int = 64,
    seed: int = 0,
) -> Tensor:
    """Compute min over beta >= 0 of sum (beta a - b)^2 / sum b^2 (N,) in [0, 1] over `draws` of one random square each.

    The sides of the squares are uniform between `smallest` and `largest` times the image's shorter side, in whole
    pixels, and their places are uniform within the image. The factor beta is sum a b / sum a^2, so the score is
    1 - (sum a b)^2 / (sum a^2 sum b^2) where sum a b is positive. Otherwise beta is 0 and the score is 1, also for a
    heatmap of zeros. NaN for a heatmap with non-finite values, and where no square changes the output.
    `batch_size` images pass the model at once; it takes `draws` + 1 forward passes per image. Raises `UserError`
    without a model, for `draws` below 1, unless 0 < smallest <= largest <= 1, and for an unknown reference.
    Source: Yeh et al. 2019, arXiv 1901.09392, with one factor for each image, as captum's `normalize=True`, but never
    a negative one, which would praise a heatmap for the opposite of the truth. Division by sum b^2 is ours.
    """
    images, target, model = explanation.images, explanation.target, explanation.model
    if model is None:
        raise UserError("infidelity needs the model that was explained; give it to the Explanation")
    if draws < 1 or not 0 < smallest <= largest <= 1:
        raise UserError(
            f"draws={draws}, smallest={smallest}, largest={largest}: infidelity needs draws >= 1 and "
            "0 < smallest <= largest <= 1"
        )
    removed = random_squares(images, draws, smallest, largest, seed)
    with torch.no_grad():
        whole = torch.cat([model(part).double() for part in images.split(batch_size)])
    a, outputs = _sums_and_outputs(explanation, model, removed, reference, batch_size)
    b = target_scores(whole, target)[:, None] - outputs
    size = a.square().sum(1)
    beta = ((a * b).sum(1) / size).clamp(min=0).where(size != 0, 0)  # keeps the NaN of non-finite heatmaps
    error, change = (beta[:, None] * a - b).square().sum(1), b.square().sum(1)
    return (error / change).where(change > 0, torch.nan)


@metric(direction="higher", needs=("model",), forward_only=True)
def sensitivity_n(
    explanation: Explanation,
    shares: Sequence[float] = SHARES,
    draws: int = 16,
    side: int = 8,
    reference: Reference = "mean_colour",
    batch_size: int = 64,
    seed: int = 0,
) -> Curve:
    """Compute Pearson's correlation of a and b over `draws` of n random squares, for n that remove shares of the image.

    The squares are those of a grid of `side` x `side` pixels: single random pixels disturb a network like noise, and
    the sums of a heatmap over many of them hardly differ. n is each of the `shares` of all squares, at least 1 and not
    all. The curve (N, shares) in [-1, 1] follows n; its score is its area, which for the default shares, the middles of
    equal bins, is the mean over n. A linear network has 1 for its exact attribution. A correlation is 0 where the sums
    do not differ, because the heatmap predicts nothing then, and NaN where the outputs do not differ, and for a heatmap
    with non-finite values.

    `batch_size` images pass the model at once; it takes shares x `draws` forward passes per image. Raises `UserError`
    without a model, for shares that do not increase or are not between 0 and 1, for `draws` below 2, and for a side
    below 1 or of the whole image.
    Source: Ancona et al. 2018, arXiv 1711.06104, with squares as features and the mean over n.
    """
    images, model = explanation.images, explanation.model
    if model is None:
        raise UserError("sensitivity_n needs the model that was explained; give it to the Explanation")
    at = torch.tensor(list(shares), dtype=torch.float64)
    if not (len(at) and at[0] > 0 and at[-1] < 1 and (at.diff() > 0).all() and draws >= 2):
        raise UserError(
            f"shares={list(shares)}, draws={draws}: sensitivity_n needs increasing shares in (0, 1) and draws >= 2"
        )
    height, width = images.shape[-2:]
    labels = squares(height, width, side)
    count = int(labels.max()) + 1
    if count < 2:
        raise UserError(f"side={side}: sensitivity_n needs two squares or more; use a side below {max(height, width)}")
    n = (at * count).round().clamp(1, count - 1)
    chosen = torch.stack([_random_subsets(image_generator(image, seed), n, draws, count) for image in images])
    removed = chosen.to(images.device).flatten(1, 2)[:, :, labels.to(images.device)]
    a, outputs = _sums_and_outputs(explanation, model, removed, reference, batch_size)
    values = _correlation(a.unflatten(1, (len(at), draws)), -outputs.unflatten(1, (len(at), draws)))
    return Curve(at.to(images.device), values, axis="pixels")


def random_squares(images: Tensor, draws: int, smallest: float, largest: float, seed: int) -> Tensor:
    """Return the pixels (N, draws, H, W) bool of one random square for each draw, as `infidelity` removes them."""
    height, width = images.shape[-2:]
    shorter = min(height, width)
    low, high = (max(1, round(share * shorter)) for share in (smallest, largest))
    uniform = torch.stack(
        [torch.rand(3, draws, 1, generator=image_generator(image, seed), dtype=torch.float64) for image in images]
    ).to(images.device)
    side = (low + uniform[:, 0] * (high - low + 1)).floor()
    top = (uniform[:, 1] * (height - side + 1)).floor()
    left = (uniform[:, 2] * (width - side + 1)).floor()
    row, column = (torch.arange(length, device=images.device) for length in (height, width))
    rows, columns = (row >= top) & (row < top + side), (column >= left) & (column < left + side)
    return rows[..., None] & columns[:, :, None]


def _random_subsets(generator: torch.Generator, sizes: Tensor, draws: int, count: int) -> Tensor:
    """Return `draws` random subsets (sizes, draws, count) bool of `count` things, of each size."""
    # The lowest ranks of random numbers are a random subset.
    order = torch.rand(len(sizes), draws, count, generator=generator, dtype=torch.float64).argsort(2).argsort(2)
    return order < sizes[:, None, None]


def _sums_and_outputs(
    explanation: Explanation, model: nn.Module, removed: Tensor, reference: Reference, batch_size: int
) -> tuple[Tensor, Tensor]:
    """Return a and f(image without them) (N, D), both float64, for `removed` pixels (N, D, H, W) of each image."""
    images, target, heatmap = explanation.images, explanation.target, explanation.heatmap.detach().double()
    sums, outputs = [], []
    with torch.no_grad():
        without = reference_images(images, model, reference)
        for batch in torch.arange(removed.shape[:2].numel(), device=images.device).split(batch_size):
            image, draw = torch.unravel_index(batch, removed.shape[:2])
            missing = removed[image, draw]
            shown = torch.where(missing[:, None], without[image], images[image])
            outputs.append(target_scores(model(shown).double(), target[image]))
            # The product keeps the NaN of pixels that are not removed.
            sums.append((heatmap[image] * missing).sum((1, 2)))
    return torch.cat(sums).view(removed.shape[:2]), torch.cat(outputs).view(removed.shape[:2])


def _correlation(predicted: Tensor, true: Tensor) -> Tensor:
    """Return Pearson's correlation over the last dimension, 0 for constant predictions and NaN for a constant truth."""
    x, y = (values - values.mean(-1, keepdim=True) for values in (predicted, true))
    covariance, of_x, of_y = (x * y).sum(-1), x.square().sum(-1), y.square().sum(-1)
    # Sums over as many equal pixels in another order differ by rounding.
    constant = of_x <= 1e-18 * predicted.square().sum(-1)
    return (covariance / (of_x * of_y).sqrt()).where(~constant, 0).where(of_y > 0, torch.nan)
