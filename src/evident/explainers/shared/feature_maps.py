r"""Feature maps of a layer (N, K, h, w), whatever the layout in which the network keeps them.

    channels first   (N, K, h, w)    convolutional networks
    channels last    (N, h, w, K)    Swin, parts of ConvNeXt
    tokens           (N, T, K)       vision transformers: extra tokens (the class token), then the patches row by row

The layout is never guessed from one shape:

- Channels are last only if the network also reads them there, by a fully connected layer or a layer normalisation of as
  many axes, and, of four axes, only the first two have the proportions of the image.
- The grid of the patches is the map of a convolution below the layer, usually the patch embedding; the tokens beyond
  its cells stand first, as in torchvision, timm and transformers. Where tokens were merged since (Swin of
  transformers), the grid is divided evenly.

What fits no layout, or two, is refused.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from evident.errors import NotApplicable, UserError
from evident.models.functions import CONVOLUTIONS, reads_last_axis
from evident.models.untouched import untouched

_EXTRA = 5  # tokens beside the patches: class tokens and registers


class Layout(NamedTuple):
    """Hold the layout of a layer's output: its kind, and for tokens the number of extra ones and the grid (h, w)."""

    kind: Literal["channels first", "channels last", "tokens"]
    extra: int = 0
    grid: tuple[int, int] = (0, 0)

    def maps(self, output: Tensor) -> Tensor:
        """Return the output as maps (N, K, h, w)."""
        if self.kind == "channels first":
            return output
        if self.kind == "channels last":
            return output.permute(0, 3, 1, 2)
        return output[:, self.extra :].transpose(1, 2).unflatten(2, self.grid)

    def output(self, maps: Tensor, output: Tensor) -> Tensor:
        """Return maps (N, K, h, w) in this layout; extra tokens are those of `output`."""
        if self.kind == "channels first":
            return maps
        if self.kind == "channels last":
            return maps.permute(0, 2, 3, 1)
        return torch.cat((output[:, : self.extra], maps.flatten(2).transpose(1, 2)), 1)


