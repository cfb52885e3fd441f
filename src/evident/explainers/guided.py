"""Guided backpropagation and deconvolution: gradients with an alternative rule at the rectifiers.

J. T. Springenberg, A. Dosovitskiy, T. Brox, M. Riedmiller: *Striving for simplicity: the all convolutional
net*, ICLR workshop 2015, section 3.4; M. D. Zeiler, R. Fergus: *Visualizing and understanding convolutional
networks*, ECCV 2014, section 2.1. Here, both start from the class score, and the heatmap is that of VEBI: negative
values clipped, then the L2 norm over channels.

The papers' networks have rectifiers only. For other activations, `backward_rules` generalises both rules, which is our
choice. A network without any activation would get the plain gradient, so it raises an error.
"""

import torch
from captum.attr import Attribution
from torch import Tensor, nn

from evident.errors import NotApplicable
from evident.explainers.shared.backward_rules import BackwardRules, ReluRule
from evident.explainers.shared.heatmap import channel_norm
from evident.explainers.shared.targets import target_scores
from evident.models.untouched import untouched


def input_gradient(model: nn.Module, inputs: Tensor, target: Tensor | int, relu: ReluRule | None) -> Tensor:
    """Return d score_target / d image (N, 3, H, W) by the chain rule, with the rule `relu` at the activations.

    Raises `UserError` for a rule and a network that calls no rectifier and no other activation.
    """
    with untouched(model, inputs):
        images = inputs.detach().clone().requires_grad_()
        with BackwardRules(relu=relu) as rules:
            scores = target_scores(model(images), target)
        if relu is not None and not rules.activations:
            raise NotApplicable(
                f"{type(model).__name__} calls no rectifier or other activation, so {relu} would be the plain "
                "gradient; use explainer=gradient"
            )
        return torch.autograd.grad(scores.sum(), images)[0]


class GuidedBackprop(Attribution):
    """Compute guided backpropagation (N, 3, H, W) of the class score: R * 1[x > 0] * 1[R > 0] at each rectifier.

    Raises `UserError` for a network without any activation.
    """

    heatmap = staticmethod(channel_norm)

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.model = model

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        return input_gradient(self.model, inputs, target, "guided")


class Deconvolution(Attribution):
    """Compute the deconvolution (N, 3, H, W) of the class score: R * 1[R > 0] at each rectifier, for any input.

    Raises `UserError` for a network without any activation.
    """

    heatmap = staticmethod(channel_norm)

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.model = model

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        return input_gradient(self.model, inputs, target, "deconvnet")
