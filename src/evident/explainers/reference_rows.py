"""The rows that every table carries: what a heatmap scores that knows nothing, or everything.

A method that cannot beat `random`, `centre` (evidence tends to be in the middle) and `edges` (networks and
Sobel filters both like contrast: Adebayo et al. 2018) explains nothing; `oracle` shows what could be reached.
"""

import torch
import torch.nn.functional as F
from captum.attr import Attribution
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.shared.heatmap import positive_sum
from evident.explainers.shared.seeding import image_generator


class Random(Attribution):
    """Uniform numbers in [0, 1), one a pixel (N, 1, H, W), which belong to the seed and the image."""

    heatmap = staticmethod(positive_sum)

    def __init__(self, model: nn.Module, seed: int = 0) -> None:
        super().__init__(model)
        self.seed = seed

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        noise = [torch.rand(1, *x.shape[1:], generator=image_generator(x, self.seed)) for x in inputs]
        return torch.stack(noise).to(inputs)


class Centre(Attribution):
    """A Gaussian (N, 1, H, W) in the middle, with a standard deviation of `width` times each side."""

    heatmap = staticmethod(positive_sum)

    def __init__(self, model: nn.Module, width: float = 0.25) -> None:
        super().__init__(model)
        self.width = width

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        rows, columns = (
            torch.exp(-0.5 * (((torch.arange(side).to(inputs) + 0.5) / side - 0.5) / self.width) ** 2)
            for side in inputs.shape[-2:]
        )
        return (rows[:, None] * columns).repeat(len(inputs), 1, 1, 1)


class Edges(Attribution):
    """The magnitude (N, 1, H, W) of the Sobel gradient of the luminance (Rec. 601)."""

    heatmap = staticmethod(positive_sum)

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        luminance = (inputs.detach() * inputs.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, True)
        sobel = inputs.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
        filters = torch.stack([sobel, sobel.T])[:, None]
        slopes = F.conv2d(F.pad(luminance, (1, 1, 1, 1), mode="replicate"), filters)
        return slopes.square().sum(1, keepdim=True).sqrt()


class Oracle(Attribution):
    """The mask itself (N, 1, H, W), one where the evidence is; `UserError` without a mask (N, H, W).

    Where it is known what every place is worth, of either sign, that is its mask.
    """

    heatmap = staticmethod(positive_sum)
    needs_mask = True

    def attribute(self, inputs: Tensor, target: Tensor | int, mask: Tensor | None = None) -> Tensor:
        if mask is None:
            raise UserError("explainer=oracle needs masks, which this data set does not have; leave it out")
        return mask[:, None].to(inputs)
