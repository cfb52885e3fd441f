"""Localisation in grids of images: the evidence of a class lies in the tile that shows it, so no masks are needed.

The grids are a data set (`evident.data.composites`), whose tiles show different classes:

    grid_pointing   the network sees the whole grid, and may use other tiles too: it was not trained on grids
    difull          the network sees the tiles apart, and scores one: attributions to other tiles are wrong for sure
"""

import torch
from torch import Tensor

from evident.contracts import LearnsRelevance
from evident.errors import NotApplicable, UserError, warn_once
from evident.explainers.shared.targets import ask_for_classes
from evident.metrics.contract import Explanation, heatmaps, metric
from evident.models.disconnected import Grid, check_disconnected, disconnected


@metric(direction={"grid_pointing": "higher", "grid_confidence": "neither"}, needs=("tile", "model"))
def grid_pointing(explanation: Explanation, least: float = 0.1) -> dict[str, Tensor]:
    """Compute the share of the positive heatmap h+ that lies in the target's tile of a grid of K images: scores (N,).

        grid_pointing     sum of h+ in the tile / sum of h+                    in [0, 1], 1 / K by chance
        grid_confidence   min over tiles of p for the target's tile, and of    in [0, 1]
                          1 - p for others, with p the probability of the target for a tile alone

    The paper uses images that the network classifies right with high confidence. A data set knows no network, so the
    grids are of all images, and `grid_pointing` is NaN where the confidence is below `least`: the higher, the nearer to
    the paper. NaN also without positive values, and for a heatmap with non-finite values. The tiles alone cost as much
    as one forward pass of the grid. Raises `UserError` without tiles or a model, and for a regression.
    Source: Böhle, Fritz, Schiele 2021, arXiv 2104.00032 (there K = 9).
    """
    model = explanation.model
    if model is None:
        raise UserError("grid_pointing scores the tiles of a grid; give the model to the Explanation")
    ask_for_classes(model, "grid_pointing")
    grid, own = _tiles(explanation, "grid_pointing")
    with torch.no_grad():
        probability = model(grid.split(explanation.images)).double().softmax(1).unflatten(0, own.shape)
    of_target = probability.gather(2, explanation.target[:, None, None].expand(*own.shape, 1))[..., 0]
    confidence = torch.where(own, of_target, 1 - of_target).amin(1)
    share = _share(grid, explanation.heatmap.detach(), own)
    return {"grid_pointing": share.where(confidence >= least, torch.nan), "grid_confidence": confidence}


@metric(direction="higher", needs=("tile", "model", "explainer"))
def difull(explanation: Explanation) -> Tensor:
    """Compute the share (N,) in [0, 1] of the positive heatmap in the target's tile if no other tile has an effect.

    The tiles of the grid pass the network one by one, and the class score is that of the target's tile: see
    `evident.models.disconnected`. By chance the share is one divided by the number of tiles. As the order of the tiles
    has no effect on the network, the target's tile is moved to the first place. The explainer of the explanation is
    used as it is, also what it has learned. NaN without positive values and for a heatmap with non-finite values; for
    all images, with a warning, if the network's tiles cannot be disconnected, or if the explainer chooses features by
    the responses of whole layers (`LearnsRelevance`). Costs one explanation, and two forward passes of one image per
    batch. Raises `UserError` without tiles, a model or an explainer, and for a regression.
    Source: Rao, Böhle, Schiele 2022, arXiv 2205.10435.
    """
    model, explainer = explanation.model, explanation.explainer
    if model is None or explainer is None:
        raise UserError("difull explains a changed network; give the explainer and the model to the Explanation")
    ask_for_classes(model, "difull")
    grid, own = _tiles(explanation, "difull")
    # Own tiles first, the others in their order.
    order = own.int().argsort(dim=1, descending=True, stable=True)
    images = _arranged(grid, explanation.images, order)
    mask = None if explanation.mask is None else _arranged(grid, explanation.mask[:, None], order)[:, 0]
    height, width = images.shape[2:]
    try:
        if isinstance(explainer, LearnsRelevance):
            raise NotApplicable(f"{type(explainer).__name__} reads the responses of layers, not those of tiles")
        check_disconnected(model, grid, images[:1])
        with disconnected(model, grid, (height, width)):
            heatmap = heatmaps(explainer, images, explanation.target, mask).detach()
    except NotApplicable as reason:
        warn_once(f"difull is undefined for {type(explainer).__name__}: {reason}")
        return torch.full_like(explanation.heatmap[:, 0, 0], torch.nan, dtype=torch.float64, requires_grad=False)
    return _share(grid, heatmap, own.gather(1, order))


def _tiles(explanation: Explanation, name: str) -> tuple[Grid, Tensor]:
    """Return the grid, and which of its K tiles in reading order is the target's (N, K) bool.

    Raises `UserError` without tiles, and for tiles that are no grid.
    """
    tile = explanation.tile
    if tile is None:
        raise UserError(f"{name} needs grids of images; use a data set of them, such as an8flower_grids")
    sides = [int(tile[0].any(axis).sum()) for axis in (1, 0)]
    if not all(side and whole % side == 0 for side, whole in zip(sides, tile.shape[1:], strict=True)):
        raise UserError(f"{name}: a tile of {sides} pixels does not divide images of {list(tile.shape[1:])} pixels")
    grid = Grid(tile.shape[1] // sides[0], tile.shape[2] // sides[1])
    covered = grid.split(tile[:, None]).flatten(1).float().mean(1).view(len(tile), -1)
    if ((covered == 1).sum(1) != 1).any() or (covered.sum(1) != 1).any():
        raise UserError(f"{name}: the target's tile must be one of {grid.rows} x {grid.columns} tiles of every image")
    return grid, covered == 1


def _arranged(grid: Grid, maps: Tensor, order: Tensor) -> Tensor:
    """Return maps (N, K, H, W) with their tiles in another order (N, tiles)."""
    tiles = grid.split(maps).unflatten(0, order.shape)
    rows = torch.arange(len(maps), device=maps.device)[:, None]
    return grid.join(tiles[rows, order].flatten(0, 1))


def _share(grid: Grid, heatmap: Tensor, own: Tensor) -> Tensor:
    """Return the share (N,) of positive heatmaps (N, H, W) in their own tiles (N, tiles) bool, NaN if undefined."""
    relevance = grid.split(heatmap.double().clamp(min=0)[:, None]).flatten(1).sum(1).view(own.shape)
    share = (relevance * own).sum(1) / relevance.sum(1)
    return share.where(heatmap.flatten(1).isfinite().all(1), torch.nan)
