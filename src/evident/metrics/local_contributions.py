r"""Agreement of a heatmap with the exact contributions of patches, for networks whose scores are sums over positions.

Such a network (`SumsContributions`, for example `PatchNet`) computes the score of the target as b + sum_p c_p; c_p
depends on the pixels of the field of position p only. With h_p the mean of the heatmap over the pixels of this field
that lie in the image,

    local_rank_correlation   Spearman's rank correlation of c_p and h_p over positions
    local_correlation        Pearson's correlation of c_p and h_p over positions
    local_order              Gini correlation (`rank.gini_correlation`) of c_p and h_p over positions: how well their
                             order finds the contributions

All are the same for any split of a constant between b and the c_p. This truth is exact and needs no mask, no
perturbation and no reference image. It has limits. It is known for the patches of such networks only, and it does not
say which pixels of a field count. A heatmap without negative values ties where contributions are negative, so it may
not reach one. Methods that read the last map of the network (CAM and its relatives) read the truth itself.
Source: ours; the network is that of Brendel, Bethge 2019, arXiv 1904.00760.
"""

import torch
from torch import Tensor, nn

from evident.contracts import SumsContributions
from evident.errors import UserError
from evident.explainers.shared.targets import targets
from evident.metrics.contract import Explanation, metric
from evident.metrics.contributions import correlation
from evident.metrics.rank import average_ranks, gini_correlation
from evident.models.untouched import untouched
from evident.relevance.receptive_fields import boxes, extents_of_pixels


@metric(direction="higher", needs=("model", SumsContributions))
def local_contributions(explanation: Explanation) -> dict[str, Tensor]:
    """Compute `local_rank_correlation`, `local_correlation` and `local_order` (N,) in [-1, 1].

    NaN where a map is constant; `local_order` of a constant heatmap is 0. Raises `UserError` for a network whose scores
    are not sums over positions.
    """
    model, images = explanation.model, explanation.images
    if model is None or not isinstance(model, SumsContributions):
        raise UserError("local_contributions needs scores that are sums over positions; use model=patch_net")
    with untouched(model, images), torch.no_grad():
        maps = model.contribution_map(images.detach()).double()
    index = targets(explanation.target, len(images)).to(images.device)
    contributions = maps[torch.arange(len(images), device=images.device), index].flatten(1)
    heat, seen = field_means(explanation.heatmap, position_fields(model, images.shape[-2:]))
    contributions, heat = contributions[:, seen], heat[:, seen]
    finite = heat.isfinite().all(1)
    return {
        "local_rank_correlation": correlation(average_ranks(contributions), average_ranks(heat)).where(
            finite, torch.nan
        ),
        "local_correlation": correlation(contributions, heat).where(finite, torch.nan),
        "local_order": gini_correlation(contributions, heat).where(finite, torch.nan),
    }


def position_fields(model: nn.Module, size: torch.Size) -> Tensor:
    """Return the field of each position of `contribution_map`, integers (4, h, w), as `receptive_fields` does."""
    assert isinstance(model, SumsContributions)
    with untouched(model), torch.no_grad():
        return boxes("contribution_map", model.contribution_map(extents_of_pixels((size[0], size[1]))))


def field_means(heatmap: Tensor, fields: Tensor) -> tuple[Tensor, Tensor]:
    """Return the means (N, P) float64 of heatmaps (N, H, W) over fields (4, h, w), and which positions have a field.

    These are indices (P',): a position that sees only padding has no field, and its mean is NaN.
    """
    top, left, bottom, right = fields
    # The field of a position is the product of the rows that its row sees and the columns that its column sees.
    # Products of zeros and ones leave no rounding errors where the heatmap is zero, as differences of sums would.
    rows = _inside(top.amax(1), bottom.amax(1), heatmap.shape[1])
    columns = _inside(left.amax(0), right.amax(0), heatmap.shape[2])
    rows, columns = (inside.to(heatmap.device, torch.float64) for inside in (rows, columns))
    sums = torch.einsum("ih,nhw,jw->nij", rows, heatmap.detach().double(), columns)
    pixels = rows.sum(1)[:, None] * columns.sum(1)
    seen = (bottom > top).flatten().nonzero()[:, 0].to(heatmap.device)
    return (sums / pixels).flatten(1), seen


def _inside(start: Tensor, end: Tensor, length: int) -> Tensor:
    """Return which of `length` pixels lie in each interval from `start` to `end` (P,), exclusive: bool (P, length)."""
    at = torch.arange(length)
    return (at >= start[:, None]) & (at < end[:, None])
