r"""Grad-CAM and its kin: a convolution layer's maps, weighted by what they mean for the class.

With A^k (h x w) the k-th map of the layer, S the class score, g = dS/dA^k and Z = h w:

    L = max(sum_k w_k A^k, 0)

    Grad-CAM     w_k = 1/Z sum_ij g_ij                          Selvaraju et al. 2017, equations 1 and 2
    Grad-CAM++   w_k = sum_ij alpha_ij max(dY/dA^k_ij, 0)       Chattopadhay et al. 2018, equations 5 to 7
                 alpha_ij = Y2_ij / (2 Y2_ij + sum_ab A^k_ab Y3_ij)

Y2 and Y3 are the second and third derivatives of Y by A^k_ij. Grad-CAM++ takes Y = exp(S), for which dY/dA
= Y g, Y2 = Y g^2, Y3 = Y g^3 (equations 15 to 17: a network of ReLUs is linear in A almost everywhere). Y
then cancels from alpha, and where g is not zero so does g^2:

    alpha_ij = 1 / (2 + g_ij sum_ab A^k_ab)

We use this form: it is the same number, and neither g^3 nor exp(S) can under- or overflow. The remaining
factor Y of w_k is one positive number an image; it scales the map and is left out.

The map is up-sampled to the image bilinearly. The guided variants multiply it with guided backpropagation
(Selvaraju et al., section 3.2).
"""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from captum.attr import Attribution
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.guided import GuidedBackprop
from evident.explainers.shared.heatmap import channel_norm, positive_sum
from evident.explainers.shared.targets import target_scores
from evident.models.untouched import untouched

Weights = Literal["grad_cam", "grad_cam_pp"]


def grad_cam_weights(activations: Tensor, gradients: Tensor) -> Tensor:
    """w_k (N, K, 1, 1) of Grad-CAM from A and g, each (N, K, h, w)."""
    return gradients.mean((2, 3), keepdim=True)


def grad_cam_pp_weights(activations: Tensor, gradients: Tensor) -> Tensor:
    """w_k / exp(S) (N, K, 1, 1) of Grad-CAM++ from A and g, each (N, K, h, w)."""
    denominator = 2 + gradients * activations.sum((2, 3), keepdim=True)
    # Only a layer with negative activations can make it zero; the authors' code then takes one.
    alpha = 1 / torch.where(denominator == 0, 1, denominator)
    return (alpha * gradients.clamp(min=0)).sum((2, 3), keepdim=True)


_WEIGHTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "grad_cam": grad_cam_weights,
    "grad_cam_pp": grad_cam_pp_weights,
}


def submodule(model: nn.Module, layer: str) -> nn.Module:
    """The module named `layer`; raises `UserError` where there is none."""
    names = [name for name, _ in model.named_modules() if name]
    if layer not in names:
        last = ", ".join(names[-8:])
        raise UserError(f"layer={layer!r} is no module of {type(model).__name__}; its last ones are {last}")
    return model.get_submodule(layer)


def run_to_layer(model: nn.Module, layer: str, images: Tensor) -> tuple[Tensor, Tensor]:
    """The output A (N, K, h, w) of the module named `layer`, and the network's output, which depends on it.

    To be called within `untouched(model)`. Raises `UserError` for a layer that the model does not have or
    does not run, and for one that gives no feature maps.
    """
    outputs: list[Tensor] = []

    def keep(module: nn.Module, args: object, output: Tensor) -> Tensor:
        outputs.append(output)
        # The network goes on with a copy, which an in-place operation may overwrite.
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
        raise UserError(f"layer={layer!r} gives {shape}, not feature maps (N, K, h, w); name a convolution layer")
    return activations, scores


def upsampled(maps: Tensor, images: Tensor) -> Tensor:
    """Maps (N, K, h, w) at the size (N, K, H, W) of the images, bilinearly."""
    return F.interpolate(maps, images.shape[-2:], mode="bilinear", align_corners=False)


class GradCAM(Attribution):
    """Grad-CAM or Grad-CAM++ (N, 1, H, W); with `guided`, times guided backpropagation (N, 3, H, W).

    `layer` is a dotted module name, usually the last with feature maps. Raises `UserError` for an unknown
    layer or kind of weights.
    """

    heatmap = staticmethod(channel_norm)

    def __init__(self, model: nn.Module, layer: str, weights: Weights = "grad_cam", guided: bool = False) -> None:
        if weights not in _WEIGHTS:
            raise UserError(f"weights={weights!r} is unknown; use {' or '.join(_WEIGHTS)}")
        submodule(model, layer)
        super().__init__(model)
        self.model, self.layer = model, layer
        self.weights = _WEIGHTS[weights]
        self.guided = GuidedBackprop(model) if guided else None

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        with untouched(self.model):
            images = inputs.detach().clone().requires_grad_()
            activations, outputs = run_to_layer(self.model, self.layer, images)
            scores = target_scores(outputs, target)
            (gradients,) = torch.autograd.grad(scores.sum(), activations)
        activations = activations.detach()
        weights = self.weights(activations, gradients)
        cam = upsampled((weights * activations).sum(1, keepdim=True).clamp(min=0), inputs)
        return cam if self.guided is None else cam * self.guided.attribute(inputs, target)


class Activations(Attribution):
    """What the network sees, whatever the class: mean_k max(A^k, 0) of `layer`, up-sampled to (N, 1, H, W).

    Raises `UserError` for an unknown layer.
    """

    heatmap = staticmethod(positive_sum)

    def __init__(self, model: nn.Module, layer: str) -> None:
        submodule(model, layer)
        super().__init__(model)
        self.model, self.layer = model, layer

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        with untouched(self.model), torch.no_grad():
            activations, _ = run_to_layer(self.model, self.layer, inputs.detach().clone())
        return upsampled(activations.clamp(min=0).mean(1, keepdim=True), inputs)
