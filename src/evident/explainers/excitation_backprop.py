r"""Excitation backpropagation: the probability that a neuron wins in a top-down winner-take-all process.

J. Zhang, Z. Lin, J. Brandt, X. Shen, S. Sclaroff: *Top-down neural attention by excitation backprop*, ECCV 2016, arXiv
1608.00507. The class wins with probability one; each winner distributes its probability among the neurons that excite
it (`excitation_rules`). The map is the sum over channels of the probabilities at an intermediate layer. It sums to one
before `Placement` places it in the image.

The contrastive variant (section 3.3) subtracts the excitation of the opposite class, which has the negated weights;
both start at the last weighted layer. Negative values of the map are clipped.
"""

import torch
from captum.attr import Attribution
from torch import Tensor, nn

from evident.errors import NotApplicable
from evident.explainers.shared.excitation_rules import ExcitationRules
from evident.explainers.shared.feature_maps import run_to_layer
from evident.explainers.shared.heatmap import positive_sum
from evident.explainers.shared.placement import Kind, Placement
from evident.explainers.shared.targets import target_scores
from evident.models.untouched import untouched


def winning_probability(
    model: nn.Module, layer: str, inputs: Tensor, target: Tensor | int, contrastive: bool = False
) -> Tensor:
    """Return the probability (N, K, h, w) that each neuron of the module named `layer` wins, given the target.

    Raises `UserError` for a layer whose output is not feature maps, for a layer without a convolution, fully connected
    layer, average or sum above it, and for a contrastive map of a layer without the former two.
    """
    with untouched(model, inputs):
        images = inputs.detach().clone().requires_grad_()
        with ExcitationRules() as rules:
            run = run_to_layer(model, layer, images)
        if contrastive and rules.last is not None:
            rules.last.contrastive = True
        (probability,) = torch.autograd.grad(target_scores(run.output, target).sum(), run.maps)
    needed = {"contrastive"} if contrastive else {"weights", "weights of one"}
    if not needed & rules.used:
        raise NotApplicable(
            f"layer={layer!r} has no convolution or fully connected layer above it; name an earlier layer"
        )
    return probability


class ExcitationBackprop(Attribution):
    """Compute the non-negative sum over channels of the winning probability at `layer`, placed in (N, 1, H, W).

    `contrastive` subtracts the map of the opposite class. Raises `UserError` for an unknown layer.
    """

    heatmap = staticmethod(positive_sum)

    def __init__(self, model: nn.Module, layer: str, contrastive: bool = False, placement: Kind = "measured") -> None:
        super().__init__(model)
        self.model, self.layer, self.contrastive = model, layer, contrastive
        self.placement = Placement(model, layer, placement)

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        probability = winning_probability(self.model, self.layer, inputs, target, self.contrastive)
        return self.placement(probability.sum(1, keepdim=True).clamp(min=0), inputs)
