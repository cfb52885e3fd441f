"""InDomain: a network that is trained on images with removed patches, so that deletion shows it nothing new.

Metrics that delete pixels ask a network for scores of images unlike those it was trained on. If patches were removed in
training too, such images are in its domain (Hesse, Schaub-Meyer, Roth 2024, arXiv 2407.11910: in-domain single
deletion). It is a network of its own: what is measured holds for it, not for the network that was trained on whole
images.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from evident.errors import UserError
from evident.models.normalise import normalisation


class InDomain(nn.Module):
    """Compute the outputs of `network`; in training mode, remove patches of a share of the images (N, 3, H, W) first.

    The image is divided into `patches` x `patches` cells. Each image is chosen with the probability `share`. Of a
    chosen image a random number of cells, from one to all but one, are replaced by the network's mean colour. The draws
    come from torch's global generator. In eval mode images pass unchanged. `network` builds the network from the number
    of classes. Raises `UserError` for fewer than 2 patches a side and a share outside [0, 1].
    """

    def __init__(self, classes: int, network: Callable[[int], nn.Module], patches: int = 4, share: float = 0.5) -> None:
        super().__init__()
        if patches < 2 or not 0 <= share <= 1:
            raise UserError(f"patches={patches} and share={share}; give 2 or more patches a side and a share in [0, 1]")
        self.patches, self.share = patches, share
        self.network = network(classes)

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            images = torch.where(self._removed(images), normalisation(self.network).mean, images)
        return self.network(images)

    def _removed(self, images: Tensor) -> Tensor:
        """Draw the pixels (N, 1, H, W) bool that are removed."""
        count, (height, width), cells = len(images), images.shape[-2:], self.patches**2
        # On the CPU: a GPU has a generator of its own, which would draw other patches.
        chosen = torch.rand(count) < self.share
        number = torch.randint(1, cells, (count,)) * chosen
        rank = torch.rand(count, cells).argsort(1).argsort(1)
        removed = (rank < number[:, None]).view(count, self.patches, self.patches).to(images.device)
        row, column = (torch.arange(side, device=images.device) * self.patches // side for side in (height, width))
        return removed[:, None, row[:, None], column]
