"""A toy world of scenes that networks learn in seconds: squares of red, green and blue on grey.

Each colour is present in an image or absent. Red above the middle raises the average vote, green lowers it anywhere,
and blue has no effect on it. Blue raises the variance of the votes.
"""

from collections.abc import Mapping
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from evident.data.images import block_of
from evident.data.scenes.splits import SceneSplits
from evident.models.normalise import Normalise
from evident.models.siam.backbones import Backbone
from evident.models.siam.baselines import SceneRegressor, UnconstrainedAttributes
from evident.models.siam.network import SIAM
from evident.models.siam.scene_network import SceneNetwork
from evident.values import Batch

SIZE, SQUARE, COLOURS = 24, 6, ("red", "green", "blue")


class Scenes(Dataset[Batch]):
    """Hold uint8 images (N, 3, SIZE, SIZE) with labels by name, like the data sets of scenes."""

    def __init__(self, images: Tensor, labels: Mapping[str, Tensor]) -> None:
        self.images, self.labels = images, labels
        self.names = [str(index) for index in range(len(images))]

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, indices: list[int]) -> Batch:
        index = torch.as_tensor(indices)
        labels = {name: values[index] for name, values in self.labels.items()}
        return {"image": self.images[index].float() / 255, **labels, "index": index}

    def block(self, count: int, number: int = 0) -> "Scenes":
        rows = block_of(len(self), count, number)
        return Scenes(self.images[rows], {name: values[rows] for name, values in self.labels.items()})


def scenes(count: int, seed: int) -> tuple[Scenes, Scenes]:
    """Return the same images twice: labelled with votes, and with attributes."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.full((count, 3, SIZE, SIZE), 100, dtype=torch.uint8)
    images += torch.randint(0, 40, images.shape, generator=generator, dtype=torch.uint8)
    shown = torch.rand(count, 3, generator=generator) < 0.5
    corner = torch.randint(0, SIZE - SQUARE, (count, 3, 2), generator=generator)
    for image in range(count):
        for colour in shown[image].nonzero().flatten().tolist():
            top, left = corner[image, colour].tolist()
            square = images[image, :, top : top + SQUARE, left : left + SQUARE]
            square.zero_()[colour] = 255
    seen = shown.float()
    above = (corner[:, 0, 0] < (SIZE - SQUARE) / 2).float()
    average = 5 + 2 * seen[:, 0] * above - 1.5 * seen[:, 1]
    variance = 1 + seen[:, 2]
    return Scenes(images, {"average": average, "variance": variance}), Scenes(images, {"attributes": seen})


def world(count: int = 200) -> SceneSplits:
    """Return training, validation and test set of scenes with votes and of scenes with attributes."""
    votes, attributes = {}, {}
    for seed, split in enumerate(("train", "val", "test")):
        votes[split], _ = scenes(count, seed)
        _, attributes[split] = scenes(count, seed + 10)
    return SceneSplits(SimpleNamespace(**votes), SimpleNamespace(**attributes), COLOURS)


class TinyBackbone(Backbone):
    """Compute features (N, 12, 8, 8) of images (N, 3, 24, 24), with batch normalisation."""

    channels = 12

    def __init__(self) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.features = nn.Sequential(
            nn.Conv2d(3, 12, 3, 3, bias=False),
            nn.BatchNorm2d(12),
            nn.ReLU(),
            nn.Conv2d(12, 12, 3, padding=1),
            nn.ReLU(),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.features(self.normalise(images))


NETWORKS = {
    "siam": lambda: SIAM(TinyBackbone(), len(COLOURS), size=8, border=1),
    "unconstrained": lambda: UnconstrainedAttributes(TinyBackbone(), len(COLOURS), border=1),
    "regressor": lambda: SceneRegressor(TinyBackbone()),
}


def scene_network(kind: str = "siam", seed: int = 0, noise: float = 0) -> SceneNetwork:
    """Return an untrained network on a `TinyBackbone`; normal noise of deviation `noise` moves every parameter."""
    torch.manual_seed(seed)
    network = NETWORKS[kind]()
    if noise:
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter) * noise)
    return network
