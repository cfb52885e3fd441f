"""How time and memory grow with the number of images, features and classes and with the size of images.

results/speed/growth.csv has a line for each size. The exponent b of t = a n^b is fitted by least squares to log t and
log n over all sizes of one axis. Where a constant part dominates small sizes, b is below that of large ones.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from evident.benchmark.relevance import MU, random_responses
from evident.benchmark.timing import seconds
from evident.data.render.flowers import render
from evident.explainers.guided import input_gradient
from evident.metrics.contract import Explanation
from evident.metrics.cost import Cost
from evident.metrics.faithfulness import deletion_insertion
from evident.models.flower_net import FlowerNet
from evident.relevance import mu_lasso
from evident.relevance.moments import Moments

log = logging.getLogger("evident")
Work = Callable[[], object]
BATCH, SIDE, STEPS = 32, 112, 5


class Axis(NamedTuple):
    """Hold what is timed, what grows, its sizes, and how the work of one size is prepared, which is not timed."""

    part: str
    grows: str
    sizes: Sequence[int]
    prepare: Callable[[int], Work]


def growth(config: DictConfig) -> pd.DataFrame:
    """Return a line for each size: part, axis, size, seconds, megabytes, and the exponents of both over the axis.

    Seconds are processor time, megabytes the peak above the start, NaN where the system records none.
    """
    return pd.concat([_grown(axis) for axis in _axes(config.benchmark.growth)], ignore_index=True)


def write(table: pd.DataFrame, folder: Path) -> None:
    """Write growth.csv."""
    table.to_csv(folder / "growth.csv", index=False, float_format="%.4g", lineterminator="\n")


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return b of the least-squares fit of log values = log a + b log sizes; NaN unless all values are positive.

    Two sizes at least are needed.
    """
    if len(sizes) < 2 or not all(value > 0 for value in values):
        return math.nan
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def _axes(sizes: DictConfig) -> Iterator[Axis]:
    yield Axis("explanation and scores", "images", sizes.explained, partial(_explanation, side=SIDE))
    yield Axis("explanation and scores", "side", sizes.sides, lambda side: _explanation(BATCH // 2, side))
    yield Axis("rendering", "images", sizes.rendered, lambda count: partial(_rendering, count))
    fixed = sizes.relevance
    for grows in ("images", "features", "classes"):
        yield Axis("relevance", grows, sizes[grows], partial(_relevance_of, fixed[grows], grows))
    yield Axis("Gram matrix", "features", sizes.gram, lambda features: _gram(features, sizes.gram_images))


def _grown(axis: Axis) -> pd.DataFrame:
    lines = []
    for size in axis.sizes:
        work = axis.prepare(size)
        with Cost(nn.Identity()) as cost:
            time = seconds(work)
        lines.append({"part": axis.part, "grows": axis.grows, "size": size, "seconds": time})
        lines[-1]["megabytes"] = cost.peak_memory / 2**20
        log.info("%s, %s %s: %.3g s, %.4g MB", *lines[-1].values())
    table = pd.DataFrame(lines)
    for of in ("seconds", "megabytes"):
        table[f"exponent_{of}"] = exponent(axis.sizes, table[of].tolist())
    return table


def _explanation(count: int, side: int) -> Work:
    """Return the gradient, deletion and insertion of `count` images of noise by FlowerNet, in batches."""
    torch.manual_seed(0)
    network = FlowerNet(6).eval().to(memory_format=torch.channels_last)

    def batch(images: Tensor) -> None:
        heatmap = input_gradient(network, images, 0, None).abs().amax(1)
        target = torch.zeros(len(images), dtype=torch.int64)
        deletion_insertion(Explanation(images, target, heatmap, model=network), steps=STEPS)

    def work() -> None:
        for start in range(0, count, BATCH):
            batch(torch.rand(min(BATCH, count - start), 3, side, side))

    batch(torch.rand(2, 3, side, side))  # warm-up
    return work


def _rendering(count: int) -> None:
    for start in range(0, count, BATCH):
        render("single-6c", "growth", range(start, min(start + BATCH, count)))


def _relevance_of(fixed: Mapping[str, int], grows: str, size: int) -> Work:
    return _relevance(**{**fixed, grows: size})


def _relevance(images: int, features: int, classes: int) -> Work:
    """Return the sums over images and the mu-lasso of random responses."""
    x, labels = (torch.from_numpy(part.T).float() for part in random_responses(features, classes, images))

    def work() -> object:
        moments = Moments()
        for responses, shown in zip(x.split(BATCH), labels.split(BATCH), strict=True):
            moments.add(responses, shown)
        gram: Any = moments.gram()
        return mu_lasso(gram.numpy() if isinstance(gram, Tensor) else gram, moments.scaled().numpy(), MU)

    return work


def _gram(features: int, images: int) -> Work:
    x, labels = torch.rand(images, features), torch.ones(images, 1)
    return lambda: Moments().add(x, labels)
