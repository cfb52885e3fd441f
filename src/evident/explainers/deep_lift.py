r"""DeepLift: the difference to a reference, passed back through the network by the Rescale rule.

A. Shrikumar, P. Greenside, A. Kundaje: *Learning important features through propagating activation differences*, ICML
2017, arXiv 1704.02685. With x0 the reference, S the score of the target and m the multiplier of a pixel's channel, by
the chain rule (equation 3) from the rules of every call (`rescale_rule`):

    attribution_i = m_i (x_i - x0_i),     sum_i attribution_i = S(x) - S(x0)     equation 1, summation to delta

The reference is the network's mean colour, or the blurred image. Captum's DeepLift hooks modules, so it misses
functional and reused nonlinearities and those of other classes, and is no longer complete; ours sees calls. Where the
sum differs from S(x) - S(x0), because calls were not seen, it raises an error.
"""

import torch
from captum.attr import Attribution
from torch import Tensor, nn

from evident.errors import NotApplicable
from evident.explainers.shared.heatmap import positive_sum
from evident.explainers.shared.rescale_rule import ReferencePass, RescaleRules
from evident.explainers.shared.targets import target_scores, targets
from evident.models.reference_images import Reference, reference_images
from evident.models.untouched import untouched

# Rounding of float32, measured on trained networks, is 1e-7 of the sum of |attribution|.
_OF_ATTRIBUTION, _OF_SCORES = 1e-4, 1e-5


class DeepLift(Attribution):
    """Compute DeepLift (N, 3, H, W), `batch_size` images at a time: what each value adds to S(x) - S(x0).

    `baseline` is mean_colour or blur. Raises `UserError` for an unknown baseline, and for a network that makes a call
    without a rule.
    """

    heatmap = staticmethod(positive_sum)

    def __init__(self, model: nn.Module, baseline: Reference = "mean_colour", batch_size: int = 8) -> None:
        super().__init__(model)
        self.model, self.baseline, self.batch_size = model, baseline, batch_size

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        classes = targets(target, len(inputs))
        parts = zip(inputs.detach().split(self.batch_size), classes.split(self.batch_size), strict=True)
        return torch.cat([self._attribute(*part) for part in parts])

    def _attribute(self, inputs: Tensor, target: Tensor) -> Tensor:
        with untouched(self.model, inputs):
            images = inputs.clone().requires_grad_()
            references = reference_images(inputs, self.model, self.baseline).clone().requires_grad_()
            with ReferencePass() as reference:
                before = self.model(references)
            with RescaleRules(reference):
                outputs = self.model(images)
            scores = target_scores(outputs, target)
            (multipliers,) = torch.autograd.grad(scores.sum(), images)
            attribution = multipliers * (inputs - references.detach())
        self._check(attribution, scores.detach(), target_scores(before.detach(), target))
        return attribution

    def _check(self, attribution: Tensor, score: Tensor, before: Tensor) -> None:
        """Raise `UserError` if an attribution does not sum to the difference of the scores (N,) up to rounding."""
        difference = score - before
        gap = (attribution.sum((1, 2, 3)) - difference).abs()
        rounding = _OF_ATTRIBUTION * attribution.abs().sum((1, 2, 3)) + _OF_SCORES * (score.abs() + before.abs())
        if (wrong := gap > rounding).any():
            index = int(wrong.nonzero()[0, 0])
            raise NotApplicable(
                f"DeepLift of {type(self.model).__name__} sums to {attribution[index].sum():.4g}, but the score is "
                f"{difference[index]:.4g} above the reference's: the network makes calls that Python does not see; use "
                "integrated_gradients"
            )
