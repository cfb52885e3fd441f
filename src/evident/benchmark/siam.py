"""Cost of SIAM's bottleneck at inference, relative to a linear head on the same backbone; the paper gives no number."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from evident.benchmark.timing import Row, ratios, row
from evident.errors import UserError
from evident.models.siam.backbones import Backbone, SceneNet, TorchvisionFeatures
from evident.models.siam.baselines import SceneRegressor
from evident.models.siam.network import SIAM

ATTRIBUTES = 33


def siam(config: DictConfig) -> list[Row]:
    """Return three rows per backbone in the config, relative to a forward pass of the same network without attributes.

    The rows are the operations of a forward pass, its time, and the time of a forward pass with the whole explanation:
    contributions and contribution map.
    """
    torch.manual_seed(0)
    count = config.benchmark.images
    rows = []
    sizes: dict[str, tuple[Callable[[], Backbone], int, int, int, int]] = {
        "scene_net": (SceneNet, 12, 1, 4 * count, 96),
        "resnet50": (partial(TorchvisionFeatures, "resnet50", "layer4"), 15, 2, max(1, count // 8), 450),
    }
    for name in config.benchmark.siam:
        if name not in sizes:
            raise UserError(f"benchmark.siam={name} is unknown; use {', '.join(sizes)}")
        build, size, border, number, pixels = sizes[name]
        backbone, images = build(), torch.rand(number, 3, pixels, pixels)
        siam, plain = _ready(SIAM(backbone, ATTRIBUTES, size, border)), _ready(SceneRegressor(backbone))
        on = f"on {name}, linear head = 1"
        counts = [_operations(network, images[:1]) for network in (siam, plain)]
        rows.append(row(f"operations of SIAM {on}", "ratio", [counts[0] / counts[1]]))
        for what, work in (("SIAM", _forward), ("SIAM and its explanation", _explained)):
            pair = partial(work, siam, images), partial(_forward, plain, images)
            rows.append(row(f"{what} {on}", "ratio", ratios(*pair, 2 * config.benchmark.repeats, tries=3)))
    return rows


def _ready(network: nn.Module) -> Any:
    return network.eval().to(memory_format=torch.channels_last)  # as trained networks are


def _operations(network: Any, images: Tensor) -> int:
    """Return the number of multiplications and additions of one forward pass."""
    with FlopCounterMode(display=False) as counted:
        _forward(network, images)
    return counted.get_total_flops()


def _explained(network: Any, images: Tensor) -> None:
    with torch.no_grad():
        network.outputs_and_map(images)


def _forward(network: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        network(images)
