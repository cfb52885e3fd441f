"""What SIAM's bottleneck costs at inference, beside a linear head on the same backbone: the paper says nothing."""

from functools import partial
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from evident.benchmark.timing import Row, ratios, row
from evident.models.siam.backbones import SceneNet, TorchvisionFeatures
from evident.models.siam.baselines import SceneRegressor
from evident.models.siam.network import SIAM

ATTRIBUTES = 33


def siam(config: DictConfig) -> list[Row]:
    """Three rows a backbone, in forward passes of the network that lacks the attributes alone.

    The operations of the scores, their time, and that of the scores with contributions and the contribution map, which
    is the whole explanation.
    """
    torch.manual_seed(0)
    count = config.benchmark.images
    rows = []
    for backbone, size, border, images in (
        (SceneNet(), 12, 1, torch.rand(4 * count, 3, 96, 96)),
        (TorchvisionFeatures("resnet50", "layer4"), 15, 2, torch.rand(max(1, count // 8), 3, 450, 450)),
    ):
        siam, plain = _ready(SIAM(backbone, ATTRIBUTES, size, border)), _ready(SceneRegressor(backbone))
        on = f"on {getattr(backbone, 'architecture', 'scene_net')}, linear head = 1"
        counts = [_operations(network, images[:1]) for network in (siam, plain)]
        rows.append(row(f"operations of SIAM {on}", "ratio", [counts[0] / counts[1]]))
        for what, work in (("SIAM", _forward), ("SIAM and its explanation", _explained)):
            in_turn = partial(work, siam, images), partial(_forward, plain, images)
            rows.append(row(f"{what} {on}", "ratio", ratios(*in_turn, 2 * config.benchmark.repeats, tries=3)))
    return rows


def _ready(network: nn.Module) -> Any:
    return network.eval().to(memory_format=torch.channels_last)  # as trained networks are


def _operations(network: Any, images: Tensor) -> int:
    """Multiplications and additions of one forward pass, which nothing else on the machine changes."""
    with FlopCounterMode(display=False) as counted:
        _forward(network, images)
    return counted.get_total_flops()


def _explained(network: Any, images: Tensor) -> None:
    with torch.no_grad():
        network.explained(images)


def _forward(network: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        network(images)
