"""Cell centres: where in the image the positions of a layer's map look.

Position i of a map has a receptive field that starts at start + i jump and covers `extent` pixels (Araujo, Norris and
Sim 2019), some of them beyond the border of the image. The centre of this *unclipped* field is the place of the cell:

    centre_i = start + i jump + extent / 2

in pixels from the left or upper edge of the image, whose first pixel has its centre at 1/2. Resizing a map to the image
puts cell i of h at (i + 1/2) H / h instead. The two agree only where the padding happens to fill the fields.

Start, jump and extent are measured (`receptive_fields`): the network runs on a canvas so large that some fields are not
clipped on the left, and some not on the right. Left padding does not depend on the size of the canvas, or, if it does
(padding of TensorFlow's kind), only on the remainder of the size by the jump, which the canvas keeps.

A value that summarises a whole map, such as the gate of squeeze-and-excitation or the statistics of a group
normalisation, has no place: it does not move the cells that it scales.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evident.errors import NotApplicable, UserError
from evident.models.untouched import untouched
from evident.relevance.receptive_fields import Extent, boxes, extents_of_pixels

_CANVASES = (2, 3, 4, 8)  # sides of the image: a field may be half as large again as the canvas
_CELLS = 8  # needed to tell fields that are clipped from others


class _Reached(Exception):
    """End the forward pass at the layer: later layers may accept images of one size only."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output


class _LocalExtent(Extent):
    """Hold extents of values that have a place; summaries of a whole map have none."""

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in (F.group_norm, F.instance_norm):
            return args[0].clone()
        result = super().__torch_function__(func, types, args, kwargs)
        if isinstance(result, cls) and _summarises(args[0], result):
            with torch._C.DisableTorchFunctionSubclass():
                result.fill_(float("-inf"))
        return result


def _summarises(given: Any, result: Tensor) -> bool:
    with torch._C.DisableTorchFunctionSubclass():
        maps = isinstance(given, Tensor) and given.dim() == 4 and given.shape[2:].numel() > 1
        return maps and (result.dim() == 2 or (result.dim() == 4 and result.shape[2:].numel() == 1))


def cell_centres(model: nn.Module, layer: str, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the centres of the rows (h,) and columns (w,) of the map of the module `layer`, float64, in pixels.

    `size` is that of the image (3, H, W). A map of one cell has the centre of the image. Raises `UserError` where the
    fields cannot be measured: an operation without a rule, a layer whose cells see the whole image or are not at equal
    distances.
    """
    height, width = _fields(model, layer, size).shape[1:]
    if (height, width) == (1, 1):
        return torch.tensor([size[0] / 2]).double(), torch.tensor([size[1] / 2]).double()
    for factor in _CANVASES:
        canvas = factor * size[0], factor * size[1]
        rows, columns = _lines(model, layer, canvas)
        if rows is not None and columns is not None:
            same_remainder = (
                canvas[0] + (size[0] - canvas[0]) % rows.jump,
                canvas[1] + (size[1] - canvas[1]) % columns.jump,
            )
            if same_remainder != canvas:
                rows, columns = _lines(model, layer, same_remainder)
            if rows is not None and columns is not None:
                return rows.centres(height), columns.centres(width)
    raise NotApplicable(
        f"the cells of layer={layer!r} have no places: each sees the whole image or the distances differ; "
        "name an earlier layer, or use placement=resized"
    )


class _Line(NamedTuple):
    """Hold the centre of the first cell of a row or column, and the distance of its cells, in pixels."""

    first: float
    jump: int

    def centres(self, count: int) -> Tensor:
        return self.first + self.jump * torch.arange(count, dtype=torch.float64)


def _lines(model: nn.Module, layer: str, canvas: tuple[int, int]) -> tuple[_Line | None, _Line | None]:
    """Return the rows and columns of the layer's cells, None for those that the canvas is too small to measure."""
    top, left, bottom, right = _fields(model, layer, canvas)
    row, column = len(top) // 2, top.shape[1] // 2
    return _line(top[:, column], bottom[:, column]), _line(left[row], right[row])


def _fields(model: nn.Module, layer: str, canvas: tuple[int, int]) -> Tensor:
    """Return the boxes (4, h, w) of the receptive fields, clipped at the border of the canvas."""

    def stop(module: nn.Module, args: object, output: Tensor) -> None:
        raise _Reached(output)

    handle = model.get_submodule(layer).register_forward_hook(stop)
    try:
        with untouched(model), torch.no_grad():
            model(extents_of_pixels(canvas).as_subclass(_LocalExtent))
    except _Reached as reached:
        return boxes(layer, reached.output)
    finally:
        handle.remove()
    raise UserError(f"layer={layer!r} is not run by the forward pass of {type(model).__name__}")


def _line(starts: Tensor, ends: Tensor) -> _Line | None:
    """Return the line of cells with these clipped fields; None where too many are clipped or the distances differ.

    A quarter of the canvas from its left border, fields are clipped on the left at most, so their ends are exact; a
    quarter from its right border, their starts are.
    """
    cells = len(starts)
    if cells < _CELLS:
        return None
    left, right = cells // 4, cells - 1 - cells // 4
    jumps = torch.cat((ends[left - 1 : left + 2].diff(), starts[right - 1 : right + 2].diff()))
    jump = int(jumps[0])
    if jump <= 0 or (jumps != jump).any():
        return None
    start, end = int(starts[right]) - right * jump, int(ends[left]) - left * jump
    return _Line((start + end) / 2, jump)
