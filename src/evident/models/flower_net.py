"""FlowerNet: nine layers with strided convolutions, for the 112x112 images of an8Flower."""

from torch import Tensor, nn

from evident.models.normalise import Normalise


def _convolution(channels: int, filters: int, kernel: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, filters, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(filters),
        nn.ReLU(),
    ]


class FlowerNet(nn.Module):
    """Compute class scores (N, classes) of images (N, 3, H, W) in [0, 1], with H and W of at least 16.

    Seven convolutions, four of them with stride 2 (so that stride artefacts can appear), global average and two fully
    connected layers. Depth and input size are those of Oramas et al. 2019, whose architecture is not published; the
    widths are ours.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.features = nn.Sequential(
            *_convolution(3, 16, 5, 2),
            *_convolution(16, 24, 3, 1),
            *_convolution(24, 32, 3, 2),
            *_convolution(32, 48, 3, 1),
            *_convolution(48, 64, 3, 2),
            *_convolution(64, 64, 3, 1),
            *_convolution(64, 96, 3, 2),
        )
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, classes)
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.features(self.normalise(images)))
