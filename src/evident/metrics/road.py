"""ROAD, remove and debias: what a network says without the most, or the least, relevant pixels.

Pixels that are replaced by one colour leave a shape that the network can see, and images that it has never seen. Noisy
linear imputation hides where pixels were removed: each is as its neighbours are, with a little noise.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from evident.errors import UserError
from evident.explainers.shared.seeding import image_generator
from evident.explainers.shared.targets import probability, target_scores
from evident.metrics.contract import Curve, Explanation, metric
from evident.metrics.faithfulness import ranks, relative_probability
from evident.metrics.imputation import linear_imputation

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9)


@metric(direction={"road_most": "lower", "road_least": "higher"}, needs=("model",), forward_only=True)
def road(
    explanation: Explanation,
    shares: Sequence[float] = SHARES,
    noise: float = 0.01,
    batch_size: int = 16,
    seed: int = 0,
    least: float = 0.1,
) -> dict[str, Curve]:
    """Follow the target's probability while the most, or the least, relevant pixels are removed by imputation.

    road_most(f) = p(image, its top share f of pixels imputed) / p(image),
    road_least(f) = p(image, its lowest share f of pixels imputed) / p(image),
    with p = softmax(model(...))[target]. f is one of the `shares`, rounded to whole pixels; one pixel at least is kept.
    Imputed pixels are weighted means of their neighbours (`linear_imputation`), plus normal noise of standard deviation
    `noise`, clipped to [0, 1]. An image has one draw of noise for all its shares, which depends on the image and `seed`
    only; `seed` also orders tied pixels. The score of a curve (N, shares) is its area: the mean in which each share
    counts for all shares in [0, 1] that are nearest to it. The curves are NaN for a heatmap with non-finite values, and
    where p(image) is below `least`. For a regression they follow the output itself, in its units.

    `batch_size` images are imputed and pass the model at once; few, because imputation on a CPU takes twice as long for
    images that leave its cache. It takes 2 x shares + 1 forward passes per image. Raises `UserError` without a model,
    for shares that do not increase or are not between 0 and 1, and for negative noise.
    Source: Rong et al. 2022, arXiv 2202.00449, with accuracies instead of probabilities; division by p(image) is ours.
    """
    images, target, model = explanation.images, explanation.target, explanation.model
    if model is None:
        raise UserError("road needs the model that was explained; give it to the Explanation")
    at = torch.tensor(list(shares), dtype=torch.float64)
    if not (len(at) and at[0] > 0 and at[-1] < 1 and (at.diff() > 0).all() and noise >= 0):
        raise UserError(f"shares={list(shares)}, noise={noise}: road needs increasing shares in (0, 1) and noise >= 0")
    height, width = images.shape[-2:]
    order = ranks(explanation.heatmap, seed).view(-1, height, width)
    at = at.to(images.device)
    removed = (at * height * width).round().clamp(max=height * width - 1)
    rows = torch.arange(2 * len(at) * len(images), device=images.device)
    grain = _grain(images, seed) * noise
    scores = []
    with torch.no_grad():
        for part in torch.arange(len(images), device=images.device).split(batch_size):
            scores.append(target_scores(probability(model, model(images[part]).double()), target[part]))
        for batch in rows.split(batch_size):
            lowest, share, image = torch.unravel_index(batch, (2, len(at), len(images)))
            place = torch.where(lowest.bool().view(-1, 1, 1), height * width - 1 - order[image], order[image])
            missing = place < removed[share].view(-1, 1, 1)
            imputed = linear_imputation(images[image], missing)
            shown = torch.where(missing[:, None], (imputed + grain[image]).clamp(0, 1), images[image])
            scores.append(target_scores(probability(model, model(shown).double()), target[image]))
    whole, values = torch.cat(scores).split([len(images), len(rows)])
    values = relative_probability(values.view(2, len(at), -1), whole, model, least)
    values[:, :, ~explanation.heatmap.flatten(1).isfinite().all(1)] = torch.nan
    most_first, least_first = values.transpose(1, 2)
    return {"road_most": Curve(at, most_first, axis="pixels"), "road_least": Curve(at, least_first, axis="pixels")}


def _grain(images: Tensor, seed: int) -> Tensor:
    """Return standard normal noise (N, C, H, W), each image's from its own generator."""
    draws = [torch.randn(image.shape, generator=image_generator(image, seed), dtype=torch.float64) for image in images]
    return torch.stack(draws).to(images)
