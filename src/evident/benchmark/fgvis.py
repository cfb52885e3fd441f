"""Time of FGVis: the cost of each gradient filter per step, and of a batch of images compared with single images."""

from contextlib import nullcontext
from functools import partial
from typing import get_args

import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torchvision.models import get_model

from evident.benchmark.timing import Row, ratios, row
from evident.explainers.fgvis import FGVis
from evident.explainers.shared.gradient_filter import Bounds, Filter, GradientFilter, activation_bounds
from evident.explainers.shared.targets import target_scores
from evident.models.normalise import Normalise

SIZE, STEPS, TARGET = 224, 4, 0


def fgvis(config: DictConfig) -> list[Row]:
    """Return the time of a filtered step in unfiltered steps, per network, and of a batch relative to single images."""
    torch.manual_seed(0)
    count, repeats = config.benchmark.images, config.benchmark.repeats
    rows = []
    for name in config.benchmark.fgvis:
        network, images = _network(name), torch.rand(max(1, count // 2), 3, SIZE, SIZE)
        mask = torch.rand_like(images)
        bounds = activation_bounds(network, images)
        unfiltered = partial(step, network, images, mask, None)
        for kind in get_args(Filter):
            filtered = partial(step, network, images, mask, bounds, kind)
            label = f"FGVis's step on {name}, filter {kind}, {len(images)} images, unfiltered = 1"
            rows.append(row(label, "ratio", ratios(filtered, unfiltered, repeats, tries=3)))
    network, images = _network("squeezenet1_1"), torch.rand(count, 3, SIZE, SIZE)
    together, alone = (
        partial(FGVis(network, steps=STEPS, batch_size=size).attribute, images, TARGET) for size in (count, 1)
    )
    name = f"FGVis on squeezenet1_1, {count} images together, one by one = 1"
    rows.append(row(name, "ratio", ratios(together, alone, repeats)))
    return rows


def step(network: nn.Module, images: Tensor, mask: Tensor, bounds: Bounds | None, kind: Filter = "published") -> Tensor:
    """Return the mask (N, 3, H, W) after one step: forward pass, gradient and update, with `bounds` if filtered."""
    mask = mask.detach().requires_grad_()
    with nullcontext() if bounds is None else GradientFilter(bounds, kind):
        scores = network(torch.lerp(torch.full_like(images, 0.5), images, mask))
    (gradient,) = torch.autograd.grad(-target_scores(scores.log_softmax(1), TARGET).sum(), mask)
    largest = gradient.abs().amax((1, 2, 3), keepdim=True)
    return (mask.detach() - 0.3 * (gradient / largest + 0.1)).clamp(0, 1)


def _network(name: str) -> nn.Module:
    """Return an untrained network of torchvision."""
    network = nn.Sequential(Normalise(), get_model(name)).eval().requires_grad_(False)
    return network.to(memory_format=torch.channels_last)  # as trained networks are
