"""Feature maps of a layer: reading them in a forward pass and up-sampling them to the image."""

import torch.nn.functional as F
from torch import Tensor, nn

from evident.errors import UserError


def submodule(model: nn.Module, layer: str) -> nn.Module:
    """Return the module named `layer`; raise `UserError` for an unknown name."""
    names = [name for name, _ in model.named_modules() if name]
    if layer not in names:
        last = ", ".join(names[-8:])
        raise UserError(f"layer={layer!r} is not a module of {type(model).__name__}; its last modules are {last}")
    return model.get_submodule(layer)


def run_to_layer(model: nn.Module, layer: str, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the output A (N, K, h, w) of the module named `layer`, and the network's output, which depends on A.

    Call it within `untouched(model)`. Raises `UserError` for a layer that the model does not have or does not run, and
    for a layer whose output is not feature maps.
    """
    outputs: list[Tensor] = []

    def keep(module: nn.Module, args: object, output: Tensor) -> Tensor:
        outputs.append(output)
        # The network continues with a copy, which an in-place operation may overwrite.
        return output.clone() if isinstance(output, Tensor) else output

    handle = submodule(model, layer).register_forward_hook(keep)
    try:
        scores = model(images)
    finally:
        handle.remove()
    if not outputs:
        raise UserError(f"layer={layer!r} is not run by the forward pass of {type(model).__name__}")
    activations = outputs[-1]
    if not isinstance(activations, Tensor) or activations.dim() != 4:
        shape = tuple(activations.shape) if isinstance(activations, Tensor) else type(activations).__name__
        raise UserError(f"layer={layer!r} returns {shape}, not feature maps (N, K, h, w); name a convolution layer")
    return activations, scores


def upsampled(maps: Tensor, images: Tensor) -> Tensor:
    """Return maps (N, K, h, w) up-sampled bilinearly to the size of the images (N, K, H, W)."""
    return F.interpolate(maps, images.shape[-2:], mode="bilinear", align_corners=False)
