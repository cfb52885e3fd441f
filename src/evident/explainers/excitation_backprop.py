r"""Excitation backpropagation: which neurons of a layer win, when winners are drawn from the class downwards.

J. Zhang, Z. Lin, J. Brandt, X. Shen, S. Sclaroff: *Top-down neural attention by excitation backprop*, ECCV 2016, arXiv
1608.00507. The class wins with probability one; each winner passes its probability on to the neurons that excite it
(`excitation_rules`). At a layer in the middle of the network, the probabilities' sum over channels is the map; it sums
to one before it is up-sampled bilinearly to the image.

Contrastive (section 3.3): the class's excitation less that of its opposite, whose weights are the negative ones, both
from the last weighted layer downwards; what is left of the map below zero is cut off.
"""

import torch
from captum.attr import Attribution
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.grad_cam import run_to_layer, submodule, upsampled
from evident.explainers.shared.excitation_rules import ExcitationRules
from evident.explainers.shared.heatmap import positive_sum
from evident.explainers.shared.targets import target_scores
from evident.models.untouched import untouched


def winning_probability(
    model: nn.Module, layer: str, inputs: Tensor, target: Tensor | int, contrastive: bool = False
) -> Tensor:
    """The probability (N, K, h, w) that a neuron of the module named `layer` wins, given that the target does.

    Raises `UserError` for a layer that gives no feature maps, or has no weighted layer above it to be contrastive at.
    """
    with untouched(model):
        images = inputs.detach().clone().requires_grad_()
        with ExcitationRules() as rules:
            activations, outputs = run_to_layer(model, layer, images)
        if contrastive and rules.last is not None:
            rules.last.contrastive = True
        (probability,) = torch.autograd.grad(target_scores(outputs, target).sum(), activations)
    if contrastive and not (rules.last is not None and rules.last.reached):
        raise UserError(f"layer={layer!r} has no convolution or fully connected layer above it; name an earlier layer")
    return probability


class ExcitationBackprop(Attribution):
    """The sum over channels of the winning probability at `layer`, up-sampled to (N, 1, H, W); no value is negative.

    `contrastive` takes the opposite class's map off. Raises `UserError` for an unknown layer.
    """

    heatmap = staticmethod(positive_sum)

    def __init__(self, model: nn.Module, layer: str, contrastive: bool = False) -> None:
        submodule(model, layer)
        super().__init__(model)
        self.model, self.layer, self.contrastive = model, layer, contrastive

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        probability = winning_probability(self.model, self.layer, inputs, target, self.contrastive)
        return upsampled(probability.sum(1, keepdim=True).clamp(min=0), inputs)
