"""A world of scenes small enough to be learnt in seconds: squares of red, green and blue on grey.

An image shows each colour or not. People like red above the middle, dislike green wherever it is, ignore blue, and
disagree where there is blue.
"""

from collections.abc import Mapping
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from evident.data.images import Batch
from evident.data.scenes.splits import SceneSplits
from evident.models.normalise import Normalise
from evident.models.siam.backbones import Backbone

SIZE, SQUARE, COLOURS = 24, 6, ("red", "green", "blue")


class Scenes:
    """Images uint8 (N, 3, SIZE, SIZE) with labels by name, as the data sets of scenes are."""

    def __init__(self, images: Tensor, labels: Mapping[str, Tensor]) -> None:
        self.images, self.labels = images, labels
        self.names = [str(index) for index in range(len(images))]

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, indices: list[int]) -> Batch:
        index = torch.as_tensor(indices)
        labels = {name: values[index] for name, values in self.labels.items()}
        return {"image": self.images[index].float() / 255, **labels, "index": index}

    def first(self, count: int) -> "Scenes":
        return Scenes(self.images[:count], {name: values[:count] for name, values in self.labels.items()})


def scenes(count: int, seed: int) -> tuple[Scenes, Scenes]:
    """The same images with votes, and with attributes."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.full((count, 3, SIZE, SIZE), 100, dtype=torch.uint8)
    images += torch.randint(0, 40, images.shape, generator=generator, dtype=torch.uint8)
    shown = torch.rand(count, 3, generator=generator) < 0.5
    place = torch.randint(0, SIZE - SQUARE, (count, 3, 2), generator=generator)
    for image in range(count):
        for colour in shown[image].nonzero().flatten().tolist():
            top, left = place[image, colour].tolist()
            square = images[image, :, top : top + SQUARE, left : left + SQUARE]
            square.zero_()[colour] = 255
    seen = shown.float()
    above = (place[:, 0, 0] < (SIZE - SQUARE) / 2).float()
    average = 5 + 2 * seen[:, 0] * above - 1.5 * seen[:, 1]
    variance = 1 + seen[:, 2]
    return Scenes(images, {"average": average, "variance": variance}), Scenes(images, {"attributes": seen})


def world(count: int = 200) -> SceneSplits:
    """Train, validation and test of both sets."""
    votes, attributes = {}, {}
    for seed, split in enumerate(("train", "val", "test")):
        votes[split], _ = scenes(count, seed)
        _, attributes[split] = scenes(count, seed + 10)
    return SceneSplits(SimpleNamespace(**votes), SimpleNamespace(**attributes), COLOURS)


class TinyBackbone(Backbone):
    """Features (N, 12, 8, 8) of images (N, 3, 24, 24), with batch normalisation."""

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
