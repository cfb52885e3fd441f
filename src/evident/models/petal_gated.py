"""PetalGated: a network that sees the colours of petals only, so that petals are its only possible evidence.

A fixed gate, in which nothing is learned, passes the pixels whose hue and saturation are near those of a class of
rendered flowers (single-6c). All other pixels are replaced by the mean colour before the first layer.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from evident.data.render.flowers import HUES, SATURATIONS
from evident.models.normalise import normalisation

SEXTANTS = 6  # in which hues are measured here: red 0, green 2, blue 4


class PetalGate(nn.Module):
    """Tell which pixels of images (N, 3, H, W) in [0, 1] have the colour of a class of petals: bool (N, 1, H, W).

    The hue may differ by `hue` turns from that of the class; the saturation is at least its share `saturation` of that
    of the class. Brightness does not matter, as petals may lie in shadow.
    """

    hues: Tensor
    saturations: Tensor

    def __init__(self, hue: float, saturation: float) -> None:
        super().__init__()
        self.hue = hue
        self.register_buffer("hues", HUES.view(1, -1, 1, 1) * SEXTANTS)
        self.register_buffer("saturations", SATURATIONS.view(1, -1, 1, 1) * saturation)

    def forward(self, images: Tensor) -> Tensor:
        # The gate is constant around almost every image, so explanations that replace calls need no rules for it.
        with torch.no_grad(), torch._C.DisableTorchFunction():
            red, green, blue = images.split(1, 1)
            largest = images.amax(1, keepdim=True)
            spread = largest - images.amin(1, keepdim=True)
            each = spread.clamp(min=1e-6)  # grey has no hue, and its saturation never passes
            further = torch.where(largest == green, (blue - red) / each + 2, (red - green) / each + 4)
            hue = torch.where(largest == red, (green - blue) / each, further)
            apart = (hue - self.hues).abs()
            apart = torch.minimum(apart, (apart - SEXTANTS).abs())
            near = (apart <= SEXTANTS * self.hue) & (spread >= largest * self.saturations) & (spread > 0)
            return near.any(1, keepdim=True)


class PetalGated(nn.Module):
    """Compute the class scores (N, classes) of `network` for images (N, 3, H, W) with all but petal colours removed.

    `network` builds the network from the number of classes. `hue` and `saturation` are those of `PetalGate`. A pixel
    that the gate stops has no effect on any score, unless it is changed to a colour that passes. The limits of the
    config were chosen on validation images of single-6c. On 100 test images they pass 78 % of the pixels of petals and
    0.09 % of all others; 98.5 % of the pixels that pass are petals. What leaks are pots, whose hue may be that of the
    pink class (0.9 % of their pixels, all in few images; in one image more than of its petals), and discs, which are
    almost yellow (2 %). Neither depends on the class.
    """

    def __init__(self, classes: int, network: Callable[[int], nn.Module], hue: float, saturation: float) -> None:
        super().__init__()
        self.gate = PetalGate(hue, saturation)
        self.network = network(classes)

    def forward(self, images: Tensor) -> Tensor:
        grey = normalisation(self.network).mean
        return self.network(self.gate(images) * (images - grey) + grey)
