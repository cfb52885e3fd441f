"""Reference rows of every table: heatmaps without any knowledge of the network, and the ground truth.

`random`, `centre` (evidence tends to be in the middle) and `edges` (networks and Sobel filters both respond to
contrast: Adebayo et al. 2018) ignore the network. A method that does not beat these rows shows no information about the
network. `oracle` has the best localisation score. `control_constant` shows nothing; only sanity checks ask for it.
"""

import torch
import torch.nn.functional as F
from captum.attr import Attribution
from torch import Tensor, nn

from evident.contracts import NeedsMask
from evident.errors import UserError
from evident.explainers.shared.heatmap import positive_sum
from evident.explainers.shared.seeding import image_generator
from evident.explainers.shared.targets import targets
from evident.models.untouched import check_images


def _check(images: Tensor, target: Tensor | int) -> None:
    """Refuse the images and targets that every method refuses."""
    check_images(images)
    targets(target, len(images))


class Random(Attribution):
    """Draw a uniform number in [0, 1) for each pixel (N, 1, H, W), from the seed and the image."""

    heatmap = staticmethod(positive_sum)

    def __init__(self, model: nn.Module, seed: int = 0) -> None:
        super().__init__(model)
        self.seed = seed

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        _check(inputs, target)
        noise = [torch.rand(1, *x.shape[1:], generator=image_generator(x, self.seed)) for x in inputs]
        return torch.stack(noise).to(inputs)


class Centre(Attribution):
    """Compute a centred Gaussian (N, 1, H, W) with a standard deviation of `width` times each side."""

    heatmap = staticmethod(positive_sum)

    def __init__(self, model: nn.Module, width: float = 0.25) -> None:
        super().__init__(model)
        self.width = width

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        _check(inputs, target)
        rows, columns = (
            torch.exp(-0.5 * (((torch.arange(side).to(inputs) + 0.5) / side - 0.5) / self.width) ** 2)
            for side in inputs.shape[-2:]
        )
        return (rows[:, None] * columns).repeat(len(inputs), 1, 1, 1)


class Constant(Attribution):
    """Return one for every pixel (N, 1, H, W)."""

    heatmap = staticmethod(positive_sum)

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        _check(inputs, target)
        return torch.ones_like(inputs[:, :1]).detach()


class Edges(Attribution):
    """Compute the magnitude (N, 1, H, W) of the Sobel gradient of the luminance (Rec. 601)."""

    heatmap = staticmethod(positive_sum)

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        _check(inputs, target)
        luminance = (inputs.detach() * inputs.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, True)
        sobel = inputs.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
        filters = torch.stack([sobel, sobel.T])[:, None]
        slopes = F.conv2d(F.pad(luminance, (1, 1, 1, 1), mode="replicate"), filters)
        return slopes.square().sum(1, keepdim=True).sqrt()


class Oracle(Attribution, NeedsMask):
    """Return the ground truth as the attribution (N, 1, H, W): the mask, or the signed contribution map if known.

    Plain `attribute` raises `UserError`, because it has no mask.
    """

    heatmap = staticmethod(positive_sum)

    def attribute_mask(self, inputs: Tensor, target: Tensor | int, mask: Tensor) -> Tensor:
        _check(inputs, target)
        return mask[:, None].to(inputs)

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        raise UserError("explainer=oracle needs masks; call attribute_mask, or leave it out where there are none")
