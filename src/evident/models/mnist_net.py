"""The MNIST network of the papers' toolboxes: two convolutions, two pooling layers, two fully connected layers."""

from torch import Tensor, nn

from evident.models.normalise import Normalise


class MnistNet(nn.Module):
    """Compute class scores (N, classes) of grey digits (N, 3, 28, 28) in [0, 1].

    conv 20 5x5, max-pool, conv 50 5x5, max-pool, fc 500, ReLU, fc 10 (Oramas et al. 2019: it has a single ReLU).
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.features = nn.Sequential(
            nn.Conv2d(1, 20, 5),
            nn.MaxPool2d(2),
            nn.Conv2d(20, 50, 5),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(50 * 4 * 4, 500), nn.ReLU(), nn.Linear(500, classes))

    def forward(self, images: Tensor) -> Tensor:
        grey = self.normalise(images).mean(1, keepdim=True)
        return self.classifier(self.features(grey))
