"""PatchNet: class scores that are sums of contributions of small patches, for the 112x112 images of an8Flower."""

import torch
from torch import Tensor, nn

from evident.contracts import SumsContributions
from evident.models.normalise import Normalise


def _convolution(channels: int, filters: int, kernel: int, stride: int = 1, padding: int = 0) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, filters, kernel, stride, padding, bias=False),
        nn.BatchNorm2d(filters),
        nn.ReLU(),
    ]


class PatchNet(nn.Module, SumsContributions):
    """Compute class scores (N, classes) of images (N, 3, H, W) in [0, 1], with H and W of at least 8.

    A bag of local features (Brendel, Bethge 2019, arXiv 1904.00760, BagNet): the field of every position of the last
    map is 17x17 pixels, and positions are 4 pixels apart. A linear layer gives each position a score for each class,
    and their mean over the h x w positions is the class score. So the contribution of each patch is exact:

        score = b + sum_p w . F_p / (h w),    with F_p the features at position p, w and b of the linear layer

    The only padding is that of the first layer: 7 pixels around the normalised image, which are zero, so a field that
    leaves the image sees the mean colour there. No later layer pads, so all positions compute the same function of
    their patch. The widths are those of FlowerNet as far as it goes.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.features = nn.Sequential(
            *_convolution(3, 16, 5, stride=2, padding=7),
            *_convolution(16, 24, 3),
            *_convolution(24, 32, 3),
            *_convolution(32, 64, 3, stride=2),
            *_convolution(64, 96, 1),
        )
        self.head = nn.Conv2d(96, classes, 1)
        self.mean = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, images: Tensor) -> Tensor:
        return self.mean(self.head(self.features(self.normalise(images))))

    def contribution_map(self, images: Tensor) -> Tensor:
        """Return what each position adds to each class score (N, classes, h, w)."""
        local = nn.functional.conv2d(self.features(self.normalise(images)), self.head.weight)
        return local / (local.shape[2] * local.shape[3])

    def output_bias(self) -> Tensor:
        """Return the constant part of each class score (classes,)."""
        bias = self.head.bias
        assert isinstance(bias, torch.Tensor)
        return bias
