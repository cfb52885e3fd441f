r"""Layer-wise relevance propagation (LRP), composite *epsilon plus flat*: the score, handed back layer by layer.

S. Bach, A. Binder, G. Montavon, F. Klauschen, K.-R. Müller, W. Samek: *On pixel-wise explanations for non-linear
classifier decisions by layer-wise relevance propagation*, PLoS ONE 10(7), 2015. The score of the target is its
relevance; each layer distributes the relevance of its outputs among its inputs by the rule that suits its depth
(G. Montavon, A. Binder, S. Lapuschkin, W. Samek, K.-R. Müller: *Layer-wise relevance propagation: an overview*, 2019):

    R_j = sum_i  z_ij / z_i  R_i,     z_i = sum_j z_ij     epsilon, z+ and flat differ in z_ij (`relevance_rules`)

The relevance of the image sums to the score, but for the part that biases and the stabiliser take. It is a contribution
to the score, so the heatmap is the positive part of the sum over channels. Flat gives the three channels of a pixel the
same relevance, so that the sum loses nothing.

Computed as zennit's EpsilonPlusFlat computes it, started at the score: at a negative score, positive relevance is still
what raises it.
"""

import torch
from captum.attr import Attribution
from torch import Tensor, nn

from evident.errors import NotApplicable
from evident.explainers.shared.heatmap import positive_sum
from evident.explainers.shared.relevance_rules import RelevanceRules
from evident.explainers.shared.targets import target_scores
from evident.models.untouched import untouched


class LRP(Attribution):
    """Compute the relevance (N, 3, H, W) of every value of the image, in units of the score.

    Raises `UserError` for a network that makes a call without a rule, or has no convolution or fully connected layer.
    """

    heatmap = staticmethod(positive_sum)

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.model = model

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        with untouched(self.model, inputs):
            images = inputs.detach().clone().requires_grad_()
            with RelevanceRules() as rules:
                outputs = self.model(images)
            if not rules.layers:
                raise NotApplicable(
                    f"{type(self.model).__name__} calls no convolution and no fully connected layer, so LRP has no "
                    "rule to apply; use integrated_gradients"
                )
            scores = target_scores(outputs, target)
            return torch.autograd.grad(scores, images, scores.detach())[0]
