"""Backbones of SIAM and its baselines: a small network of ours, or the first layers of a torchvision network."""

from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor, nn

from evident.contracts import HasBackbone
from evident.errors import UserError
from evident.models.normalise import Normalise
from evident.models.pretrained import TorchvisionClassifier, load_weights

# Momentum of batch normalisation, our choice. The paper's batches have ten images: with torch's 0.1, the running
# statistics would mostly reflect the last hundred images, and shift the scores of landscapes by a third of a vote.
MOMENTUM = 0.01


class Backbone(nn.Module):
    """Compute features (N, channels, h, w) from images (N, 3, H, W) in [0, 1]; the first module normalises.

    `weights` names the published weights that training starts from, or is None.
    """

    channels: int
    weights: str | None = None


class SceneNet(Backbone):
    """Compute features at an eighth of the image's side, by seven convolutions with batch normalisation.

    An image of 96x96 pixels gives 12x12 features, each with a receptive field of 59x59 pixels. Our own architecture,
    small enough to train on two cores in minutes.
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
    """Compute the features of the torchvision network `architecture`, up to and including its child `layer`.

    Uses that network's normalisation. The paper's backbone is ResNet-50 up to `layer4`: 2048 maps of 15x15 from a
    450x450 image. The children must run one after the other, as in ResNets and the `features` of VGG, SqueezeNet and
    MobileNet. Training starts from `weights`, named as in `evident.models.pretrained`. Raises `UserError` for an
    unknown network or layer.
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
        """Load the published `weights`, if any; `root` and errors are those of `pretrained.load_weights`."""
        if self.weights is not None:
            whole = TorchvisionClassifier(self.architecture, classes=1000)
            load_weights(whole, self.weights, root)
            self.features.load_state_dict(_front(whole.network, self.layer).state_dict())


def load_published_backbone(network: nn.Module, root: Path) -> None:
    """Load the published weights of the backbone of `network`, if it has a `TorchvisionFeatures` with weights."""
    if isinstance(network, HasBackbone) and isinstance(backbone := network.feature_extractor(), TorchvisionFeatures):
        backbone.load_published(root)


def _front(network: nn.Module, layer: str) -> nn.Sequential:
    parts = OrderedDict(network.named_children())
    if layer not in parts:
        raise UserError(f"layer={layer!r} is not a child of {type(network).__name__}; use one of {', '.join(parts)}")
    names = list(parts)
    return nn.Sequential(OrderedDict((name, parts[name]) for name in names[: names.index(layer) + 1]))
