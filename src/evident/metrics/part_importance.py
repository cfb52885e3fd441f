r"""Importance of the parts of a rendered scene: one part is drawn anew, and the network's response is compared.

x is a scene, x_kd the same scene with draw d of D of another part k (petals in the colour of another class, another
pot), and L the log-odds of the target. With M_k the pixels of part k and h+ the positive part of the heatmap,

    I_k = 1/D sum_d |L(x_kd) - L(x)|              the importance of part k
    m_k = sum_{M_k} h+ / sum h+                   the share of the heatmap on part k

V are the parts that are visible in the image:

    part_rank      Kendall's tau-b over V of I_k and m_k
    part_density   Kendall's tau-b over V of I_k / |M_k| and m_k / |M_k|: both per pixel, so that the sizes of parts do
                   not help a heatmap that knows nothing
    part_mass      sum_{k in V} min(I_k / sum_V I, m_k): the overlap of the two distributions
    part_order     Gini correlation (`rank.gini_correlation`) over pixels of I_k / |M_k|, for the part k of the pixel,
                   and h: how well the order of the pixels finds the importance
    part_light     sum_{k not in V} I_k / sum_k I_k: what counts but has no pixels, the light; no heatmap can show it

The log-odds L = log p / (1 - p) compare the score of the target with all other scores together. Unlike the probability
they do not saturate. Unlike the score alone they do not change if all scores change alike, which changes no prediction.
Unlike the score minus the mean of the others they follow the classes that compete with the target. The output itself
takes their place for a regression.

This truth needs no mask of the class, and nothing is painted over: the images look like those that the network was
trained on. It has limits. It ranks parts, not pixels. The shape of a part is kept, so the effect of its shape is not
measured. In `part_rank` a heatmap that is the same everywhere ranks parts by size, as importance partly does. Parts
with no heat at all tie, so a heatmap of the petals alone does not reach a rank of one. `part_mass` rewards heatmaps
that leave most pixels at zero; `part_order` reads their order alone. Source: ours.
"""

import torch
from torch import Tensor, nn

from evident.contracts import Regressor
from evident.errors import UserError
from evident.explainers.shared.targets import target_scores
from evident.metrics.contract import Explanation, metric
from evident.metrics.rank import gini_correlation, kendall
from evident.values import PartChanges


@metric(
    # `part_light` measures the network, so for an explainer no direction is better.
    direction={
        **dict.fromkeys(("part_rank", "part_density", "part_mass", "part_order"), "higher"),
        "part_light": "neither",
    },
    needs=("model", "parts"),
)
def part_importance(explanation: Explanation, batch_size: int = 64) -> dict[str, Tensor]:
    """Compute `part_rank`, `part_density` and `part_order` in [-1, 1], `part_mass` and `part_light` in [0, 1] (N,).

    They are defined above. The ranks are NaN with nothing to rank, `part_density` for a constant heatmap, `part_mass`
    for a heatmap without positive values, `part_mass` and `part_order` for a network that no visible part changes,
    `part_light` for a network that nothing changes.
    `batch_size` images pass the network at once. Raises `UserError` without a model or scenes with changed parts.
    """
    model, parts = explanation.model, explanation.parts
    if model is None or parts is None:
        raise UserError("part_importance needs the network and scenes with changed parts; use rendered flowers")
    importance = importance_of(model, explanation.images, explanation.target, parts, batch_size)
    pixels = parts.masks.flatten(2).sum(2)
    visible, size = pixels > 0, pixels.clamp(min=1)
    heatmap = explanation.heatmap.detach().double().clamp(min=0)
    mass = torch.einsum("nkhw,nhw->nk", parts.masks.double(), heatmap) / heatmap.sum((1, 2))[:, None]
    seen = importance * visible
    of_pixel = torch.einsum("nkhw,nk->nhw", parts.masks.double(), seen / size)
    overlap = torch.minimum(seen / seen.sum(1, keepdim=True), mass * visible).sum(1)
    # The means of a constant heatmap over its parts differ by rounding errors only.
    low, high = heatmap.flatten(1).aminmax(dim=1)
    return {
        "part_rank": kendall(importance, mass, visible),
        "part_density": kendall(importance / size, mass / size, visible).where(low < high, torch.nan),
        "part_mass": overlap,
        "part_order": gini_correlation(of_pixel.flatten(1), explanation.heatmap.detach().flatten(1)),
        "part_light": (importance * ~visible).sum(1) / importance.sum(1),
    }


def importance_of(model: nn.Module, images: Tensor, target: Tensor, parts: PartChanges, batch_size: int = 64) -> Tensor:
    """Return the importance I (N, K) float64 of each part of images (N, 3, H, W) for `target` (N,).

    Zero for a part that was not drawn anew, because the image does not show it.
    """
    with torch.no_grad():
        before = _log_odds(model, images, target, batch_size)
        after = _log_odds(model, parts.images, target[parts.row], batch_size)
    place = (parts.row, parts.part)
    total, count = torch.zeros(2, *parts.masks.shape[:2], dtype=torch.float64, device=images.device)
    total.index_put_(place, (after - before[parts.row]).abs(), accumulate=True)
    count.index_put_(place, torch.ones_like(after), accumulate=True)
    return total / count.clamp(min=1)


def _log_odds(model: nn.Module, images: Tensor, target: Tensor, batch_size: int) -> Tensor:
    """Return the log-odds (N,) float64 of the target, or the output itself of a regression."""
    found = []
    for some, own in zip(images.split(batch_size), target.split(batch_size), strict=True):
        outputs = model(some.to(images)).double()
        score = target_scores(outputs, own)
        if not isinstance(model, Regressor):
            # Differences first: what all scores have in common leaves no rounding error.
            others = (outputs - score[:, None]).scatter(1, own[:, None], -torch.inf)
            score = -others.logsumexp(1)
        found.append(score)
    return torch.cat(found)
