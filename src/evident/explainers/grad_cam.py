r"""Grad-CAM and related methods: the maps of a convolution layer, weighted by their importance for the class.

A^k (h x w) is the k-th map of the layer, Z = h w, S the class score and g = dS/dA^k. Grad-CAM++ replaces S by
Y = exp(S). The map is L:

    L = max(sum_k w_k A^k, 0)

    Grad-CAM     w_k = 1/Z sum_ij g_ij                          Selvaraju et al. 2017, equations 1 and 2
    Grad-CAM++   w_k = sum_ij alpha_ij max(dY/dA^k_ij, 0)       Chattopadhay et al. 2018, equations 5 to 7
                 alpha_ij = Y2_ij / (2 Y2_ij + sum_ab A^k_ab Y3_ij)
    HiRes-CAM    w_kij = g_ij                                   Draelos and Carin 2020, arXiv 2011.08891
    Layer-CAM    w_kij = max(g_ij, 0)                           Jiang et al., IEEE TIP 2021

HiRes-CAM and Layer-CAM weigh every position by its own gradient. Where the layers that follow are linear, the map of
HiRes-CAM without the maximum sums to the score without its bias.

Y2 and Y3 are the second and third derivatives of Y with respect to A^k_ij. For Y = exp(S), dY/dA = Y g, Y2 = Y g^2 and
Y3 = Y g^3 (equations 15 to 17: a network of ReLUs is linear in A almost everywhere). Then Y cancels in alpha, and so
does g^2 where g is not zero:

    alpha_ij = 1 / (2 + g_ij sum_ab A^k_ab)

We use this form: it is the same number, and neither g^3 nor exp(S) can underflow or overflow. The factor Y remains in
w_k, one positive number per image. This factor scales the whole map; we omit it.

`Placement` places the map in the image. The guided variants multiply it by guided backpropagation
(Selvaraju et al., section 3.2). `Activations` is the mean of max(A^k, 0) over k, which does not depend on the class.
"""

from collections.abc import Callable
from typing import Literal

import torch
from captum.attr import Attribution
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.guided import GuidedBackprop
from evident.explainers.shared.feature_maps import run_to_layer
from evident.explainers.shared.heatmap import channel_norm, positive_sum
from evident.explainers.shared.placement import Kind, Placement
from evident.explainers.shared.targets import target_scores
from evident.models.untouched import untouched

Weights = Literal["grad_cam", "grad_cam_pp", "hires_cam", "layer_cam"]


def grad_cam_weights(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return w_k (N, K, 1, 1) of Grad-CAM from A and g, each (N, K, h, w)."""
    return gradients.mean((2, 3), keepdim=True)


def grad_cam_pp_weights(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return w_k / exp(S) (N, K, 1, 1) of Grad-CAM++ from A and g, each (N, K, h, w)."""
    denominator = 2 + gradients * activations.sum((2, 3), keepdim=True)
    # Negative activations can make the denominator zero. The authors' code then uses one, and so do we.
    alpha = 1 / torch.where(denominator == 0, 1, denominator)
    return (alpha * gradients.clamp(min=0)).sum((2, 3), keepdim=True)


def hires_cam_weights(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return w_kij (N, K, h, w) of HiRes-CAM from A and g, each (N, K, h, w)."""
    return gradients


def layer_cam_weights(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return w_kij (N, K, h, w) of Layer-CAM from A and g, each (N, K, h, w)."""
    return gradients.clamp(min=0)


_WEIGHTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "grad_cam": grad_cam_weights,
    "grad_cam_pp": grad_cam_pp_weights,
    "hires_cam": hires_cam_weights,
    "layer_cam": layer_cam_weights,
}


class GradCAM(Attribution):
    """Compute the map L of one kind of weights (N, 1, H, W); with `guided`, times guided backpropagation (N, 3, H, W).

    `layer` is a dotted module name, usually of the last module with feature maps. Raises `UserError` for an unknown
    layer and for an unknown kind of weights or placement.
    """

    heatmap = staticmethod(channel_norm)

    def __init__(
        self,
        model: nn.Module,
        layer: str,
        weights: Weights = "grad_cam",
        guided: bool = False,
        placement: Kind = "measured",
    ) -> None:
        if weights not in _WEIGHTS:
            raise UserError(f"weights={weights!r} is unknown; use {', '.join(_WEIGHTS)}")
        super().__init__(model)
        self.model, self.layer, self.placement = model, layer, Placement(model, layer, placement)
        self.weights = _WEIGHTS[weights]
        self.guided = GuidedBackprop(model) if guided else None

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        with untouched(self.model, inputs):
            images = inputs.detach().clone().requires_grad_()
            run = run_to_layer(self.model, self.layer, images)
            gradients = run.gradients(target_scores(run.output, target), self.layer)
        activations = run.maps.detach()
        weights = self.weights(activations, gradients)
        cam = self.placement((weights * activations).sum(1, keepdim=True).clamp(min=0), inputs)
        return cam if self.guided is None else cam * self.guided.attribute(inputs, target)


class Activations(Attribution):
    """Compute mean_k max(A^k, 0) of `layer` as (N, 1, H, W): the active regions, regardless of the class.

    Raises `UserError` for an unknown layer.
    """

    heatmap = staticmethod(positive_sum)

    def __init__(self, model: nn.Module, layer: str, placement: Kind = "measured") -> None:
        super().__init__(model)
        self.model, self.layer, self.placement = model, layer, Placement(model, layer, placement)

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        with untouched(self.model, inputs), torch.no_grad():
            run = run_to_layer(self.model, self.layer, inputs.detach().clone())
            target_scores(run.output, target)  # refuses a class that the network does not have, as every method does
        return self.placement(run.maps.clamp(min=0).mean(1, keepdim=True), inputs)