class SeesLayouts(TorchFunctionMode):
    """Note, during a forward pass, what tells layouts apart.

    `grids` are the sizes (h, w) of the maps of convolutions, in the order of the calls; `reads_last` holds 3 or 4 if a
    layer read channels from the last of so many axes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.grids: dict[tuple[int, int], None] = {}
        self.reads_last: set[int] = set()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if func in CONVOLUTIONS and output.dim() == 4:
            self.grids[output.shape[2], output.shape[3]] = None
        elif reads_last_axis(func, args, kwargs or {}):
            self.reads_last.add(output.dim())
        return output

    def layout(self, layer: str, output: Any, images: Tensor) -> Layout:
        """Return the layout of the output of the module `layer` for images (N, 3, H, W).

        Raises `NotApplicable` for an output that is not feature maps, or that can be read in two ways.
        """
        if isinstance(output, Tensor) and len(output) == len(images):
            if output.dim() == 4:
                return self._of_maps(layer, output, images)
            if output.dim() == 3 and 3 in self.reads_last and (found := self.of_tokens(output.shape[1])) is not None:
                return found
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise NotApplicable(
            f"layer={layer!r} returns {shape}, not feature maps (N, K, h, w), (N, h, w, K) or tokens of all patches; "
            "name another layer (model.layer)"
        )

    def _of_maps(self, layer: str, output: Tensor, images: Tensor) -> Layout:
        _, a, b, c = output.shape
        first, last, reads_last = _fits((b, c), images), _fits((a, b), images), 4 in self.reads_last
        if first == last and not reads_last:
            return Layout("channels first")
        if first != last and (first or reads_last):
            return Layout("channels first" if first else "channels last")
        raise NotApplicable(
            f"layer={layer!r} returns {tuple(output.shape)}, which may have channels first or last; "
            "name another layer (model.layer)"
        )

    def of_tokens(self, count: int) -> Layout | None:
        """Return the layout of `count` tokens, or None if they are not those of all patches, or of two grids."""
        whole = [grid for grid in self.grids if 0 <= count - grid[0] * grid[1] <= _EXTRA]
        if whole:
            [(height, width), *others] = whole
            return None if others else Layout("tokens", count - height * width, (height, width))
        for height, width in self.grids:
            factor = round((height * width / count) ** 0.5)
            divided = factor > 1 and height % factor == 0 == width % factor
            if divided and height * width == count * factor**2:
                return Layout("tokens", 0, (height // factor, width // factor))
        return None


def _fits(cells: tuple[int, int], images: Tensor) -> bool:
    """Return whether a map of h x w cells has the proportions of the images, up to one cell."""
    height, width = images.shape[-2:]
    return abs(cells[0] * width - cells[1] * height) < max(height, width)


def submodule(model: nn.Module, layer: str) -> nn.Module:
    """Return the module named `layer`; raise `UserError` for an unknown name."""
    names = [name for name, _ in model.named_modules() if name]
    if layer not in names:
        last = ", ".join(names[-8:])
        raise UserError(f"layer={layer!r} is not a module of {type(model).__name__}; its last modules are {last}")
    return model.get_submodule(layer)


class LayerRun(NamedTuple):
    """Hold a forward pass: maps A (N, K, h, w) of a layer, the network's output, which depends on A, and the layout."""

    maps: Tensor
    output: Tensor
    layout: Layout

    def gradients(self, scores: Tensor, layer: str) -> Tensor:
        """Return d(sum of scores)/dA (N, K, h, w).

        Raises `NotApplicable` if the patches of the layer do not reach the scores, as in the last block of a
        transformer that reads its class token only: every map would be empty.
        """
        (gradients,) = torch.autograd.grad(scores.sum(), self.maps)
        if self.layout.kind == "tokens" and not gradients.any():
            raise NotApplicable(
                f"the patches of layer={layer!r} do not reach the class scores, which read other tokens; name a module "
                "before the last attention, such as the normalisation that it starts with (model.layer)"
            )
        return gradients


def run_to_layer(model: nn.Module, layer: str, images: Tensor) -> LayerRun:
    """Run `model` on images (N, 3, H, W) and return the maps of the module named `layer`.

    Call it within `untouched(model)`. Raises `UserError` for a layer that the model does not have or does not run, and
    for a layer whose output is not feature maps.
    """
    found: list[tuple[Tensor, Layout]] = []

    def keep(module: nn.Module, args: object, output: Tensor) -> Tensor:
        layout = seen.layout(layer, output, images)
        maps = layout.maps(output)
        found.append((maps, layout))
        # The network continues with a copy, which an in-place operation may overwrite.
        return layout.output(maps.clone(), output)

    handle = submodule(model, layer).register_forward_hook(keep)
    try:
        with SeesLayouts() as seen:
            scores = model(images)
    finally:
        handle.remove()
    if not found:
        raise _not_run(model, layer)
    maps, layout = found[-1]
    return LayerRun(maps, scores, layout)


class _Reached(Exception):
    """End the forward pass at the layer: its layout is known, and the pass is not counted as one of the explainer's."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout


def layout_of(model: nn.Module, layer: str, images: Tensor) -> Layout:
    """Return the layout of the output of the module named `layer`, by running the network up to it on one image.

    Raises `UserError` as `run_to_layer` does.
    """
    image = images[:1].detach().clone()

    def stop(module: nn.Module, args: object, output: Any) -> None:
        raise _Reached(seen.layout(layer, output, image))

    handle = submodule(model, layer).register_forward_hook(stop)
    try:
        with untouched(model), torch.no_grad(), SeesLayouts() as seen:
            model(image)
    except _Reached as reached:
        return reached.layout
    finally:
        handle.remove()
    raise _not_run(model, layer)


def _not_run(model: nn.Module, layer: str) -> UserError:
    return UserError(f"layer={layer!r} is not run by the forward pass of {type(model).__name__}")
