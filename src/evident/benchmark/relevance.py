"""Time of VEBI's parts: responses relative to a forward pass, the mu-lasso relative to SPAMS on the same problem."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torchvision.models import resnet18

from evident.benchmark.explainers import network_and_images
from evident.benchmark.timing import Row, ratios, row, seconds
from evident.errors import UserError
from evident.relevance import mu_lasso, responses

Floats = NDArray[np.float64]
VGG16 = (64,) * 2 + (128,) * 2 + (256,) * 3 + (512,) * 6  # filters of its convolutions, 4,224 in total
MU = 10.0


def relevance(config: DictConfig) -> list[Row]:
    """Return rows of the responses, for both choices of layers, and two rows for each size of the mu-lasso."""
    repeats = config.benchmark.repeats
    rows = []
    small, images = network_and_images(config)
    large, large_images = resnet18(), torch.rand(len(images), 3, 224, 224)
    for network, batch in ((small, images.repeat(4, 1, 1, 1)), (large.eval(), large_images)):
        forward = partial(_forward, network, batch)
        for layers in ("relu", "all"):
            work = partial(responses, network, batch, layers)
            name = f"responses of {type(network).__name__}, {layers} layers"
            rows.append(row(name, "forward passes", ratios(work, forward, 2 * repeats, tries=3)))
    for features, classes in config.benchmark.mu_lasso:
        gram, cross, labels = random_moments(features, classes, config.benchmark.mu_lasso_images)
        ours = threadpool_limits.wrap(limits=1)(partial(mu_lasso, gram, cross, MU))
        size = f"mu-lasso, {features} features, {classes} classes"
        rows.append(row(f"{size}, SPAMS = 1", "ratio", ratios(ours, spams_lasso(gram, cross, labels), repeats)))
        rows.append(row(size, "seconds", [seconds(ours) for _ in range(repeats)]))
    return rows


def _forward(network: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        network(images)


def spams_lasso(gram: Floats, cross: Floats, labels: Floats) -> Callable[[], Any]:
    """Return a function that solves the same problem by SPAMS, on one thread.

    Raises `UserError` if the package `spams` is not installed.
    """
    try:
        import spams
    except ImportError:
        raise UserError("the benchmark needs SPAMS; run pip install spams-bin, or make env") from None
    # SPAMS needs Fortran order; the copies are not timed. It needs the labels too, for its stopping rule.
    signals, q, d = np.asfortranarray(labels.T), np.asfortranarray(gram), np.asfortranarray(cross)
    return partial(spams.lasso, signals, Q=q, q=d, lambda1=MU, mode=0, pos=True, numThreads=1)


def random_moments(features: int, classes: int, images: int) -> tuple[Floats, Floats, Floats]:
    """Return X X^T (m, m), X L^T (m, C) and L (C, N) of `random_responses`."""
    x, labels = random_responses(features, classes, images)
    return x @ x.T, x @ labels.T, labels


def random_responses(features: int, classes: int, images: int) -> tuple[Floats, Floats]:
    """Return X (m, N) and L (C, N) of random responses with the layers of VGG16, scaled to m filters.

    Responses are log-normal, and some filters are zero on some images. Each class excites two in a hundred filters of a
    layer, more strongly in deeper layers. One label in twenty is random.
    """
    generator = np.random.default_rng(0)
    filters = np.array(VGG16) * features // sum(VGG16)
    filters[-1] += features - filters.sum()
    label = np.arange(images) % classes
    x = np.empty((features, images))
    start = 0
    for depth, count in enumerate(filters, start=1):
        share = depth / len(filters)
        excited = (generator.random((count, classes)) < 0.02) * generator.uniform(1, 4, (count, classes)) * share
        log = generator.normal(0, 1.5, (count, 1)) + generator.normal(0, 0.8, (count, images))
        log += excited[:, label] * generator.gamma(4, 0.25, images)
        silent = generator.random((count, images)) < 0.5 * share * generator.random((count, 1))
        block = np.exp(log) * ~silent
        x[start : start + count] = block / block.sum(0).clip(1e-300)
        start += count
    x /= np.linalg.norm(x, axis=0)
    label = np.where(generator.random(images) < 0.05, generator.integers(classes, size=images), label)
    return x, np.eye(classes)[:, label]
