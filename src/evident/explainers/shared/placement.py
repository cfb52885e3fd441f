r"""Feature maps of a layer, placed in the image.

A cell of a map describes the pixels of its receptive field. `Placement` therefore puts its value at the centre of this
field (`evident.relevance.cell_centres`) and interpolates linearly between the centres c_0 < c_1 < ...; pixels beyond
the outermost centres take the value of the nearest cell. With A the map (h, w), R (H, h) and C (W, w) the weights of
linear interpolation at the pixels' centres p + 1/2:

    placed = R A C^T

`placement: resized` is the customary bilinear resize instead, which assumes that the cells divide the image evenly:
c_i = (i + 1/2) H / h. Convolutions and poolings without full padding shift the true centres by up to half a cell.
Tokens, and maps with channels last, are patches that divide the image evenly: the two are the same there, and nothing
is measured.
"""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.shared.feature_maps import layout_of, submodule
from evident.relevance.cell_centres import cell_centres

Kind = Literal["measured", "resized"]


class Placement:
    """Place maps (N, K, h, w) of the module `layer` in images (N, 3, H, W): `placement(maps, images)` is (N, K, H, W).

    Raises `UserError` for an unknown layer or kind, and, when called, for cells whose places cannot be measured.
    """

    def __init__(self, model: nn.Module, layer: str, kind: Kind = "measured") -> None:
        if kind not in get_args(Kind):
            raise UserError(f"placement={kind!r} is unknown; use {' or '.join(get_args(Kind))}")
        submodule(model, layer)
        self._model, self._layer, self._kind = model, layer, kind
        # The weights depend on sizes only; measuring takes longer than an explanation.
        self._weights: dict[tuple[torch.Size, torch.Size], tuple[Tensor, Tensor]] = {}

    def __call__(self, maps: Tensor, images: Tensor) -> Tensor:
        rows, columns = self._rows_and_columns(maps, images)
        return rows @ maps @ columns.T

    def spread(self, maps: Tensor, images: Tensor) -> Tensor:
        """Place the maps with each cell's value divided among its pixels: sums over pixels equal sums over cells."""
        weights = self._rows_and_columns(maps, images)
        rows, columns = (line / line.sum(0) for line in weights)
        if not (rows.isfinite().all() and columns.isfinite().all()):
            raise UserError(f"cells of layer={self._layer!r} lie outside the image; use placement=resized")
        return rows @ maps @ columns.T

    def _rows_and_columns(self, maps: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return R (H, h) and C (W, w)."""
        cells, size = maps.shape[-2:], images.shape[-2:]
        if (cells, size) not in self._weights:
            centres = self._centres(cells, images)
            self._weights[cells, size] = _interpolation(centres[0], size[0]), _interpolation(centres[1], size[1])
        rows, columns = self._weights[cells, size]
        return rows.to(maps), columns.to(maps)

    def _centres(self, cells: torch.Size, images: Tensor) -> list[Tensor]:
        size = images.shape[-2:]
        if self._kind == "resized" or layout_of(self._model, self._layer, images).kind != "channels first":
            return [_even(*line) for line in zip(cells, size, strict=True)]
        own = cell_centres(self._model, self._layer, (size[0], size[1]))
        # A network may average the layer's cells before it uses them.
        return [F.adaptive_avg_pool1d(line[None], count)[0] for line, count in zip(own, cells, strict=True)]


def _even(count: int, side: int) -> Tensor:
    """Return the centres (count,), float64, of cells that divide a side evenly."""
    return (torch.arange(count).double() + 0.5) * side / count


def placed_evenly(maps: Tensor, images: Tensor) -> Tensor:
    """Return maps (N, K, h, w), whose cells divide the images (N, 3, H, W) evenly, as (N, K, H, W)."""
    rows, columns = (
        _interpolation(_even(count, side), side).to(maps)
        for count, side in zip(maps.shape[-2:], images.shape[-2:], strict=True)
    )
    return rows @ maps @ columns.T


def _interpolation(centres: Tensor, side: int) -> Tensor:
    """Return the weights (side, h), float64, of linear interpolation between centres (h,) at the centres of pixels."""
    if len(centres) == 1:
        return torch.ones(side, 1, dtype=torch.float64)
    pixels = torch.arange(side, dtype=torch.float64) + 0.5
    right = torch.searchsorted(centres, pixels).clamp(1, len(centres) - 1)
    share = ((pixels - centres[right - 1]) / (centres[right] - centres[right - 1])).clamp(0, 1)
    weights = F.one_hot(right - 1, len(centres)) * (1 - share)[:, None]
    return weights + F.one_hot(right, len(centres)) * share[:, None]
