"""What gives SIAM and its baselines their features: a small network, or the front of one of torchvision's."""

from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor, nn

from evident.errors import UserError
from evident.models.normalise import Normalise
from evident.models.pretrained import TorchvisionClassifier, load_weights

# Of the running statistics. The paper's batches are of ten images; with torch's 0.1 the last hundred would decide, and
# scores of landscapes be off by a third of a vote on average. Our choice.
MOMENTUM = 0.01


class Backbone(nn.Module):
    """Features (N, channels, h, w) of images (N, 3, H, W) in [0, 1]; its first module normalises.

    `weights` are those published ones that training starts from, if any.
    """

    channels: int
    weights: str | None = None


class SceneNet(Backbone):
    """Features at an eighth of the image's side, 12x12 of 96x96, in seven convolutions with batch normalisation.

    Our own: small enough to be trained on two cores in minutes. Each feature sees 59x59 pixels.
    """

    #  filters, stride
    LAYERS = ((24, 2), (32, 1), (48, 2), (64, 1), (96, 2), (128, 1), (128, 1))

    def __init__(self) -> None:
        super().__init__()
        self.normalise = Normalise()
        layers: list[nn.Module] = []
        before = 3
        for filters, stride in self.LAYERS:
            convolution = nn.Conv2d(before, filters, 3, stride, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(filters, momentum=MOMENTUM), nn.ReLU()]
            before = filters
        self.features = nn.Sequential(*layers)
        self.channels = before

    def forward(self, images: Tensor) -> Tensor:
        return self.features(self.normalise(images))


class TorchvisionFeatures(Backbone):
    """Torchvision's network of that name up to its part named `layer`, with that network's normalisation.

    ResNet-50 to `layer4` is the paper's: 2048 maps of 15x15 of a 450x450 image. The parts must run one after the
    other, as in ResNets, and in the `features` of VGG, SqueezeNet and MobileNet. `weights`, in the words of
    `evident.models.pretrained`, are what training starts from. Raises `UserError` for an unknown network or layer.
    """

    def __init__(self, architecture: str, layer: str, weights: str | None = None) -> None:
        super().__init__()
        whole = TorchvisionClassifier(architecture, classes=1000)
        self.architecture, self.layer, self.weights = architecture, layer, weights
        self.normalise = whole.normalise
        self.features = _front(whole.network, layer)
        for module in self.features.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = MOMENTUM
        with torch.no_grad():
            self.channels = self.features.eval()(torch.zeros(1, 3, 64, 64)).shape[1]
        self.features.train()

    def forward(self, images: Tensor) -> Tensor:
        return self.features(self.normalise(images))

    def load_published(self, root: Path) -> None:
        """Take the published `weights`, from files under `root` where they are there; raises `UserError` as they do."""
        if self.weights is not None:
            whole = TorchvisionClassifier(self.architecture, classes=1000)
            load_weights(whole, self.weights, root)
            self.features.load_state_dict(_front(whole.network, self.layer).state_dict())


def load_published_backbone(network: nn.Module, root: Path) -> None:
    """Give the backbone of `network` the published weights that it starts from, where it has such a backbone."""
    backbone = getattr(network, "backbone", None)
    if isinstance(backbone, TorchvisionFeatures):
        backbone.load_published(root)


def _front(network: nn.Module, layer: str) -> nn.Sequential:
    parts = OrderedDict(network.named_children())
    if layer not in parts:
        raise UserError(f"layer={layer!r} is no part of {type(network).__name__}; use one of {', '.join(parts)}")
    names = list(parts)
    return nn.Sequential(OrderedDict((name, parts[name]) for name in names[: names.index(layer) + 1]))
