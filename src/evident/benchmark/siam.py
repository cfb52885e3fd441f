"""What SIAM's bottleneck costs at inference, beside a linear head on the same backbone: the paper says nothing."""

from functools import partial

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from evident.benchmark.timing import Row, ratios, row
from evident.models.siam import SIAM
from evident.models.siam_backbones import SceneNet, TorchvisionFeatures
from evident.models.siam_baselines import SceneRegressor

ATTRIBUTES = 33


def siam(config: DictConfig) -> list[Row]:
    """A row a backbone: SIAM's scores in forward passes of the network that lacks the attributes alone."""
    torch.manual_seed(0)
    count = config.benchmark.images
    rows = []
    for backbone, size, border, images in (
        (SceneNet(), 12, 1, torch.rand(4 * count, 3, 96, 96)),
        (TorchvisionFeatures("resnet50", "layer4"), 7, 2, torch.rand(max(1, count // 4), 3, 224, 224)),
    ):
        ours, plain = _ready(SIAM(backbone, ATTRIBUTES, size, border), images), _ready(SceneRegressor(backbone), images)
        name = f"SIAM on {getattr(backbone, 'architecture', 'scene_net')}, linear head = 1"
        rows.append(row(name, "ratio", ratios(ours, plain, 2 * config.benchmark.repeats, tries=3)))
    return rows


def _ready(network: nn.Module, images: Tensor) -> partial:
    network.eval().to(memory_format=torch.channels_last)  # as trained networks are
    return partial(_forward, network, images)


def _forward(network: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        network(images)
