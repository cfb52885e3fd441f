"""A network whose image is a grid of tiles that do not see each other, and whose scores come from the first tile alone.

This is DiFull (Rao, Böhle, Schiele 2022, arXiv 2205.10435): every tile passes the layers as an image of its own would,
and the head, which summarises a map, gets the map of the first tile only. So pixels of other tiles have no effect on
the scores, but the maps of a layer (N, K, h, w) still show all tiles, and methods that read a layer see them.

    inside `disconnected(model, grid, size)`      call of a forward pass
    tile by tile                                  convolution, pooling, padding, normalisation over positions
    of the first tile, from there on              global pooling, sums over positions, flattening: the head
    unchanged                                     all other calls

The calls are replaced as in `explainers.shared.backward_rules`: no module is changed, and an explainer that was built
and fitted for the network explains the disconnected one.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from evident.errors import NotApplicable
from evident.models import functions
from evident.models.functions import spellings

_LOCAL = functions.CONVOLUTIONS | functions.TRANSPOSED_CONVOLUTIONS | functions.NORMALISATIONS
_TILE_BY_TILE = _LOCAL | spellings("max_pool2d avg_pool2d lp_pool2d") | {F.pad}
_GLOBAL_POOLING = spellings("adaptive_avg_pool2d adaptive_max_pool2d")
_SUMS = spellings("mean sum amax logsumexp")
_RESHAPING = spellings("view reshape flatten squeeze")


class Grid(NamedTuple):
    """Hold how many tiles of equal size an image has along its height and width."""

    rows: int
    columns: int

    def split(self, maps: Tensor) -> Tensor:
        """Return the tiles (N rows columns, K, h, w) of maps (N, K, H, W), image by image in reading order."""
        lines = maps.unflatten(3, (self.columns, -1)).unflatten(2, (self.rows, -1))
        return lines.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)

    def join(self, tiles: Tensor) -> Tensor:
        """Return the maps (N, K, H, W) whose `split` is `tiles`."""
        lines = tiles.unflatten(0, (-1, self.rows, self.columns))
        return lines.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


@contextmanager
def disconnected(model: nn.Module, grid: Grid, size: tuple[int, int]) -> Iterator[None]:
    """Disconnect the tiles of images (N, 3, *size) in the forward passes of `model` within the body.

    Images of another size pass the network as always. Raises `NotApplicable`, in the forward pass, for a network whose
    head cannot be told from its layers: one that summarises a map and continues with maps or tokens, such as those with
    squeeze-and-excitation or attention.
    """
    passes: list[_Disconnected | None] = []

    def enter(module: nn.Module, args: tuple[Any, ...]) -> None:
        images = args[0]
        # A subclass of tensors measures something, such as receptive fields.
        is_grid = type(images) is Tensor and tuple(images.shape[2:]) == size
        passes.append(_Disconnected(grid, size) if is_grid else None)
        if passes[-1] is not None:
            passes[-1].__enter__()

    def leave(*_: Any) -> None:
        if passes and (mode := passes.pop()) is not None:
            mode.__exit__(None, None, None)

    # The mode starts within the forward pass, after those of an explainer: its rules for the backward pass get tiles.
    hooks = [
        model.register_forward_pre_hook(enter, prepend=True),
        model.register_forward_hook(leave, always_call=True),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def check_disconnected(model: nn.Module, grid: Grid, images: Tensor) -> None:
    """Raise `NotApplicable` unless the disconnected network scores images (N, 3, H, W) as it scores their first tiles.

    The network may compute across tiles by a call that is not known here. Scores may differ by 1 % of the largest.
    """
    height, width = images.shape[2:]
    with torch.no_grad():
        alone = model(grid.split(images)[:: grid.rows * grid.columns])
        with disconnected(model, grid, (height, width)):
            apart = model(images)
    if apart.shape != alone.shape or (apart - alone).abs().max() > 0.01 * alone.abs().max():
        raise NotApplicable(f"the tiles of a grid cannot be disconnected in {type(model).__name__}")


class _Disconnected(TorchFunctionMode):
    """Disconnect the tiles of one forward pass; maps are known by their sizes."""

    def __init__(self, grid: Grid, size: tuple[int, int]) -> None:
        super().__init__()
        self._grid, self._sizes, self._head = grid, {size}, False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if not args and "input" in kwargs:
            args = (kwargs.pop("input"),)
        x = args[0] if args and isinstance(args[0], Tensor) else None
        if x is None or x.dim() < 3:
            return func(*args, **kwargs)
        if self._head:
            self._check_head(func, args, kwargs)
            return func(*args, **kwargs)
        if x.dim() != 4 or tuple(x.shape[2:]) not in self._sizes:
            return func(*args, **kwargs)
        if func in _TILE_BY_TILE:
            output = self._grid.join(func(self._grid.split(x), *args[1:], **kwargs))
            self._sizes.add((output.shape[2], output.shape[3]))
            return output
        if func in _GLOBAL_POOLING or (func in _SUMS and _over_positions(args, kwargs)):
            return self._of_first_tile(func, args, kwargs)
        if func in _RESHAPING:
            output = func(*args, **kwargs)
            return output if output.shape[-2:] == x.shape[-2:] else self._of_first_tile(func, args, kwargs)
        return func(*args, **kwargs)

    def _of_first_tile(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._head = True
        x, *others = args
        height, width = x.shape[2] // self._grid.rows, x.shape[3] // self._grid.columns
        return func(x[:, :, :height, :width].contiguous(), *others, **kwargs)

    def _check_head(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        x = args[0]
        on_maps = func in _TILE_BY_TILE | _GLOBAL_POOLING and x.dim() == 4 and x.shape[2:].numel() > 1
        on_tokens = functions.reads_last_axis(func, args, kwargs) and x.shape[1:-1].numel() > 1
        if on_maps or on_tokens:
            raise NotApplicable(
                f"the tiles of a grid cannot be disconnected in a network that computes {func.__name__} of "
                f"{tuple(x.shape)} after it has summarised a map"
            )


def _over_positions(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether a sum over axes of maps (N, K, H, W) includes both axes of positions."""
    axes = args[1] if len(args) > 1 else kwargs.get("dim")
    given = (axes,) if isinstance(axes, int) else tuple(range(4)) if axes is None else tuple(axes)
    return {2, 3} <= {axis % 4 for axis in given}
